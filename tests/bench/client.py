"""The clients that ask: drain.c, compiled on first use, and wrk."""

import collections
import os
import re
import statistics

from lab.net import LabError, run
from lab.versions import BUILD

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "drain.c")
BINARY = os.path.join(BUILD, "lab", "drain")
KEPT, FRESH, FIRST = "kept", "fresh", "first"

Answer = collections.namedtuple("Answer", "status bytes first_byte_s total_s")


class Drained:
    """What a run of drain brought."""

    def __init__(self, output):
        *lines, wall = output.split("\n")[:-1]
        self.answers = [Answer(int(s), int(b), int(f) / 1e6, int(t) / 1e6)
                        for s, b, f, t in (line.split() for line in lines)]
        self.wall_s = int(wall.split()[1]) / 1e6

    @property
    def gigabytes(self):
        return sum(a.bytes for a in self.answers) / 1e9

    @property
    def first_byte_s(self):
        return statistics.median(a.first_byte_s for a in self.answers)

    @property
    def total_s(self):
        return statistics.median(a.total_s for a in self.answers)

    def expect(self, status, size_bytes=None):
        for answer in self.answers:
            if answer.status != status or size_bytes not in (None, answer.bytes):
                raise LabError(f"expected {status} with {size_bytes} bytes, got {answer}")
        return self


def build():
    """Compiles drain if need be."""
    if not os.path.exists(BINARY) or os.path.getmtime(BINARY) < os.path.getmtime(SOURCE):
        os.makedirs(os.path.dirname(BINARY), exist_ok=True)
        run(["cc", "-O2", "-D_GNU_SOURCE", "-pthread", "-o", BINARY, SOURCE])


def drain_argv(address, port, targets, connections=1, requests=1, kind=KEPT):
    return [BINARY, address, port, connections, requests, kind, *targets]


def drain(host, *args, **kwargs):
    """Runs drain on host to its end; arguments are those of drain_argv."""
    return Drained(host.run(drain_argv(*args, **kwargs), timeout=300).stdout)


def wrk(host, url, connections=32, seconds=2):
    """Requests a second, all answered 200."""
    out = host.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url]).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise LabError(out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
