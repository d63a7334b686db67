"""Memory, and how late the loop runs."""

import statistics
import subprocess
import time

from lab.net import LabError
from lab.spegel import REGISTRY_PORT

from . import client
from .row import against_limit, progress
from .stage import MANY

ROUNDS_OF_BLOBS = 8  # so that all 64 are under way long enough to be looked at
COLD_MIN_BEATS = 200  # 4 s
LOOP_DELAY = "spegel_loop_delay_seconds"


def idle(stage, _rounds):
    progress("idle memory")
    time.sleep(2)
    whole, private = zip(*[_memory_mb(d) for d in (stage.a, stage.b, stage.c)])
    return [against_limit("idle-private", "idle: private memory (RssAnon)", [max(private)], "MB",
                          4),
            against_limit("idle-rss", "idle: RSS", [max(whole)], "MB", 14)]


def _memory_mb(daemon):
    """(RSS, RssAnon), MB being 2^20 bytes here."""
    return daemon.memory_bytes("VmRSS") / 2**20, daemon.memory_bytes("RssAnon") / 2**20


def busy(stage, rounds):
    progress(f"memory while {MANY} blobs are served and {MANY} relayed")
    peaks = [_busy_peaks(stage) for _ in range(rounds)]
    whole, private = ([p[i] for p in peaks] for i in (0, 1))
    return [against_limit("busy-private", "32 served and 32 relayed: private memory", private,
                          "MB", 12),
            against_limit("busy-rss", "32 served and 32 relayed: RSS", whole, "MB", 22)]


def _busy_peaks(stage):
    """The highest (RSS, RssAnon) in MB while b serves its blobs and relays a's, all at once."""
    b = stage.b
    clients = [stage.client.popen(
        client.drain_argv(b.host.ip, REGISTRY_PORT, layout.blob_paths, connections=MANY,
                          requests=ROUNDS_OF_BLOBS), stdout=subprocess.PIPE, text=True)
        for layout in (stage.of_b, stage.of_a)]
    samples, streams = [], 0
    while all(c.poll() is None for c in clients):
        samples.append(_memory_mb(b))
        if len(samples) % 20 == 10:
            streams = max(streams, b.metric("spegel_http_streams"))
        time.sleep(0.005)
    for c in clients:
        output = c.communicate()[0]
        if c.returncode != 0:
            raise LabError(f"drain ended with {c.returncode}")
        client.Drained(output).expect(200)
    if streams < 2 * MANY * 0.9:
        raise LabError(f"only {streams:g} streams were under way at once")
    return max(s[0] for s in samples), max(s[1] for s in samples)


def _beats(daemon):
    """{upper bound in ms: heartbeats so far that were at most so late}"""
    found = {}
    for name, value in daemon.metrics().items():
        if name.startswith(LOOP_DELAY + "_bucket"):
            bound = name.partition('le="')[2].partition('"')[0]
            found[float(bound) * 1000] = value
    return found


def _p99_ms(before, after):
    """The bucket's bound below which 99 of 100 beats lie: never flatters."""
    beats = {bound: after[bound] - before[bound] for bound in after}
    return min(bound for bound, n in beats.items() if n >= 0.99 * beats[float("inf")])


def cold(stage, rounds):
    progress("cold files")
    rounds_ms = [_cold_round(stage) for _ in range(rounds)]
    row = against_limit("cold-loop-delay", "cold files served: loop delay, p99",
                        [r[0] for r in rounds_ms], "ms", 5)
    row.what += f" (idle node: {statistics.median(r[1] for r in rounds_ms):g})"
    return [row]


def _cold_round(stage):
    """(p99 in ms of the daemon that serves, of one that idles meanwhile: the machine's own part)"""
    before = {d: _beats(d) for d in (stage.a, stage.c)}
    beats = 0
    while beats < COLD_MIN_BEATS:
        stage.of_a.cool()
        stage.from_daemon(stage.a, stage.of_a.blob_paths, connections=MANY).expect(200)
        after = {d: _beats(d) for d in before}
        beats = after[stage.a][float("inf")] - before[stage.a][float("inf")]
    return tuple(_p99_ms(before[d], after[d]) for d in (stage.a, stage.c))
