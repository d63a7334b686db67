"""Packets that no honest node sends, towards a real daemon, by those who have the cluster's key and
those who have not (tests/hostile/): every cap holds, memory stays where it was, the loop answers
others meanwhile, and what was done is counted under a name of its own."""

import collections
import json
import os
import subprocess
import threading
import time

import pytest

import lab
from lab import web
from lab.versions import BUILD
from support import untimed

HOSTILE = os.path.join(BUILD, "hostile")
LABEL = "besieged"
ROUTER = "127.0.0.1:5001"
SEED_PORT = 5999
DROPPED = "spegel_gossip_dropped_total"
RECEIVED = "spegel_gossip_packets_received_total"
FETCHES_TOO_LARGE = "spegel_gossip_fetches_too_large_total"
FETCHES_FAILED = "spegel_gossip_fetches_failed_total"
EARLY = 'spegel_gossip_ops_ignored_total{reason="early"}'
# Of what arrives everything is counted, but a busy machine loses datagrams before they do.
MOST = 0.5
# Each of these is allowed to cost so little that a leak of a few bytes a packet would show.
LITTLE_KIB = 1024
# 16,384 members, the most that are heard of, with everything that hangs on them.
FULL_TABLE_KIB = 12 * 1024
ANSWERED_WITHIN_S = 0.5
LOOP_LATE_S = 0.25

# `counted`: reasons of drops, or series by their whole name, and how many at least.
Case = collections.namedtuple("Case", "name count counted kib")

CASES = [
    # without the key
    Case("garbage", 100_000, {"key": 90_000, "short": 1000, "seal": 100}, LITTLE_KIB),
    Case("truncated", 5000, {"short": 2000, "seal": 1000}, LITTLE_KIB),
    Case("forged", 5000, {"seal": 5000}, LITTLE_KIB),
    Case("wrong-label", 5000, {"key": 5000}, LITTLE_KIB),
    Case("wrong-version", 5000, {"version": 5000}, LITTLE_KIB),
    Case("oversized", 1000, {"oversized": 500, "short": 500}, LITTLE_KIB),
    # with the key
    Case("malformed", 5000, {"malformed": 3400}, LITTLE_KIB),
    Case("replayed", 5000, {"replay": 5000}, LITTLE_KIB),
    Case("old-boot", 1000, {"old_boot": 1000}, LITTLE_KIB),
    Case("stolen-id", 1000, {"id_collision": 1000}, LITTLE_KIB),
    Case("own-id-flood", 5000, {"id_collision": 5000}, LITTLE_KIB),
    Case("rumour-flood", 20_000, {EARLY: 20_000}, LITTLE_KIB),
    Case("strangers", 100_000, {"spegel_gossip_challenged_total": 1000}, LITTLE_KIB),
    Case("join-flood", 100_000, {"members": 80_000}, FULL_TABLE_KIB),
    Case("ten-million", 1, {"set_size": 1}, LITTLE_KIB),
    Case("dripping-set", 1, {FETCHES_FAILED: 1}, LITTLE_KIB),
]
WITHOUT_KEY = {"garbage", "truncated", "forged", "wrong-label", "wrong-version", "oversized"}


@pytest.fixture(scope="module")
def site(built_daemon):
    if not os.access(HOSTILE, os.X_OK):
        pytest.skip(f"{HOSTILE} is not built")
    with lab.Lab(nodes=0, upstream=False, containerd=False) as opened:
        yield opened


def start(site, own, *args):
    """A daemon of its own for each case; `own` is its router's address."""
    node = site.add_node(daemon_args=["--router-addr", own, "--cluster-label", LABEL, *args])
    time.sleep(0.2)  # what it does at start is done
    return node


@pytest.fixture
def besieged(site):
    node = start(site, ROUTER, "--static-bootstrap-peers", ROUTER)
    yield node
    node.daemon.stop()
    assert node.daemon.complaint() is None


