"""Keys of the cluster: who holds one is in, who does not is not there, and a change loses nobody."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import threading
import time

import pytest

import lab
from lab import spegel, web
from layouts import Layout
from support import knows_members, untimed, wait_members

BLOB = random.Random(14).randbytes(100_000)

pytestmark = pytest.mark.usefixtures("built_daemon")


def key(number):
    return base64.b64encode(random.Random(number).randbytes(32)).decode()


OLD, NEW, OTHER = key(1), key(2), key(3)


def label_key(label):
    """What a node without a file uses, as docs/gossip.md says."""
    secret = hmac.new(b"spegel cluster label", label.encode(), hashlib.sha256).digest()
    return base64.b64encode(secret).decode()


class KeyFile:
    """A file of keys as an administrator replaces it, or as Kubernetes does a mounted Secret: keys
    -> ..data/keys, ..data -> ..<number>, and a new ..data is renamed into place."""

    def __init__(self, directory, *keys, secret=False):
        self.path = os.path.join(directory, "keys")
        self._directory, self._secret, self._versions = directory, secret, 0
        os.makedirs(directory)
        if secret:
            os.symlink("..data/keys", self.path)
        self.write(*keys)

    def write(self, *lines):
        text = "# written by a test\n\n" + "".join(line + "\n" for line in lines)
        self._versions += 1
        if not self._secret:
            self._put(self.path, text)
            return
        version = os.path.join(self._directory, f"..{self._versions}")
        os.mkdir(version)
        self._put(os.path.join(version, "keys"), text)
        new = os.path.join(self._directory, "..data_tmp")
        os.symlink(f"..{self._versions}", new)
        os.rename(new, os.path.join(self._directory, "..data"))

    @staticmethod
    def _put(path, text):
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(text)
        os.rename(path + ".new", path)


def give_keys(node, directory, *keys, secret=False):
    node.keys = KeyFile(os.path.join(directory, f"keys-{node.name}"), *keys, secret=secret)
    node.daemon.args += ["--gossip-key-file", node.keys.path]


def add_node(opened, directory, *keys, secret=False, store=None):
    """A node, not started, whose daemon has a key file with these keys; without any: no file."""
    node = opened.add_node(start=False, stores=[store.directory] if store else ())
    if keys:
        give_keys(node, directory, *keys, secret=secret)
    return node


def debug(node, query=""):
    url = node.daemon.metrics_url.replace("/metrics", "/debug/cluster") + query
    reply = web.request(node.host, url)
    assert reply.status == 200, reply
    assert reply.headers["Content-Type"] == "application/json"
    return json.loads(reply.body)


def dropped(node):
    """Packets under a key that this node does not have."""
    return sum(node.daemon.metric("spegel_gossip_dropped_total", reason=reason)
               for reason in ("key", "seal"))


class Watch(threading.Thread):
    """Looks at every node's view over and over; complaints() tells what was not as it should be."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self._nodes, self._found, self._end = nodes, [], threading.Event()
        self.looks = 0
        self.start()

    def run(self):
        while not self._end.wait(0.1):
            for node in self._nodes:
                try:
                    members = debug(node)["members"]
                except (OSError, AssertionError) as e:  # told by complaints()
                    self._found.append(f"{node.name}: {e!r}")
                    return
                alive = [m for m in members if m["state"] == "alive" and m["selectable"]]
                if len(alive) != len(self._nodes) - 1:
                    self._found.append(f"{node.name}: {members}")
            self.looks += 1

    def complaints(self):
        self._end.set()
        self.join(30)
        assert not self.is_alive()
        return self._found


@contextlib.contextmanager
def nobody_lost(nodes):
    """Within the block no node sees another in any state but alive. On a machine that is too busy
    to answer in time one may be suspected; dead it is never."""
    watch = Watch(nodes)
    yield watch
    complaints = watch.complaints()
    assert watch.looks > 5
    if not untimed():
        assert not complaints, "\n".join(complaints[:3])
    for node in nodes:
        assert node.daemon.metric("spegel_gossip_deaths_total") == 0
        assert dropped(node) == 0, f"{node.name} met a key that it did not accept"


def fingerprints(node):
    """{"sends": ..., "accepts": [...]} as its metrics say."""
    found = {"sends": None, "accepts": []}
    for series in node.daemon.metrics():
        if series.startswith("spegel_gossip_key_info{"):
            fingerprint, use = series.split('"')[1::2]
            if use == "sends":
                found["sends"] = fingerprint
            else:
                found["accepts"].append(fingerprint)
    return found


def write_everywhere(opened, nodes, *keys):
    """One step of a rotation: returns when all nodes have these keys."""
    for node in nodes:  # not at once, as it never is
        node.keys.write(*keys)
        time.sleep(0.7)
    opened.settle(lambda: all(debug(n)["keys"]["failures"] == 0 and
                              len(debug(n)["keys"]["accepts"]) == len(keys) and
                              fingerprints(n) == fingerprints(nodes[0]) for n in nodes),
                  15, "the new keys to be taken up")


