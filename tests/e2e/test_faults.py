"""Faults: what a pull survives, and what that costs.

Three nodes behind links of 40 Mbit/s. n1, and in half of the cases n2, hold an image of two layers
that take two seconds to move; n0 pulls it through CRI, and something happens. Every pull must end
with the right bytes; while a good copy is within reach the upstream sends next to nothing; and no
fault may cost more than three seconds over the same pull without it.
"""

import contextlib
import os
import time

import pytest

import lab
from lab import images
from support import (NEXT_TO_NOTHING, Pull, Sent, assert_holds, assert_seconds, pull_again,
                     wait_holders, wait_known, wait_members)

NODE_MBIT, UPSTREAM_MBIT = 40, 100
LAYER_MB = 5
FAULT_COST_S = 3.0
UNDER_WAY_BYTES = 3_000_000  # both layers have begun, most is still to come

pytestmark = [pytest.mark.timed, pytest.mark.usefixtures("built_daemon", "installed_containerd")]


class Scene:
    """n0 pulls; `holders` have the image, and everybody knows each. Undamaged so far."""

    def __init__(self, opened, holders):
        self.lab, self.upstream = opened, opened.upstream
        self.puller = opened.nodes[0]
        self.holders = opened.nodes[1:1 + holders]
        self.image = images.image(layers=2, layer_mb=LAYER_MB)
        self.reference = opened.push(self.image)
        self.hurt = []
        for node in self.holders:
            node.pull(self.reference)
        wait_members(opened)
        if self.holders:
            wait_holders(opened, self.reference, self.image, holders)
        for node in opened.nodes:
            node.link.shape(NODE_MBIT)
        self.upstream.link.shape(UPSTREAM_MBIT)
        self.sent = Sent(self.upstream)

    def kill(self, node):
        self.hurt.append(node)
        node.daemon.kill()

    def freeze(self, node):
        self.hurt.append(node)
        node.daemon.freeze()

    def unplug(self, node):
        self.hurt.append(node)
        node.link.cut()

    def heal(self):
        """Puts daemons that were hurt out of the way, so that the others can end well: one with a
        stream to somebody who is gone would wait for him."""
        for node in self.hurt:
            node.daemon.kill()
            node.link.restore()


@contextlib.contextmanager
def scene(holders, **options):
    with lab.Lab(nodes=3, **options) as opened:
        made = Scene(opened, holders)
        yield made
        made.heal()


@pytest.fixture(scope="module")
def undisturbed_s():
    """Seconds of the same pull when nothing happens, by number of holders."""
    seconds = {}
    for holders in (0, 1, 2):
        with scene(holders) as s:
            seconds[holders] = s.puller.pull(s.reference)
            assert (s.sent.bytes < NEXT_TO_NOTHING) == (holders > 0)
            assert_holds(s.puller, s.reference, s.image)
    return seconds


def assert_survived(s, seconds, undisturbed_s, good_copy):
    """good_copy: one was left within reach."""
    assert_holds(s.puller, s.reference, s.image)
    if good_copy:
        assert s.sent.bytes < NEXT_TO_NOTHING
    normal_s = undisturbed_s[len(s.holders)]
    print(f"{seconds:.2f} s, {normal_s:.2f} s if nothing happens; upstream sent {s.sent.bytes}")
    assert_seconds(seconds, normal_s + FAULT_COST_S, f"{normal_s:.2f} s if nothing happens; now")


another_holder = pytest.mark.parametrize("another", [1, 0], ids=["another holder", "no other"])
blows = pytest.mark.parametrize("blow", [Scene.kill, Scene.freeze, Scene.unplug])


@another_holder
@blows
def test_the_sending_peer_fails_in_the_middle_of_a_body(undisturbed_s, blow, another):
    with scene(holders=1 + another) as s:
        pull = Pull(s.puller, s.reference, s.holders)
        blow(s, pull.wait_sender(UNDER_WAY_BYTES))
        assert_survived(s, pull.finish(), undisturbed_s, good_copy=another)
        # What had come was not thrown away: the other holder, or else upstream, continued where
        # the peer had stopped.
        assert s.sent.bytes < s.image.size_bytes - UNDER_WAY_BYTES / 2
        event = "resumed" if another else "cut_short"
        assert s.puller.daemon.metric("spegel_mirror_events_total", event=event) > 0


@another_holder
@pytest.mark.parametrize("before_s", [0, 6], ids=["just before", "6 s before"])
@blows
def test_a_holder_fails_before_the_pull(undisturbed_s, blow, before_s, another):
    with scene(holders=1 + another) as s:
        blow(s, s.holders[0])
        time.sleep(before_s)
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=another)


def test_the_own_daemon_is_killed_in_the_middle_of_a_body(undisturbed_s):
    with scene(holders=1) as s:
        pull = Pull(s.puller, s.reference, s.holders)
        pull.wait_sender(UNDER_WAY_BYTES)
        s.kill(s.puller)
        assert_survived(s, pull.finish(), undisturbed_s, good_copy=False)
        assert s.sent.bytes < s.image.size_bytes - UNDER_WAY_BYTES / 2


