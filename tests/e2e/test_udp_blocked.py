"""A firewall or a network policy that lets TCP through and no UDP: members find each other all the
same, seconds later, and say so."""

import time

import pytest

from herd import cluster
from support import untimed

FOUND_S = 10  # to find and to be found; the rest of the waits is slack for a busy machine
PATIENCE_S = 30
DROP = (("INPUT", "-i"), ("OUTPUT", "-o"))

pytestmark = pytest.mark.timed


def block(node):
    for chain, direction in DROP:
        node.host.run(["iptables", "-A", chain, direction, "eth0", "-p", "udp", "-j", "DROP"])


def unblock(node):
    for chain, direction in DROP:
        node.host.run(["iptables", "-D", chain, direction, "eth0", "-p", "udp", "-j", "DROP"])


def is_blocked(node):
    return node.daemon.metric("spegel_gossip_udp_blocked")


def wait_blocked(c, nodes, wanted):
    c.lab.settle(lambda: all(is_blocked(n) == wanted for n in nodes), PATIENCE_S,
                 f"spegel_gossip_udp_blocked {wanted}")


def found_after_s(c, owner):
    """From when its owner serves a new blob until all others do, by way of it."""
    found = c._wait_found(c.nodes, c._add_image(owner), PATIENCE_S)
    return max(found.values()) - found[owner]


@pytest.fixture
def daemons(built_daemon, tmp_path):
    with cluster.Cluster(str(tmp_path), nodes=4) as c:
        yield c


def test_a_node_without_udp_finds_and_is_found_over_tcp(daemons):
    blind, other = daemons.nodes[0], daemons.nodes[1]
    block(blind)
    wait_blocked(daemons, [blind], 1)
    assert all(is_blocked(n) == 0 for n in daemons.nodes[1:])
    for owner in (blind, other):
        took_s = found_after_s(daemons, owner)
        assert untimed() or took_s < FOUND_S
    time.sleep(10)  # long enough to be suspected, if anybody were
    daemons._wait_complete(PATIENCE_S, "nobody is taken for dead")
    blind.daemon.restart()
    daemons._wait_complete(PATIENCE_S, "a node that never had UDP joins")
    wait_blocked(daemons, [blind], 1)
    unblock(blind)
    wait_blocked(daemons, [blind], 0)
    assert untimed() or found_after_s(daemons, blind) < 3


def test_a_cluster_without_udp_works_all_the_same(daemons):
    for node in daemons.nodes:
        block(node)
    wait_blocked(daemons, daemons.nodes, 1)
    daemons._wait_complete(PATIENCE_S, "all know each other again")
    for owner in daemons.nodes[:2]:
        took_s = found_after_s(daemons, owner)
        assert untimed() or took_s < FOUND_S
