"""What lies on disk while containerd pulls, on each version, and that lib/store/ingest.c follows
it. What cold rollouts stand on: the download itself is what others are fed from."""

import contextlib
import hashlib
import os
import subprocess
import time

import pytest

import lab
from lab import images
from lab.node import hosts_toml
from scripted_mirror import URL, ScriptedMirror, ingest_of, ingest_path
from support import Pull, assert_holds, assert_seconds

CUT_AT = 1_500_000  # not a multiple of the 1 MiB that containerd writes at a time
WRITE_BYTES = 1 << 20
FOLLOWER = os.path.join(os.path.dirname(lab.spegel.binary()), "follow_ingest")


@pytest.fixture
def puller(any_containerd):
    """A node without a daemon; two layers take a second or two to come from upstream."""
    with lab.Lab(nodes=1, daemons=False, binaries=any_containerd, upstream_mbit=30) as opened:
        yield opened.nodes[0]


@pytest.fixture
def image():
    return images.image(layers=4, layer_mb=2)


def layer(image):
    return image.layers[1]["digest"]


def push(node, image):
    """Pushed to the upstream, which the mirror is asked before."""
    node.containerd.write_hosts(node.lab.upstream.address,
                                hosts_toml(node.lab.upstream.url, URL))
    return node.lab.push(image)


def cut_once(digest, whole):
    """The first request for a digest is answered with a part of it."""
    return lambda asked: ((whole, CUT_AT) if asked.reference == digest and
                          asked.method == "GET" and asked.range is None else None)


def empty_answers(digest, whole):
    """An empty 200 for each request: the one thing after which containerd's pull fails."""
    return lambda asked: ((whole, 0) if asked.reference == digest and asked.method == "GET"
                          else None)


def wait_for(condition, what, timeout_s=15.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.005)


def kill_in_the_middle(node, pull, digest):
    """SIGKILL for containerd once a part of the blob is on disk; returns its ingest."""
    wait_for(lambda: getattr(ingest_of(node.containerd, digest), "size", None), "the first bytes")
    node.containerd.kill()
    with pytest.raises(lab.RpcError):
        pull.finish()
    return ingest_of(node.containerd, digest)


def test_the_ingest_is_there_before_the_mirror_is_asked_for_it(puller, image):
    reference = push(puller, image)
    kinds = {image.digest: "manifest", image.config_digest: "config"}
    with ScriptedMirror(puller) as mirror:
        puller.pull(reference)
        for digest in image.digests:
            [asked] = mirror.gets(digest)
            assert asked.ingest.kind == kinds.get(digest, "layer"), asked
            assert asked.ingest.inode is not None, f"no data yet: {asked}"
            assert asked.ingest.size == 0, asked
            assert asked.ingest.total == str(os.path.getsize(image.blob_path(digest))), asked
    assert_holds(puller, reference, image)


def test_a_body_cut_short_goes_on_in_the_same_file_which_becomes_the_blob(puller, image):
    reference, digest = push(puller, image), layer(image)
    with ScriptedMirror(puller, cut_once(digest, image.blob(digest))) as mirror:
        puller.pull(reference)
        first, again = mirror.gets(digest)
    assert again.range == CUT_AT, "containerd asks from what it has received …"
    assert again.ingest.inode == first.ingest.inode
    assert again.ingest.size <= CUT_AT // WRITE_BYTES * WRITE_BYTES, \
        "… while less than that is on disk: it writes a mebibyte at a time"
    assert os.stat(puller.containerd.blob_path(digest)).st_ino == first.ingest.inode
    assert_holds(puller, reference, image)


@pytest.mark.timed
def test_after_a_pull_that_fails_the_ingest_is_unlinked_within_a_second(puller, image):
    reference, digest = push(puller, image), layer(image)
    with ScriptedMirror(puller, empty_answers(digest, image.blob(digest))) as mirror:
        with pytest.raises(lab.RpcError, match="EOF"):
            puller.pull(reference)
        failed_at = time.monotonic()
        wait_for(lambda: not any(ingest_of(puller.containerd, d) for d in image.digests),
                 "the ingests to go")
        assert_seconds(time.monotonic() - failed_at, 1.0, "unlinking the ingest")
        assert len(mirror.gets(digest)) == 4


