"""Sixty-four daemons, and containerd's part played (lab/puppet.py): a new image for all of them at
once. What leaves upstream, and what it costs each daemon in CPU and memory.

All of them, their puppets and upstream share this machine's cores, so times say little.
"""

import asyncio
import json
import os
import statistics
import threading
import time

import lab
from lab import puppet, rollout, spegel

from .memory import use_memory
from .row import AT_MOST, Row, against_limit, progress

NODES, LAYERS, IMAGE_BYTES = 64, 4, 8_000_000
UPSTREAM_MBIT = 10
GOAL_UPSTREAM, GOAL_CPU_S, GOAL_MEMORY_MB = 1.05, 1.0, 32
MEGABYTE = 1e6


class Member(spegel.Spegel):
    """A daemon that shares its host with others: it has an address of its own there."""

    def __init__(self, host, ip, directory, socket_path):
        super().__init__(host, directory, containerd_socket=socket_path)
        self.router = f"{ip}:{spegel.ROUTER_PORT}"
        self.url = f"http://{ip}:{spegel.REGISTRY_PORT}"
        self.metrics_url = f"http://{ip}:{spegel.METRICS_PORT}/metrics"
        self.args = ["--registry-addr", f"{ip}:{spegel.REGISTRY_PORT}", "--router-addr",
                     self.router, "--metrics-addr", f"{ip}:{spegel.METRICS_PORT}"]


class Cluster:
    """Puppets and their daemons. All daemons are on one host (sixty-four hosts would have more
    neighbours in all than the kernel's table has room for); the puppets live in a thread with a
    loop of its own."""

    def __init__(self, nodes):
        self.lab = lab.Lab(nodes=0, upstream_mbit=UPSTREAM_MBIT)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        host = self.lab.add_host("many")
        self.puppets, self.daemons = [], []
        for number in range(1, nodes + 1):
            ip, directory = f"10.78.0.{number}", self.lab.net.make_dir(f"d{number}")
            host.run(["ip", "addr", "add", f"{ip}/32", "dev", "lo"])
            self.puppets.append(puppet.Puppet(host, directory, self.lab.upstream, ip))
            self.daemons.append(Member(host, ip, directory, self.puppets[-1].socket))

    def run(self, coroutine, timeout_s=120):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    async def _all(self, coroutines):
        return await asyncio.gather(*coroutines)

    def all(self, coroutines):
        return self.run(self._all(coroutines))

    def __enter__(self):
        self.all([one.serve() for one in self.puppets])
        self.lab.__enter__()
        for daemon in self.daemons:
            daemon.peers = [other.router for other in self.daemons]
            daemon.launch()
        for daemon in self.daemons:
            daemon.wait_ready()
        return self

    def __exit__(self, kind, *rest):
        try:
            if kind is None:
                spegel.end_all(self.daemons)
        finally:
            self.all([one.stop() for one in self.puppets])
            self._loop.call_soon_threadsafe(self._loop.stop)
            self.lab.__exit__(kind, *rest)


async def timed(coroutine):
    begun = time.monotonic()
    await coroutine
    return time.monotonic() - begun


def measure(cluster, image):
    daemons = cluster.daemons
    cluster.lab.settle(lambda: all(d.metric("spegel_gossip_members", state="alive") ==
                                   len(daemons) - 1 for d in daemons), 60, "all to know all")
    cluster.lab.push(image)
    cpu = [d.cpu_seconds() for d in daemons]
    idle = [d.memory_bytes("RssAnon") for d in daemons]
    outflow = rollout.Outflow(cluster.lab.upstream)
    seconds = cluster.all([timed(one.pull("app", "v1")) for one in cluster.puppets])
    pages = [d.metrics() for d in daemons]
    return {"seconds": seconds, "last_s": max(seconds),
            "upstream": outflow.body_bytes / image.size_bytes,
            "cpu_s": [d.cpu_seconds() - before for d, before in zip(daemons, cpu)],
            "idle_bytes": idle,
            "memory_bytes": [d.memory_bytes("RssAnon") for d in daemons],
            "peak_bytes": [d.memory_bytes("VmHWM") for d in daemons],
            "events": {key: sum(page.get(key, 0) for page in pages)
                       for key in pages[0] if key.startswith(("spegel_cold", "spegel_swarm"))}}


def rollout_many(rounds, result_path):
    """Yields rows. Once is enough, and rounds says nothing here: each has a new cluster."""
    del rounds
    use_memory(NODES * IMAGE_BYTES * 2)
    image = lab.images.image(layers=LAYERS,
                             layer_mb=IMAGE_BYTES / LAYERS / lab.images.MEGABYTE)
    progress(f"{NODES} daemons, {IMAGE_BYTES / MEGABYTE:.0f} MB in {LAYERS} layers")
    with Cluster(NODES) as cluster:
        m = measure(cluster, image)
    progress(f"first {min(m['seconds']):.2f} s, last {m['last_s']:.2f} s; alone on its link the "
             f"image takes {image.size_bytes * 8 / UPSTREAM_MBIT / 1e6:.2f} s; CPU of all "
             f"daemons {sum(m['cpu_s']):.1f} s; memory before "
             f"{max(m['idle_bytes']) / MEGABYTE:.1f} MB")
    rows = [
        Row("many-upstream", f"{NODES} daemons: upstream, × image", m["upstream"], 1.0, "×",
            m["upstream"], AT_MOST, GOAL_UPSTREAM),
        against_limit("many-cpu", "CPU of a daemon, median", m["cpu_s"], "s", GOAL_CPU_S),
        against_limit("many-cpu-most", "CPU of a daemon, the busiest", [max(m["cpu_s"])], "s",
                      GOAL_CPU_S),
        against_limit("many-memory", "memory of a daemon, the largest",
                      [max(m["memory_bytes"]) / MEGABYTE], "MB", GOAL_MEMORY_MB),
        against_limit("many-peak", "resident at most, median",
                      [statistics.median(m["peak_bytes"]) / MEGABYTE], "MB", GOAL_MEMORY_MB)]
    with open(result_path, "w", encoding="utf-8") as f:
        json.dump({"nodes": NODES, "image_bytes": image.size_bytes, "cpus": os.cpu_count(),
                   "upstream_mbit": UPSTREAM_MBIT, "rows": [r.as_json() for r in rows],
                   "measured": m}, f, indent=2)
        f.write("\n")
    yield from rows
