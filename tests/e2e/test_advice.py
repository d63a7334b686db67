"""What the daemon says, once, when containerd's configuration is why nothing is shared."""

import json
import time

import pytest

import lab
from lab import images
from lab.node import MIRROR

pytestmark = pytest.mark.usefixtures("built_daemon", "installed_containerd")


def warnings(node):
    """(message, fix) of the warnings that come with one."""
    lines = [json.loads(line) for line in node.daemon.log().splitlines()]
    return [(line["msg"], line["fix"]) for line in lines
            if line["level"] == "WARN" and "fix" in line]


def start_with(opened, find, replacement, args=()):
    """A node whose containerd's configuration was changed before its start; its warnings."""
    node = opened.add_node(start=False)
    with open(node.containerd.config_path, encoding="utf-8") as f:
        text = f.read()
    find = find.format(certs_d=node.containerd.certs_d)
    assert find in text
    with open(node.containerd.config_path, "w", encoding="utf-8") as f:
        f.write(text.replace(find, replacement))
    node.daemon.args += [a.format(certs_d=node.containerd.certs_d) for a in args]
    opened.start()
    return node


WRITE = ["--write-configuration", "--mirror-targets", MIRROR, "--containerd-registry-config-path",
         "{certs_d}"]


@pytest.mark.parametrize("find, replacement, args, message, fix", [
    ("discard_unpacked_layers = false", "discard_unpacked_layers = true", [],
     "discards layers", '[plugins."io.containerd.grpc.v1.cri".containerd] '
     "discard_unpacked_layers = false"),
    ('config_path = "{certs_d}"', "", [], "reads no hosts.toml",
     '[plugins."io.containerd.grpc.v1.cri".registry] config_path = "/etc/containerd/certs.d"'),
    ('config_path = "{certs_d}"', 'config_path = "/etc/elsewhere"', WRITE,
     "elsewhere than it is written", "config_path"),
], ids=["discards", "no-path", "elsewhere"])
def test_a_setting_that_keeps_nodes_from_sharing_is_named_with_its_fix(find, replacement, args,
                                                                      message, fix):
    with lab.Lab(nodes=0, upstream=False) as l:
        node = start_with(l, find, replacement, args)
        l.settle(lambda: warnings(node), 15, "a warning")
        [(said, how)] = warnings(node)
        assert message in said and fix in how
        time.sleep(5)
        assert len(warnings(node)) == 1, "once"


def test_where_all_is_well_nothing_is_said():
    with lab.Lab(nodes=0, upstream=False) as l:
        node = start_with(l, "version = 2", "version = 2", WRITE)
        time.sleep(8)
        assert warnings(node) == []


def test_images_that_come_though_containerd_never_asks_are_told_once():
    with lab.Lab(nodes=1, mirror=False) as l:
        node = l.nodes[0]
        time.sleep(13)  # what comes earlier says nothing
        node.pull(l.push(images.image(layers=1, layer_mb=1)))
        time.sleep(20)
        assert warnings(node) == [], "not before containerd had the time to ask"
        l.settle(lambda: warnings(node), 30, "the warning")
        [(said, how)] = warnings(node)
        assert "has never asked this mirror" in said and "config_path" in how