def test_only_holders_of_the_key_see_each_other(tmp_path):
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        first = add_node(l, tmp_path, OLD)
        second = add_node(l, tmp_path, OLD)
        other = add_node(l, tmp_path, OTHER)
        without = add_node(l, tmp_path)
        l.start()
        l.settle(lambda: all(knows_members(n, 1) for n in (first, second)), 10)
        # All four were told of each other, and ask again for ever.
        l.settle(lambda: all(dropped(n) > 0 for n in l.nodes), 30, "foreign packets to be dropped")
        for node, wanted in ((first, 1), (second, 1), (other, 0), (without, 0)):
            view = debug(node)
            assert view["counts"]["alive"] == len(view["members"]) == wanted, (node.name, view)
        assert debug(first)["members"][0]["id"] == debug(second)["id"]
        assert debug(without)["keys"] == {"from": "label"}
        # What is larger than a packet is behind the same key.
        for path in ("/cluster/v1/snapshot", f"/cluster/v1/set/{debug(second)['id']}"):
            assert first.get(path).status == 403
            assert first.get(path, headers={"X-Spegel-Auth": "A" * 80}).status == 403
        assert first.daemon.metric("spegel_gossip_served_total", answer="denied") >= 4
        # The key it lacked comes without a restart, and it is in.
        other.keys.write(OLD)
        l.settle(lambda: knows_members(other, 2) and knows_members(first, 2), 30,
                 "the node with the right key to be let in")
        assert not knows_members(without, 1)


@pytest.mark.timed
@pytest.mark.parametrize("secret", [False, True], ids=["file", "secret"])
def test_a_rotation_as_documented_loses_nobody(tmp_path, secret):
    layout = Layout(tmp_path / "store")
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        nodes = [add_node(l, tmp_path, OLD, secret=secret, store=layout)]
        nodes += [add_node(l, tmp_path, OLD, secret=secret) for _ in range(3)]
        l.start()
        wait_members(l)
        l.settle(lambda: all(len(debug(n)["members"]) == 3 for n in nodes), 10)
        before = fingerprints(nodes[0])
        with nobody_lost(nodes):
            for step in ([OLD, NEW], [NEW, OLD], [NEW]):
                write_everywhere(l, nodes, *step)
        after = fingerprints(nodes[0])
        assert before["accepts"] == after["accepts"] == [] and before["sends"] != after["sends"]
        for node in nodes:
            assert node.daemon.metric("spegel_gossip_key_loads_total") == 4
        # And what is announced under the new key arrives.
        _, manifest = layout.image("example.com/app:v1", [BLOB])
        path = f"/v2/app/blobs/{manifest['layers'][0]['digest']}?ns=example.com"
        l.settle(lambda: all(n.get(path, "HEAD").status == 200 for n in nodes), 10,
                 "the image to be known")


@pytest.mark.timed
def test_a_cluster_without_keys_gets_one_and_loses_nobody(tmp_path):
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        nodes = [add_node(l, tmp_path) for _ in range(3)]
        for node in nodes:
            node.daemon.args += ["--cluster-label", "a cluster"]
        l.start()
        wait_members(l)
        for node in nodes:  # a rolling restart
            node.daemon.stop()
            give_keys(node, tmp_path, label_key("a cluster"), NEW)
            node.daemon.start()
            wait_members(l)
        l.settle(lambda: all(len(debug(n)["members"]) == 2 for n in nodes), 10)
        with nobody_lost(nodes):
            write_everywhere(l, nodes, NEW, label_key("a cluster"))
            write_everywhere(l, nodes, NEW)
        assert all(len(debug(n)["keys"]["accepts"]) == 1 for n in nodes)


def test_a_change_that_skips_a_step_is_seen(tmp_path):
    """Without which the test above would prove nothing."""
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        nodes = [add_node(l, tmp_path, OLD) for _ in range(3)]
        l.start()
        wait_members(l)
        nodes[0].keys.write(NEW)
        l.settle(lambda: all(knows_members(n, wanted) for n, wanted in zip(nodes, (0, 1, 1))), 30,
                 "the node with another key to be lost")
        assert all(dropped(n) > 0 for n in nodes)


@pytest.mark.timed
def test_a_bad_new_file_changes_nothing_and_is_said_once(tmp_path):
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        nodes = [add_node(l, tmp_path, OLD) for _ in range(2)]
        l.start()
        wait_members(l)
        with nobody_lost(nodes):
            before = fingerprints(nodes[0])
            nodes[0].keys.write(OLD, "swordfish")
            l.settle(lambda: nodes[0].daemon.metric("spegel_gossip_key_load_failures_total") >= 2,
                     15, "the failures to be counted")
            assert fingerprints(nodes[0]) == before
            assert debug(nodes[0])["keys"]["failures"] >= 2
            nodes[0].keys.write(OLD, NEW)
            l.settle(lambda: fingerprints(nodes[0])["accepts"], 15, "the good file to be taken up")
        log = nodes[0].daemon.log()
        warnings = [line for line in log.splitlines() if "gossip keys stay" in line]
        assert len(warnings) == 1 and "line 4" in warnings[0], warnings
        assert "swordfish" not in log and OLD not in log and NEW not in log


@pytest.mark.parametrize("content, said", [
    (None, "No such file"), ("", "no key"), ("# nothing yet\n", "no key"),
    ("swordfish\n", "line 1"), (OLD + "\n" + NEW[:-4] + "\n", "line 2"),
    ("\n".join([OLD, NEW, OTHER, key(4)]), "more than 3"), ("\n" * 20_000, "longer than"),
], ids=["missing", "empty", "comment", "word", "short", "four", "long"])
def test_a_start_without_a_usable_key_is_one_clear_line_and_exit_1(tmp_path, content, said):
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        done = l.add_host("alone").run(
            [spegel.binary(), "registry", "--store", f"oci-layout:{tmp_path}",
             "--gossip-key-file", str(path)], check=False, timeout=20)
        errors = [line for line in map(json.loads, done.stdout.splitlines())
                  if line["level"] == "ERROR"]
        assert done.returncode == 1 and len(errors) == 1, done.stdout
        assert "--gossip-key-file" in errors[0]["err"] and str(path) in errors[0]["err"]
        assert said in errors[0]["err"] and "swordfish" not in errors[0]["err"]
