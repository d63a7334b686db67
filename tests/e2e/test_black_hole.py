"""Dual stack where one family leads nowhere: packets between nodes are dropped without a word, as by a
firewall that knows only the other, or a route that was forgotten."""

import pytest

import lab
from lab import images
from lab.spegel import ROUTER_PORT
from support import (NEXT_TO_NOTHING, Sent, assert_holds, assert_seconds, wait_known, wait_members)

PULL_S = 4.0
PATIENCE_S = 30.0

pytestmark = [pytest.mark.timed, pytest.mark.usefixtures("built_daemon", "installed_containerd")]


def dual_stack(count):
    """Daemons that announce both of their addresses and are given both of the others'."""
    made = lab.Lab(nodes=count)
    peers = [p for n in made.nodes for p in (n.router, f"[{n.ip6}]:{ROUTER_PORT}")]
    for node in made.nodes:
        node.daemon.args = ["--advertise-addr", node.ip, node.ip6]
        node.daemon.peers = peers
    return made


def black_hole(nodes, tool):
    for node in nodes:
        for other in nodes:
            if other is not node:
                address = other.ip if tool == "iptables" else other.ip6
                node.host.run([tool, "-A", "INPUT", "-s", address, "-j", "DROP"])


each_family = pytest.mark.parametrize("tool", ["iptables", "ip6tables"], ids=["ipv4", "ipv6"])


def push(opened, seed):
    image = images.image(layers=2, layer_mb=1, seed=seed)
    return opened.push(image, f"app{seed}:v1"), image


def assert_shares(opened, holder, asker, seed):
    reference, image = push(opened, seed)
    holder.pull(reference)
    wait_known(opened, reference, image, timeout_s=PATIENCE_S)
    sent = Sent(opened.upstream)
    assert_seconds(asker.pull(reference), PULL_S, "a pull over the other family")
    assert_holds(asker, reference, image)
    assert sent.bytes < NEXT_TO_NOTHING


@each_family
def test_a_family_that_never_worked_is_passed_by(tool):
    opened = dual_stack(3)
    black_hole(opened.nodes, tool)
    with opened:
        wait_members(opened, PATIENCE_S)
        assert_shares(opened, opened.nodes[0], opened.nodes[1], 1)
        assert_shares(opened, opened.nodes[2], opened.nodes[0], 2)


@each_family
def test_a_family_that_fails_is_left_for_the_other(tool):
    with dual_stack(3) as opened:
        first, second, third = opened.nodes
        wait_members(opened)
        reference, image = push(opened, 1)
        first.pull(reference)
        wait_known(opened, reference, image)
        black_hole(opened.nodes, tool)
        # Nobody has noticed yet.
        assert_seconds(second.pull(reference), PULL_S, "a pull just after the family failed")
        assert_holds(second, reference, image)
        # Now they have, and none was taken for dead.
        assert_shares(opened, third, first, 2)
        assert_shares(opened, second, third, 3)
        dead = [n.daemon.metric("spegel_gossip_members", state="dead") for n in opened.nodes]
        assert dead == [0, 0, 0]