class Answers(threading.Thread):
    """Asks a daemon all the time whether it is ready, and looks at its memory."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self._node, self._stop_it = node, threading.Event()
        self.slowest_s = self.most_kib = self.count = 0
        self.wrong = []

    def run(self):
        while not self._stop_it.wait(0.01):
            reply = web.request(self._node.host, "http://127.0.0.1:5000/readyz")
            self.slowest_s = max(self.slowest_s, reply.total_s)
            self.most_kib = max(self.most_kib, kib(self._node))
            self.count += 1
            if reply.status != 200:
                self.wrong.append(reply)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stop_it.set()
        self.join()


def kib(node):
    return node.daemon.memory_bytes("RssAnon") // 1024


def hostile(node, case, count=1, to=ROUTER, host=None, args=()):
    """Runs a case to its end; what it said of itself."""
    done = (host or node.host).run([HOSTILE, "--to", to, "--label", LABEL, "--count", count, *args,
                                    case], stderr=subprocess.PIPE)
    said = {}
    for line in done.stdout.splitlines():
        said.update(json.loads(line))
    return said


def assert_well(node, answers):
    assert not answers.wrong and answers.count > 3
    if untimed():
        return
    assert answers.slowest_s < ANSWERED_WITHIN_S
    assert node.daemon.metric("spegel_loop_delay_max_seconds") < LOOP_LATE_S


@pytest.mark.timed
@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_it_is_counted_and_costs_nobody_anything(besieged, case):
    before, before_kib = besieged.daemon.metrics(), kib(besieged)
    with Answers(besieged) as answers:
        said = hostile(besieged, case.name, case.count)
    after, cost_kib = besieged.daemon.metrics(), kib(besieged) - before_kib
    print(f"{case.name}: {said} {cost_kib} KiB, at most {answers.most_kib - before_kib}, "
          f"slowest answer {answers.slowest_s * 1000:.1f} ms, loop late by at most "
          f"{after['spegel_loop_delay_max_seconds'] * 1000:.1f} ms")
    assert_well(besieged, answers)
    for name, at_least in case.counted.items():
        series = name if name.startswith("spegel_") else f'{DROPPED}{{reason="{name}"}}'
        assert after[series] - before[series] >= at_least * MOST, series
    if not untimed():
        assert cost_kib <= case.kib
        assert answers.most_kib - before_kib <= case.kib + 6 * 1024
    if case.name in WITHOUT_KEY:
        assert said["back"] == 0, "who has no key gets no answer"
        assert after['spegel_gossip_members{state="alive"}'] == 0
        dropped = sum(value - before[series] for series, value in after.items()
                      if series.startswith(DROPPED) and "oversized" not in series)
        assert dropped == after[RECEIVED] - before[RECEIVED], "each under one reason"
    if case.name == "strangers":
        # Whoever came is challenged, as many as may be in a second, or counted as not.
        came = after[RECEIVED] - before[RECEIVED]
        told = sum(after[s] - before[s] for s in (
            "spegel_gossip_challenged_total", f'{DROPPED}{{reason="strangers"}}'))
        assert came > 2000 and told > came - 1000, "the rest are the seed's own"
    if case.name == "ten-million":
        assert said["requests"] == 0, "it is not even fetched"
    if case.name == "dripping-set":
        # Its head says a length that a set may have, so only the time it takes ends it: what came
        # by then is a byte every 100 ms.
        assert said["requests"] >= 1
        assert after[FETCHES_TOO_LARGE] == before[FETCHES_TOO_LARGE]
        assert after['spegel_gossip_sets_applied_total'] == \
            before['spegel_gossip_sets_applied_total']
    if case.name == "rumour-flood":
        # None of it is taken, and of the one who says all that, nothing can be found.
        assert after["spegel_gossip_ops_applied_total"] == before["spegel_gossip_ops_applied_total"]
        assert after["spegel_gossip_index_keys"] == before["spegel_gossip_index_keys"]


def test_a_flood_of_joins_stops_at_the_cap_on_members(besieged):
    hostile(besieged, "join-flood", 100_000)
    assert sum(besieged.daemon.metric("spegel_gossip_members", state=s)
               for s in ("alive", "suspect", "dead")) == 16384 - 1  # this node is one
    assert besieged.get("/v2/").status == 200


@pytest.mark.timed
def test_sets_that_never_end_are_cut_off_and_look_ups_do_not_wait_for_them(besieged):
    before_kib = kib(besieged)
    with Answers(besieged) as answers:
        said = hostile(besieged, "endless-set")
    assert_well(besieged, answers)
    assert untimed() or answers.most_kib - before_kib <= 6 * 1024
    assert said["requests"] >= 2
    # Each was refused at its head: what was sent by then lay in sockets' buffers.
    assert said["served_bytes"] < said["requests"] * 16_000_000
    assert besieged.daemon.metric(FETCHES_TOO_LARGE) >= said["requests"] - 1
    waited = []
    for number in range(20):
        reply = besieged.get(f"/v2/none/blobs/sha256:{number:064x}", "HEAD")
        assert reply.status == 404
        waited.append(reply.total_s)
    assert untimed() or sorted(waited)[len(waited) // 2] < 0.01


def test_who_uses_this_nodes_id_and_lives_makes_it_take_another_once(besieged):
    id_before = json.loads(web.request(besieged.host, "http://127.0.0.1:9090/debug/cluster").body)
    hostile(besieged, "own-id")
    assert besieged.daemon.metric("spegel_gossip_duplicate_ids_total") == 1
    id_after = json.loads(web.request(besieged.host, "http://127.0.0.1:9090/debug/cluster").body)
    assert id_before["id"] != id_after["id"]


def test_a_members_record_is_not_changed_by_another_salt_of_the_same_life(besieged):
    victim = hostile(besieged, "stolen-id", 200)["victim"]
    page = json.loads(web.request(besieged.host, "http://127.0.0.1:9090/debug/cluster").body)
    record = next(m for m in page["members"] if m["id"] == victim)
    assert [a.rpartition(":")[0] for a in record["addrs"]] == ["127.0.0.1"]


def test_challenges_are_no_larger_than_what_they_answer(besieged):
    said = hostile(besieged, "strangers", 1000)
    assert besieged.daemon.metric("spegel_gossip_challenged_total") >= 1000 * MOST
    assert said["back"] >= 1000 * MOST
    assert said["back_bytes"] <= said["sent_bytes"]


def test_nobody_is_flooded_by_way_of_us(besieged):
    """A member's packets with a third party's address as their source."""
    said = hostile(besieged, "spoofed", 300)
    assert said["sent"] == 300
    assert said["back_bytes"] <= 3 * said["sent_bytes"]
    assert besieged.daemon.metric("spegel_gossip_elsewhere_total") >= 300 * MOST


def attack(besieged, name, count):
    """What the attacker says, and the metrics before and after; the daemon is well and no larger."""
    before, before_kib = besieged.daemon.metrics(), kib(besieged)
    with Answers(besieged) as answers:
        said = hostile(besieged, name, count)
    after = besieged.daemon.metrics()
    print(f"{said}, {kib(besieged) - before_kib} KiB")
    assert_well(besieged, answers)
    assert untimed() or kib(besieged) - before_kib <= LITTLE_KIB
    return said, before, after


@pytest.mark.timed
def test_a_captured_exchange_is_answered_once(besieged):
    """Over HTTP, where everybody on the way can read it: what it says must not be heard again, and
    a body is not built again for whoever repeats it."""
    served = 'spegel_gossip_served_total{answer="served"}'
    said, before, after = attack(besieged, "replayed-exchange", 1000)
    assert said["first"] == 200, "it is as valid as any"
    assert said["refused"] == 1000 and said["taken"] == said["unanswered"] == 0
    replays = f'{DROPPED}{{reason="replay"}}'
    assert after[replays] - before[replays] >= 1000
    assert after[served] - before[served] == 1


@pytest.mark.timed
def test_a_captured_challenge_floods_nobody(besieged):
    """Who is challenged answers at the address it came from, with more than was sent, so a
    captured one with a third party's address on it must not be answered without bound."""
    said, before, after = attack(besieged, "replayed-challenge", 3000)
    assert said["sent"] == 3000
    strangers = f'{DROPPED}{{reason="strangers"}}'
    # So many a second are answered, and the flood may lie across the turn of some.
    assert said["back"] <= 4 * 256
    assert after[strangers] - before[strangers] >= (3000 - 4 * 256) * MOST
    assert said["back_bytes"] <= 3 * said["sent_bytes"]


