"""A rollout: many nodes pull at once. Who got what when, what left upstream, who leads, who
arbitrates."""

import hashlib
import json
import re
import threading
import time

from . import rpc, web
from .net import LabError

MASK = (1 << 64) - 1
RETRY_S = 1.0
# The end of an access log line: "GET /path HTTP/1.1" 200 1234 "" "user agent"
_ACCESS = re.compile(r'"(GET|HEAD) (\S+) HTTP/[\d.]+" (\d+) (\d+) ')


class Pull(threading.Thread):
    """A CRI pull on one node, tried again after a failure as the kubelet does: seconds for all of
    it, how many tries, and error, an RpcError, if the last one failed, once it is over."""

    def __init__(self, node, reference, timeout_s, attempts=1):
        super().__init__(daemon=True)
        self.node, self.reference, self._timeout_s = node, reference, timeout_s
        self._attempts = attempts
        self.seconds = self.error = None
        self.tries, self.errors = 0, []

    def run(self):
        begun = time.monotonic()
        while self.tries < self._attempts:
            self.tries += 1
            try:
                self.node.containerd.cri.pull(self.reference, self._timeout_s)
                self.error = None
                break
            except rpc.RpcError as e:
                self.error = e
                self.errors.append(e)
            if not self.node.containerd.alive:
                break
            self._wait_tidy()
        self.seconds = time.monotonic() - begun

    def _wait_tidy(self):
        """What came before the failure is thrown away soon after it, and a try at once would find
        it. The kubelet comes after 10 s; a test has less time."""
        time.sleep(RETRY_S)
        deadline = time.monotonic() + 5
        try:
            while self.node.containerd.services.ingests() and time.monotonic() < deadline:
                time.sleep(0.05)
        except rpc.RpcError:
            pass  # it was killed


class Crowd:
    """Pulls that begin together: (node, reference) of each. finish() waits for all of them."""

    def __init__(self, pulls, timeout_s=60.0, attempts=1):
        self.pulls, self._timeout_s, self._attempts = [], timeout_s, attempts
        self.add(pulls)

    def add(self, pulls):
        """More of them, now."""
        new = [Pull(node, reference, self._timeout_s, self._attempts) for node, reference in pulls]
        self.pulls += new
        for pull in new:
            pull.start()

    def finish(self):
        for pull in self.pulls:
            pull.join()
        return self

    @property
    def running(self):
        return any(pull.is_alive() for pull in self.pulls)

    @property
    def last_s(self):
        """Seconds of the one that took longest."""
        return max(pull.seconds for pull in self.pulls)

    @property
    def errors(self):
        return [pull.error for pull in self.pulls if pull.error]


def together(nodes, reference, timeout_s=60.0):
    """All nodes pull the same image at once; a Crowd that still runs."""
    return Crowd([(node, reference) for node in nodes], timeout_s)


class Outflow:
    """What a registry has sent since this was made. Its access log counts the bytes of bodies,
    exactly, but of a request only when it is over; its cable counts all frames with their heads."""

    def __init__(self, registry):
        self._registry = registry
        self._log_chars = len(registry.log())
        self._link_bytes = registry.link.sent_bytes()

    @property
    def link_bytes(self):
        return self._registry.link.sent_bytes() - self._link_bytes

    def answers(self):
        """[(method, path, status, bytes of the body)]"""
        found = _ACCESS.finditer(self._registry.log()[self._log_chars:])
        return [(m[1], m[2], int(m[3]), int(m[4])) for m in found]

    @property
    def body_bytes(self):
        return sum(size for method, _, _, size in self.answers() if method == "GET")

    def of(self, digest):
        """Bytes of one blob's or manifest's bodies."""
        return sum(size for method, path, _, size in self.answers()
                   if method == "GET" and path.rpartition("/")[2].startswith(digest))


# --- /debug/swarm, /debug/cluster ---

def debug(node, page):
    """A JSON page of the metrics port, e.g. "swarm"."""
    url = node.daemon.metrics_url.replace("/metrics", "/debug/" + page)
    return json.loads(web.request(node.host, url, timeout_s=2.0).body)


def flights(node):
    """{digest: flight} of what this node's containerd downloads."""
    return {flight["digest"]: flight for flight in debug(node, "swarm")["flights"]}


def node_ids(nodes):
    """{node: its id, a number}"""
    return {node: int(debug(node, "cluster")["id"], 16) for node in nodes}


def feeder(nodes, digest):
    """A follower that feeds others meanwhile; None if there is none."""
    for node in nodes:
        flight = flights(node).get(digest)
        if flight and int(flight["parent"], 16) != 0 and flight["children"] > 0:
            return node
    return None


def _mix(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def arbiters(ids, digest):
    """The nodes in rendezvous order (lib/gossip/swarm_flight.c) for a digest; ids: node_ids()."""
    key = int(digest.partition(":")[2][:16], 16) & (MASK >> 1)
    return sorted(ids, key=lambda node: _mix(key ^ _mix(ids[node])), reverse=True)


# --- content ---

def wrong_blobs(node, image):
    """Digests of the image that this node's containerd lacks, or has with other bytes."""
    wrong = []
    for digest in image.digests:
        hasher = hashlib.sha256()
        try:
            with open(node.containerd.blob_path(digest), "rb") as f:
                while chunk := f.read(1 << 20):
                    hasher.update(chunk)
        except FileNotFoundError:
            pass
        if hasher.hexdigest() != digest.partition(":")[2]:
            wrong.append(digest)
    return wrong


def forget(opened, references, nodes=None, timeout_s=10.0):
    """Removes images everywhere and waits until every daemon knows that nobody holds anything."""
    nodes = nodes or opened.nodes
    for node in nodes:
        for reference in references:
            if node.containerd.cri.image(reference):
                node.remove(reference)

    def remembered():
        """What some daemon still believes to be there."""
        return {n.name: left for n in nodes if n.daemon.alive and any(left := (
            n.daemon.metric("spegel_gossip_index_entries"),
            n.daemon.metric("spegel_held_blobs"), flights(n)))}

    try:
        opened.settle(lambda: not remembered(), timeout_s)
    except LabError:
        raise LabError(f"after {timeout_s:g} s remembered: (index entries, blobs, flights) "
                       f"{remembered()}") from None
