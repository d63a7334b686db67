"""What the end-to-end tests share: pulls that something happens to, bytes that left upstream,
content checked to the last byte.

Limits on time hold for a release build on a machine of its own. They are not asserted when the
program under test carries a sanitizer, or with SPEGEL_UNTIMED=1. A test that asserts one is marked
"timed", and nothing runs beside it.
"""

import contextlib
import functools
import hashlib
import json
import os
import re
import resource
import threading
import time

import lab

# Upstream may see a stray packet (ARP, a HEAD that raced); layers in these tests are megabytes.
NEXT_TO_NOTHING = 100_000


@functools.lru_cache(maxsize=None)
def untimed():
    """Whether limits on time are to be left out."""
    if os.environ.get("SPEGEL_UNTIMED", "") not in ("", "0") or lab.spegel.sanitized():
        return True
    assert "PYTEST_XDIST_WORKER" not in os.environ, "not marked as timed, yet asserts times"
    return False


def assert_seconds(seconds, limit_s, what):
    assert untimed() or seconds <= limit_s, f"{what}: {seconds:.2f} s, allowed {limit_s:g} s"


def split(reference):
    """"registry.lab:5000/app:v1" -> ("registry.lab:5000", "app", "v1")."""
    registry, _, rest = reference.partition("/")
    repository, _, tag = rest.partition(":")
    return registry, repository, tag


def manifest_path(reference, digest=None):
    """The path under which a daemon is asked for a reference's manifest."""
    registry, repository, tag = split(reference)
    return f"/v2/{repository}/manifests/{digest or tag}?ns={registry}"


def blob_path(reference, digest):
    registry, repository, _ = split(reference)
    return f"/v2/{repository}/blobs/{digest}?ns={registry}"


def paths(reference, image):
    """Everything containerd asks for when it pulls a single-platform image."""
    return [manifest_path(reference), manifest_path(reference, image.digest),
            *(blob_path(reference, d) for d in image.digests[1:])]


def knows(node, reference, image):
    """Whether this node's daemon would answer for the whole image, from itself or from peers."""
    return all(node.get(path, "HEAD").status == 200 for path in paths(reference, image))


def wait_known(opened, reference, image, nodes=None, timeout_s=5.0):
    """Waits until the nodes (all) know the whole image; returns the seconds it took."""
    return opened.settle(lambda: all(knows(n, reference, image) for n in nodes or opened.nodes),
                         timeout_s, f"{reference} to be known")


def wait_holders(opened, reference, image, count, timeout_s=5.0):
    """Waits until all nodes know each of `count` holders of this image, the only one around. (Where
    one is about to be hurt, wait_known() says too little: any of them satisfies it.)"""
    pairs = count * len(paths(reference, image))
    return opened.settle(lambda: all(n.daemon.metric("spegel_gossip_index_entries") == pairs
                                     for n in opened.nodes),
                         timeout_s, f"{count} holders of {reference} to be known")


def knows_members(node, count):
    return node.daemon.metric("spegel_gossip_members", state="alive") == count


def wait_members(opened, timeout_s=10.0):
    """Waits until all daemons that run know each other."""
    running = [n for n in opened.nodes if n.daemon and n.daemon.alive]
    return opened.settle(lambda: all(knows_members(n, len(running) - 1) for n in running),
                         timeout_s, "the daemons to know each other")


def assert_holds(node, reference, image):
    """The node's containerd has the image, every blob of it with the right bytes."""
    assert node.containerd.cri.image(reference), f"{reference} is not on {node.name}"
    for digest in image.digests:
        with open(node.containerd.blob_path(digest), "rb") as f:
            assert hashlib.sha256(f.read()).hexdigest() == digest.partition(":")[2], digest


class Sent:
    """Bytes that a registry or node has sent since this was made."""

    def __init__(self, sender):
        self._link = sender.link
        self._before = self._link.sent_bytes()

    @property
    def bytes(self):
        return self._link.sent_bytes() - self._before


class Pull(threading.Thread):
    """A CRI pull that something happens to while it runs. senders are the nodes (or registries)
    whose bytes are counted from just before it. finish() returns its seconds, or raises what the
    pull raised."""

    def __init__(self, node, reference, senders=()):
        super().__init__(daemon=True)
        self._node, self._reference = node, reference
        self._seconds = self._error = None
        self._before = [(sender, sender.link.sent_bytes()) for sender in senders]
        self.start()

    def run(self):
        try:
            self._seconds = self._node.pull(self._reference)
        except Exception as e:  # raised again by finish()
            self._error = e

    def finish(self, timeout_s=90.0):
        self.join(timeout_s)
        assert not self.is_alive(), f"the pull hangs for {timeout_s:g} s already"
        if self._error:
            raise self._error
        return self._seconds

    def wait_sender(self, size_bytes, timeout_s=20.0):
        """Waits until all senders together have sent that many bytes; returns the busiest."""
        deadline = time.monotonic() + timeout_s
        while True:
            sent = [sender.link.sent_bytes() - before for sender, before in self._before]
            if sum(sent) >= size_bytes:
                return self._before[sent.index(max(sent))][0]
            if not self.is_alive():
                self.finish()
            assert self.is_alive() and time.monotonic() < deadline, f"only {sent} bytes came"
            time.sleep(0.01)


def pull_again(node, reference, times):
    """Pulls as the kubelet does, again after a failure; returns how many failed. A second try at
    once would find the bytes of the first, which containerd throws away within a second."""
    failed = 0
    while True:
        try:
            node.pull(reference)
            return failed
        except lab.RpcError:
            failed += 1
            if failed == times:
                raise
        deadline = time.monotonic() + 10
        while node.containerd.services.ingests():
            assert time.monotonic() < deadline, "the ingest of a failed pull stays"
            time.sleep(0.05)


def write_basic_auth(directory, username="spegel", password="swordfish"):
    """The two files of surface.md, "Files"; the password with the newline that editors leave."""
    os.makedirs(directory, exist_ok=True)
    for name, text in (("username", username), ("password", password + "\n")):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as f:
            f.write(text)
    return directory


def error_codes(response):
    """The codes of an OCI error body, which must be well formed."""
    assert response.headers["Content-Type"].startswith("application/json"), response
    body = json.loads(response.body)
    assert set(body) == {"errors"} and body["errors"], body
    for error in body["errors"]:
        assert re.fullmatch(r"[A-Z_]+", error["code"]) and error["message"], body
    return [error["code"] for error in body["errors"]]


@contextlib.contextmanager
def file_limit(count):
    """This process may have count open files within the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), max(hard, count)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, count)))