def test_a_killed_containerd_leaves_its_ingest_and_goes_on_with_it(puller, image):
    reference, digest = push(puller, image), layer(image)
    with ScriptedMirror(puller) as mirror:
        left = kill_in_the_middle(puller, Pull(puller, reference), digest)
        assert left.size and left.total == str(os.path.getsize(image.blob_path(digest)))
        puller.containerd.start()
        time.sleep(1.5)  # longer than what a failed pull leaves stays
        assert ingest_of(puller.containerd, digest) == left
        del mirror.asked[:]
        puller.pull(reference)
        [asked] = mirror.gets(digest)
    assert asked.range == left.size, "the first request for it is one for the rest"
    assert asked.ingest == left
    assert os.stat(puller.containerd.blob_path(digest)).st_ino == left.inode
    assert_holds(puller, reference, image)


class Follower:
    """follow_ingest on a blob; `lines` is what it has said: (state, size, total)."""

    def __init__(self, node, digest):
        if not os.access(FOLLOWER, os.X_OK):
            pytest.skip(f"{FOLLOWER} is not built")
        self.copy, self._said = (os.path.join(node.directory, f"followed.{what}")
                                 for what in ("copy", "said"))
        with open(self._said, "wb") as said:
            self._process = subprocess.Popen([FOLLOWER, node.containerd.content_path, "k8s.io",
                                              digest, self.copy], stdout=said, stderr=said)

    @property
    def lines(self):
        with open(self._said, encoding="utf-8") as f:
            found = [line.split() for line in f.read().split("\n")[:-1]]
        return [(state, int(size), int(total)) for state, size, total in found]

    def wait_until_committed(self):
        assert self._process.wait(20) == 0, self.lines
        return self.lines

    def __enter__(self):
        wait_for(lambda: self.lines, "the follower to begin")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()


def assert_followed(lines, image, digest):
    """One download, seen growing step by step to its end."""
    total = os.path.getsize(image.blob_path(digest))
    assert lines[-1] == ("committed", total, total)
    assert all(state == "growing" and of == total for state, _, of in lines[:-1]), lines
    sizes = [size for _, size, _ in lines]
    assert sizes == sorted(sizes) and len(set(sizes)) >= 3, lines


def assert_copied(follower, digest):
    with open(follower.copy, "rb") as f:
        assert hashlib.sha256(f.read()).hexdigest() == digest.partition(":")[2]


def test_a_follower_has_each_byte_as_it_comes_and_the_commit(puller, image):
    reference, digest = push(puller, image), layer(image)
    with ScriptedMirror(puller, cut_once(digest, image.blob(digest))), \
            Follower(puller, digest) as follower:
        assert follower.lines == [("absent", 0, -1)]
        puller.pull(reference)
        assert_followed(follower.wait_until_committed()[1:], image, digest)
        assert_copied(follower, digest)


def test_a_follower_sees_a_failed_pull_and_the_next_one(puller, image):
    reference, digest = push(puller, image), layer(image)
    empty = empty_answers(digest, image.blob(digest))

    def seen_and_empty(asked):
        answer = empty(asked)
        if answer:
            wait_for(lambda: len(follower.lines) > 1, "the follower to see the ingest")
        return answer

    with Follower(puller, digest) as follower:
        with ScriptedMirror(puller, seen_and_empty):
            with pytest.raises(lab.RpcError):
                puller.pull(reference)
            wait_for(lambda: follower.lines[-1][0] == "absent" and len(follower.lines) > 1,
                     "the follower to see the end")
        states = [state for state, _, _ in follower.lines]
        assert states[0] == states[-1] == "absent" and states[-2] == "gone"
        with ScriptedMirror(puller):
            puller.pull(reference)
        lines = follower.wait_until_committed()
        assert_followed(lines[len(states):], image, digest)
        assert_copied(follower, digest)


def test_a_follower_stays_with_what_a_killed_containerd_left(puller, image):
    reference, digest = push(puller, image), layer(image)
    with ScriptedMirror(puller), Follower(puller, digest) as follower:
        left = kill_in_the_middle(puller, Pull(puller, reference), digest)
        wait_for(lambda: follower.lines[-1][1] == left.size, "the follower to see the last byte")
        puller.containerd.start()
        puller.pull(reference)
        lines = follower.wait_until_committed()
        assert_followed(lines[1:], image, digest)
        assert_copied(follower, digest)
    assert not os.path.exists(ingest_path(puller.containerd, digest, "layer"))
