"""What the daemon says, once, when containerd's configuration is why nothing is shared."""

import json
import os
import time

import pytest

import lab
from lab import images
from lab.node import MIRROR

pytestmark = pytest.mark.usefixtures("built_daemon", "installed_containerd")

WRITE = ["--write-configuration", "--mirror-targets", MIRROR, "--containerd-registry-config-path",
         "{certs_d}"]

# What is replaced in a node's containerd's configuration, the arguments of its daemon, and what it
# says: (message, fix), None if nothing.
NODES = {
    "discards": ("discard_unpacked_layers = false", "discard_unpacked_layers = true", [],
                 ("discards layers", '[plugins."io.containerd.grpc.v1.cri".containerd] '
                  "discard_unpacked_layers = false")),
    "no-path": ('config_path = "{certs_d}"', "", [],
                ("reads no hosts.toml", '[plugins."io.containerd.grpc.v1.cri".registry] '
                 'config_path = "/etc/containerd/certs.d"')),
    "elsewhere": ('config_path = "{certs_d}"', 'config_path = "/etc/elsewhere"', WRITE,
                  ("elsewhere than it is written", "config_path")),
    "well": ("version = 2", "version = 2", WRITE, None),
    "never-asks": ("version = 2", "version = 2", [], None),
}
SAYS_SOMETHING = [name for name, (_, _, _, says) in NODES.items() if says]


def warnings(node):
    """(message, fix) of the warnings that come with one."""
    lines = [json.loads(line) for line in node.daemon.log().splitlines()]
    return [(line["msg"], line["fix"]) for line in lines
            if line["level"] == "WARN" and "fix" in line]


def add_node(opened, find, replacement, args, **changes):
    """A node whose containerd's configuration is changed before its start."""
    node = opened.add_node(start=False, **changes)
    with open(node.containerd.config_path, encoding="utf-8") as f:
        text = f.read()
    find = find.format(certs_d=node.containerd.certs_d)
    assert find in text
    with open(node.containerd.config_path, "w", encoding="utf-8") as f:
        f.write(text.replace(find, replacement))
    node.daemon.args += [a.format(certs_d=node.containerd.certs_d) for a in args]
    return node


class Scene:
    """A node for each name, all started at once: what is waited for is waited for once."""

    def __init__(self, opened):
        self.lab = opened
        self.nodes = {name: add_node(opened, *how[:3]) for name, how in NODES.items()}
        opened.start()
        self._begun = time.monotonic()

    def wait_age(self, seconds):
        """Returns once the daemons have run for so long."""
        time.sleep(max(0.0, self._begun + seconds - time.monotonic()))


@pytest.fixture(scope="module")
def scene(built_daemon, installed_containerd):
    with lab.Lab(nodes=0, mirror=False) as l:
        yield Scene(l)


@pytest.mark.parametrize("name", SAYS_SOMETHING)
def test_a_setting_that_keeps_nodes_from_sharing_is_named_with_its_fix(scene, name):
    node, (message, fix) = scene.nodes[name], NODES[name][3]
    scene.lab.settle(lambda: warnings(node), 15, "a warning")
    [(said, how)] = warnings(node)
    assert message in said and fix in how


def test_what_was_said_is_not_said_again_and_where_all_is_well_nothing_is(scene):
    scene.wait_age(10)
    for name in (*SAYS_SOMETHING, "well"):
        said = warnings(scene.nodes[name])
        assert len(said) == (name != "well"), (name, said)


def test_images_that_come_though_containerd_never_asks_are_told_once(scene):
    node = scene.nodes["never-asks"]
    scene.wait_age(13)  # what comes earlier says nothing
    node.pull(scene.lab.push(images.image(layers=1, layer_mb=1)))
    time.sleep(20)
    assert warnings(node) == [], "not before containerd had the time to ask"
    scene.lab.settle(lambda: warnings(node), 30, "the warning")
    [(said, how)] = warnings(node)
    assert "has never asked this mirror" in said and "config_path" in how


# --- containerd 2.x, whose CRI plugin says nothing of this ---

DISCARDS = "discard_unpacked_layers = {}"
TABLE = '[plugins."io.containerd.cri.v1.images"'

# Whether a node's containerd discards layers, the /etc/containerd/config.toml that its daemon sees
# (None: none, as in a pod), the daemon's arguments, and what it says: [(message, fix)].
SECOND = {
    "file-says": (False, f'version = 3\n{TABLE}]\n discard_unpacked_layers = true\n'
                  f'{TABLE}.registry]\n config_path = ""\n', [],
                  [("discards layers", f"{TABLE}] discard_unpacked_layers = false"),
                   ("reads no hosts.toml", f'{TABLE}.registry] config_path = "/etc/containerd')]),
    # What 2.x takes over from a table of 1.x is the path alone.
    "old-file-says": (False, 'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\n'
                      ' discard_unpacked_layers = true\n'
                      '[plugins."io.containerd.grpc.v1.cri".registry]\n'
                      ' config_path = "/etc/elsewhere"\n', WRITE,
                      [("elsewhere than it is written", f"{TABLE}.registry] config_path = ")]),
    "list-of-directories": (False, f'version = 3\n{TABLE}.registry]\n'
                            ' config_path = "{certs_d}:/etc/docker/certs.d"\n', WRITE,
                            [("takes a list in config_path", f"{TABLE}.registry] config_path = ")]),
    "discards": (True, None, [],
                 [("without their layers", f"{TABLE}] discard_unpacked_layers = false")]),
    "discarded-before": (True, None, [],
                         [("without their layers", f"{TABLE}] discard_unpacked_layers = false")]),
    "keeps": (False, None, [], []),
}
FILES = [name for name, (_, text, _, _) in SECOND.items() if text]


