"""The containerds of later Debian releases: what every other test does on the installed one, in
short. A version that cannot be fetched is a visible skip."""

import time

import pytest

import lab
from lab import images
from support import (NEXT_TO_NOTHING, Pull, Sent, assert_holds, assert_seconds, manifest_path,
                     paths, wait_holders, wait_known)

LATER = [track for track in lab.versions.TRACKS if track != "1.6"]

pytestmark = pytest.mark.usefixtures("built_daemon")


@pytest.fixture(scope="module", params=LATER)
def later_containerd(request, real_network):
    binaries = lab.versions.find(request.param)
    if binaries is None:
        pytest.skip(lab.versions.why_not(request.param))
    return binaries


def small(seed=1):
    return images.image(layers=2, layer_mb=1, seed=seed)


def test_pulls_in_turn_and_offline(later_containerd):
    with lab.Lab(nodes=3, binaries=later_containerd) as l:
        own = small()
        other = images.image(layers=1, layer_mb=1, seed=2, platform="linux/s390x")
        reference, multi = l.push(own), l.push(images.index(own, other), "multi:v1")
        first, second, third = l.nodes
        assert first.containerd.cri.version()[1].startswith(later_containerd.track)
        sent = Sent(l.upstream)
        first.pull(reference)
        assert sent.bytes > own.size_bytes
        first.pull(multi)
        wait_known(l, reference, own)
        sent = Sent(l.upstream)
        second.pull(reference)
        assert_holds(second, reference, own)
        assert sent.bytes < NEXT_TO_NOTHING
        l.settle(lambda: third.get(manifest_path(multi), "HEAD").status == 200)
        l.upstream.cut()
        third.pull(multi)
        assert_holds(third, multi, own)


@pytest.mark.timed
def test_a_restart_under_the_daemon_and_a_collection(later_containerd):
    with lab.Lab(nodes=2, binaries=later_containerd) as l:
        old, new = small(), small(seed=3)
        old_name, new_name = l.push(old), l.push(new, "new:v1")
        holder, other = l.nodes
        holder.pull(old_name)
        wait_known(l, old_name, old)
        holder.containerd.kill()
        holder.containerd.start()
        holder.pull(new_name)
        wait_known(l, new_name, new, timeout_s=6.0)
        sent = Sent(l.upstream)
        other.pull(new_name)
        assert_holds(other, new_name, new)
        assert sent.bytes < NEXT_TO_NOTHING
        holder.remove(old_name)
        seconds = l.settle(lambda: all(other.get(path, "HEAD").status == 404
                                       for path in paths(old_name, old)),
                           what="the image to be withdrawn")
        assert_seconds(seconds, 1.0, "withdrawing")
        other.pull(old_name)
        assert_holds(other, old_name, old)


@pytest.mark.timed
@pytest.mark.parametrize("another", [1, 0], ids=["another holder", "no other"])
def test_the_sending_peer_is_killed_in_the_middle_of_a_body(later_containerd, another):
    with lab.Lab(nodes=3, binaries=later_containerd) as l:
        image = images.image(layers=2, layer_mb=5)
        reference = l.push(image)
        puller, *holders = l.nodes[:2 + another]
        for node in holders:
            node.pull(reference)
        wait_holders(l, reference, image, len(holders))
        for host in (*l.nodes, l.upstream):
            host.link.shape(40)
        sent = Sent(l.upstream)
        pull = Pull(puller, reference, holders)
        begun = time.monotonic()
        pull.wait_sender(3_000_000).daemon.kill()
        pull.finish()
        assert_seconds(time.monotonic() - begun, 2.4 + 3.0, "2.1 s on the wire; now")
        assert_holds(puller, reference, image)
        assert sent.bytes < (NEXT_TO_NOTHING if another else image.size_bytes - 1_500_000)