@another_holder
def test_the_image_was_removed_and_collected_at_the_holder_a_second_ago(undisturbed_s, another):
    with scene(holders=1 + another) as s:
        s.holders[0].remove(s.reference)
        time.sleep(1)
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=another)
        assert s.puller.daemon.metric("spegel_mirror_events_total", event="peer_error") == 0


def unlink(path):
    os.unlink(path)


def truncate(path):
    os.truncate(path, os.path.getsize(path) // 2)


@another_holder
@pytest.mark.parametrize("damage", [unlink, truncate])
def test_a_layer_is_damaged_behind_the_back_of_containerd(undisturbed_s, damage, another):
    with scene(holders=1 + another) as s:
        damage(s.holders[0].containerd.blob_path(s.image.layers[1]["digest"]))
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=another)
        # The other layer was still good.
        assert s.sent.bytes < s.image.size_bytes * 0.6


def zero(node, digest):
    """Overwrites a blob in place: same inode, same size."""
    path = node.containerd.blob_path(digest)
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        f.write(bytes(size))


@another_holder
@pytest.mark.parametrize("which", ["manifest", "config"])
def test_a_small_blob_full_of_zeros_never_leaves_the_mirror(undisturbed_s, which, another):
    with scene(holders=1 + another) as s:
        zero(s.holders[0], s.image.digest if which == "manifest" else s.image.config_digest)
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=another)


@another_holder
def test_a_layer_full_of_zeros_stops_nobody_for_long_and_is_not_met_twice(another):
    with scene(holders=1 + another) as s:
        digest = s.image.layers[1]["digest"]
        zero(s.holders[0], digest)
        # Large blobs are relayed unverified; containerd refuses the wrong one, the kubelet asks
        # again, and from then on the mirror doubts.
        failed = pull_again(s.puller, s.reference, times=3)
        assert failed <= (1 if another else 2)
        assert_holds(s.puller, s.reference, s.image)
        if another:
            assert s.sent.bytes < NEXT_TO_NOTHING
            return
        s.lab.settle(lambda: s.holders[0].daemon.metric("spegel_withdrawn_total") > 0,
                     what="the holder to withdraw the blob")
        other_node = s.lab.nodes[2]
        wait_known(s.lab, s.reference, s.image, [other_node])
        before = s.sent.bytes
        other_node.pull(s.reference)
        assert_holds(other_node, s.reference, s.image)
        assert s.sent.bytes - before < NEXT_TO_NOTHING


def test_containerd_is_killed_and_restarted_under_the_daemon(undisturbed_s):
    with scene(holders=1) as s:
        holder = s.holders[0]
        new = images.image(layers=2, layer_mb=1, seed=2)
        reference = s.lab.push(new, "new:v1")
        holder.containerd.kill()
        holder.containerd.start()
        holder.pull(reference)
        wait_known(s.lab, reference, new, [s.puller], timeout_s=6.0)
        before = s.sent.bytes
        s.puller.pull(reference)
        assert_holds(s.puller, reference, new)
        assert s.sent.bytes - before < NEXT_TO_NOTHING
        s.sent = Sent(s.upstream)
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=True)


def test_containerd_of_the_puller_is_killed_in_the_middle_of_a_body(undisturbed_s):
    with scene(holders=1) as s:
        pull = Pull(s.puller, s.reference, s.holders)
        pull.wait_sender(UNDER_WAY_BYTES)
        s.puller.containerd.kill()
        with pytest.raises(lab.RpcError):
            pull.finish()
        s.puller.containerd.start()
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=True)


def test_the_upstream_is_cut(undisturbed_s):
    with scene(holders=1) as s:
        s.upstream.cut()
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=True)


def test_the_upstream_and_the_sending_peer_fail_and_another_holder_is_left(undisturbed_s):
    with scene(holders=2) as s:
        s.upstream.cut()
        pull = Pull(s.puller, s.reference, s.holders)
        s.freeze(pull.wait_sender(UNDER_WAY_BYTES))
        assert_survived(s, pull.finish(), undisturbed_s, good_copy=True)


def test_the_image_was_imported_and_no_upstream_has_it(undisturbed_s):
    with scene(holders=0) as s:
        reference = s.upstream.reference("imported:v1")
        archive = images.archive(s.image, os.path.join(s.lab.net.directory, "a.tar"), reference)
        s.lab.nodes[1].containerd.import_image(archive)
        wait_known(s.lab, reference, s.image)
        s.reference = reference
        assert_survived(s, s.puller.pull(reference), undisturbed_s, good_copy=True)


def test_the_proxy_variables_name_a_dead_port(undisturbed_s):
    dead = "http://127.0.0.1:9"
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    with scene(holders=1, daemon_env={name: dead for name in names}) as s:
        assert_survived(s, s.puller.pull(s.reference), undisturbed_s, good_copy=True)