def show_configuration(node, text):
    """Has the node's daemon, and nobody else, see /etc/containerd/config.toml, or none."""
    directory = os.path.join(node.directory, "etc-containerd")
    os.mkdir(directory)
    if text:
        with open(os.path.join(directory, "config.toml"), "w", encoding="utf-8") as f:
            f.write(text.replace("{certs_d}", node.containerd.certs_d))
    command = node.daemon.command
    node.daemon.command = lambda: [
        "sh", "-c", 'mount --bind "$0" /etc/containerd && exec "$@"', directory, *command()]


class SecondScene:
    """Nodes with containerd 2.x, started at once. Images have come to those without a file."""

    def __init__(self, opened, binaries):
        self.lab, self.nodes = opened, {}
        for name, (discards, text, args, _) in SECOND.items():
            self.nodes[name] = node = add_node(
                opened, DISCARDS.format("false"), DISCARDS.format(str(discards).lower()), args,
                binaries=binaries)
            show_configuration(node, text)
        opened.start()
        own, other = images.image(layers=2, layer_mb=1), images.image(
            layers=1, layer_mb=1, seed=2, platform="linux/s390x")
        self.image, reference = own, opened.push(images.index(own, other), "multi:v1")
        for name in ("discards", "discarded-before", "keeps"):
            self.nodes[name].pull(reference)
        opened.settle(lambda: not any(self.layers("discards")), 10, "layers to be collected")
        self.pulled_at = time.monotonic()

    def layers(self, name):
        """Whether each layer of the image is in the node's store."""
        containerd = self.nodes[name].containerd
        return [os.path.exists(containerd.blob_path(layer["digest"])) for layer in self.image.layers]

    def seconds(self):
        return time.monotonic() - self.pulled_at


@pytest.fixture(scope="module")
def second(built_daemon):
    binaries = lab.versions.find("2.1")
    if binaries is None:
        pytest.skip(lab.versions.why_not("2.1"))
    with lab.Lab(nodes=0) as l:
        yield SecondScene(l, binaries)


def said_are(node, expected):
    said = warnings(node)
    return len(said) == len(expected) and all(
        message in got and fix in how for (message, fix), (got, how) in zip(expected, said))


@pytest.mark.parametrize("name", FILES)
def test_where_containerd_does_not_say_its_file_is_read(second, name):
    second.lab.settle(lambda: said_are(second.nodes[name], SECOND[name][3]), 15, "the warnings")


def test_images_that_lost_their_layers_are_told_once_and_not_while_one_is_downloaded(second):
    """The daemon of discarded-before was not there when they came."""
    came, before, keeps = (second.nodes[n] for n in ("discards", "discarded-before", "keeps"))
    assert all(second.layers("keeps")) and not any(second.layers("discarded-before"))
    archive = images.archive(images.image(layers=1, layer_mb=1, seed=3),
                             os.path.join(second.lab.net.directory, "imported.tar"),
                             "imported.lab/app:v1")
    keeps.containerd.import_image(archive)
    before.daemon.stop()
    download = os.path.join(before.containerd.content_path, "ingest", "0" * 64)
    os.makedirs(download)
    data = os.path.join(download, "data")
    with open(data, "wb"):
        pass
    os.utime(data, (time.time() + 25,) * 2)  # as if it grew until then
    before.daemon.start()
    started_at = time.monotonic()
    time.sleep(max(0.0, 25 - second.seconds()))
    assert warnings(came) == [], "not before the layers had the time to come"
    second.lab.settle(lambda: warnings(came), 30, "the warning")
    time.sleep(max(0.0, 50 - (time.monotonic() - started_at)))
    assert warnings(before) == [], "not while a download grows, nor soon after"
    second.lab.settle(lambda: warnings(before), 30, "the warning after the download")
    time.sleep(12)  # another look
    for name in ("discards", "discarded-before", "keeps"):
        assert said_are(second.nodes[name], SECOND[name][3]), warnings(second.nodes[name])
    for node, layers in ((came, "missing"), (keeps, "held")):
        assert node.daemon.metric("spegel_held_images", layers=layers) == (node is keeps) + 1
    assert came.daemon.metric("spegel_held_images", layers="held") == 0
    assert keeps.daemon.metric("spegel_held_images", layers="missing") == 0


def test_images_get_their_layers_by_being_removed_and_pulled_again_once_it_is_set_right(second):
    """As the fix says: a pull alone brings no layer that is unpacked."""
    node = second.nodes["discards"]
    reference = "registry.lab:5000/multi:v1"
    with open(node.containerd.config_path, encoding="utf-8") as f:
        text = f.read()
    with open(node.containerd.config_path, "w", encoding="utf-8") as f:
        f.write(text.replace(DISCARDS.format("true"), DISCARDS.format("false")))
    node.containerd.stop()
    node.containerd.start()
    node.pull(reference)
    assert not any(second.layers("discards"))
    node.remove(reference)
    node.pull(reference)
    second.lab.settle(lambda: node.daemon.metric("spegel_held_images", layers="held") == 1)
    assert all(second.layers("discards"))
