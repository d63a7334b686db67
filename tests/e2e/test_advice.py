"""What the daemon says, once, when containerd's configuration is why nothing is shared."""

import json
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


def add_node(opened, find, replacement, args):
    """A node whose containerd's configuration is changed before its start."""
    node = opened.add_node(start=False)
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