def test_members_at_impossible_addresses_are_not_taken(besieged):
    hostile(besieged, "addresses", 1400)
    # 11 of 14 are nobody's; 127/8 and ::1 are fine where our own address is loopback, too.
    assert 1100 * MOST <= besieged.daemon.metric(DROPPED, reason="address") <= 1100
    assert 300 * MOST <= besieged.daemon.metric("spegel_gossip_members", state="alive") <= 301


def test_members_at_loopback_addresses_are_not_taken_where_ours_is_another(site):
    node = start(site, ":5001")
    attacker = site.add_host(f"evil{len(site.nodes)}")
    hostile(node, "addresses", 1400, to=f"{node.ip}:5001", host=attacker,
            args=["--from", attacker.ip])
    assert node.daemon.metric(DROPPED, reason="address") >= 1400 * MOST
    assert node.daemon.metric("spegel_gossip_members", state="alive") == 1  # who told of them
    node.daemon.stop()


def test_bulk_is_denied_without_the_key_and_counted(besieged):
    for path in ("snapshot", "set/0123456789ab", "exchange", "../metrics", ""):
        for auth in ({}, {"X-Spegel-Auth": "00" * 40}, {"X-Spegel-Auth": "zz"},
                     {"X-Spegel-Auth": "0" * 8000}):
            reply = besieged.get(f"/cluster/v1/{path}", headers=auth)
            assert reply.status in (400, 403, 404), (path, reply)
    assert besieged.daemon.metric("spegel_gossip_served_total", answer="denied") >= 8


@pytest.mark.timed
def test_a_snapshot_that_never_ends_is_refused_at_its_head(site):
    """The one whom a daemon bootstraps from sends without end, saying a length beyond the cap or
    none: nothing of it is kept, and the daemon is ready all the same, without a view."""
    host = site.add_host(f"seed{len(site.nodes)}")
    node = site.add_node(start=False, daemon_args=["--cluster-label", LABEL])
    node.daemon.peers = [f"{host.ip}:{SEED_PORT}"]
    evil = host.popen([HOSTILE, "--to", f"{node.ip}:5001", "--from", host.ip, "--port", SEED_PORT,
                       "--label", LABEL, "endless-snapshot"], stdout=subprocess.PIPE)
    node.daemon.launch()
    most, deadline = 0, time.monotonic() + 30
    while not node.daemon.ready():
        most = max(most, kib(node))
        assert time.monotonic() < deadline, "it fails open"
        time.sleep(0.01)
    served = json.loads(evil.communicate()[0].splitlines()[0])
    print(f"{served}, at most {most // 1024} MiB, then {kib(node)} KiB")
    assert served["requests"] >= 2
    assert node.daemon.metric(FETCHES_TOO_LARGE) >= 2
    if not untimed():
        assert most <= 8 * 1024
        assert kib(node) <= 4 * 1024
    node.daemon.stop()
