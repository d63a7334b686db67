"""Sixteen real daemons in namespaces, OCI layouts for stores: announcements, kills, freezes,
partitions, with and without loss of datagrams. tests/sim/daemons.c does the same with cores alone."""

import contextlib
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import lab  # noqa: E402
from layouts import Layout  # noqa: E402
from lab.spegel import METRICS_PORT, REGISTRY_PORT  # noqa: E402

from . import watch  # noqa: E402

NODES = 16
FROZEN_S, CUT_S = 2.0, 8
DEATHS = "spegel_gossip_deaths_total"
SETTLED_S = 8.0
ASK_EVERY_S = 0.01
LOOK_EVERY_S = 0.04
DEBUG = "/debug/cluster"


class Missed(Exception):
    """Something did not happen within its time, however generous; the message says what."""


class Cluster:
    """The daemons. Times are in milliseconds, one list for each kind of thing that was measured."""

    def __init__(self, directory, nodes=NODES, seed=7):
        self._random = random.Random(seed)
        self.lab = lab.Lab(nodes=0, upstream=False, containerd=False)
        self.layouts = []
        for number in range(nodes):
            layout = Layout(os.path.join(directory, f"store{number}"))
            layout.image(f"example.com/first{number}:v1", [self._random.randbytes(100)])
            self.layouts.append(layout)
            self.lab.add_node(start=False, stores=[layout.directory])
        self.nodes = self.lab.nodes
        self.ids = []
        self._unjust = self._deaths = 0
        self._named = 0

    def __enter__(self):
        self.lab.__enter__()
        try:
            self._wait_complete(30)
            self.ids = [json.loads(self._debug(n))["id"] for n in self.nodes]
        except BaseException:
            self.lab.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, *what):
        return self.lab.__exit__(*what)

    # --- looking ---

    def _debug(self, node):
        return lab.web.request(node.host, f"http://127.0.0.1:{METRICS_PORT}{DEBUG}").body

    def metric(self, name, **labels):
        """Of all daemons that run together."""
        return sum(n.daemon.metric(name, **labels) for n in self.nodes if n.daemon.alive)

    @property
    def unjust_deaths(self):
        """How often one was declared dead that was neither killed nor cut off."""
        return self._unjust + self.metric(DEATHS) - self._deaths

    @contextlib.contextmanager
    def _deaths_are_just(self):
        self._unjust = self.unjust_deaths
        yield
        self._deaths = self.metric(DEATHS)

    def _look_until(self, nodes, is_done, timeout_s, what):
        """{node: time at which is_done(node, its view)}; Missed if one is not in time."""
        done = watch.ask_until(nodes, METRICS_PORT, "GET", DEBUG, LOOK_EVERY_S,
                               lambda node, status, body: status == 200 and
                               is_done(node, watch.view(body)), timeout_s)
        if len(done) < len(nodes):
            late = ", ".join(n.name for n in nodes if n not in done)
            raise Missed(f"{what}: not within {timeout_s:g} s at {late}")
        return done

    def _is_complete(self, _, view):
        return sum(m["selectable"] for m in view.values()) == len(self.nodes) - 1

    def _wait_complete(self, timeout_s, what="all know each other"):
        """Until every view is complete; returns when the last one was."""
        return max(self._look_until(self.nodes, self._is_complete, timeout_s, what).values())

    def _keys_known(self, number):
        """Of a node, in its half: one of the others may not have heard the latest yet."""
        views = [watch.view(self._debug(n)) for n in self.nodes[number % 2::2]]
        return max(v[self.ids[number]]["keys"] for v in views if self.ids[number] in v)

    # --- doing ---

    def lose(self, probability):
        """Datagrams only, each where it arrives."""
        for node in self.nodes:
            node.host.run(["iptables", "-F", "INPUT"])
            if probability > 0:
                node.host.run(["iptables", "-A", "INPUT", "-i", "eth0", "-p", "udp", "-m",
                               "statistic", "--mode", "random", "--probability", probability,
                               "-j", "DROP"])

    def _halve(self):
        """Even and odd addresses hear nothing of each other for CUT_S; returns when that ends, in
        time.monotonic(). The rules know by themselves when they hold: those of all nodes begin and
        end at the same moment, a whole second, however long it takes to set them."""
        start = int(time.time()) + 2
        moments = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
                   for at in (start, start + CUT_S - 1)]  # the second that is named last counts
        for node in self.nodes:
            other = 1 - int(node.ip.rpartition(".")[2]) % 2
            node.host.run(["iptables", "-I", "INPUT", "-i", "eth0", "-s", f"0.0.0.{other}/0.0.0.1",
                           "-m", "time", "--datestart", moments[0], "--datestop", moments[1],
                           "-j", "DROP"])
        return time.monotonic() + start + CUT_S - time.time()

    def _add_image(self, node):
        """One more image on a node; returns the path of its layer at any daemon."""
        self._named += 1
        layout = self.layouts[self.nodes.index(node)]
        _, manifest = layout.image(f"example.com/new{self._named}:v1",
                                   [self._random.randbytes(200)], seed=self._named)
        return f"/v2/new{self._named}/blobs/{manifest['layers'][0]['digest']}?ns=example.com"

    def _wait_found(self, nodes, path, timeout_s):
        done = watch.ask_until(nodes, REGISTRY_PORT, "HEAD", path, ASK_EVERY_S,
                               lambda _node, status, _body: status == 200, timeout_s)
        if len(done) < len(nodes):
            late = ", ".join(n.name for n in nodes if n not in done)
            raise Missed(f"an announcement: not within {timeout_s:g} s at {late}")
        return done

    # --- measuring ---

    def announce(self, times):
        """From the moment its owner serves a new blob until others do, by way of the owner."""
        visible, noticed = [], []
        for _ in range(times):
            owner = self._random.choice(self.nodes)
            begun = time.monotonic()
            path = self._add_image(owner)
            found = self._wait_found(self.nodes, path, 15)
            noticed.append(1000 * (found[owner] - begun))
            visible += [1000 * max(0.0, found[n] - found[owner])
                        for n in self.nodes if n is not owner]
            time.sleep(self._random.random() * 0.7)
        return {"visible": visible, "noticed by its owner": noticed}

    def kill(self, times):
        """SIGKILL until nobody would choose it; then from its start until it is ready."""
        excluded, joined = [], []
        for number in [n % len(self.nodes) for n in range(times)]:
            time.sleep(self._random.random() * 0.7)
            node, its_id = self.nodes[number], self.ids[number]
            others = [n for n in self.nodes if n is not node]
            with self._deaths_are_just():
                begun = time.monotonic()
                node.daemon.kill()
                gone = self._look_until(
                    others, lambda _, view, i=its_id: not view.get(i, {}).get("selectable"), 20,
                    f"{node.name} was killed")
                excluded += [1000 * (at - begun) for at in gone.values()]
                begun = time.monotonic()
                node.daemon.start()
                joined.append(1000 * (time.monotonic() - begun))
                self._wait_complete(30, f"{node.name} is back")
            time.sleep(1)
        return {"excluded": excluded, "joined": joined}

    def freeze(self, times):
        """SIGSTOP for 2 s; from SIGCONT until every view is complete. Nobody may be declared dead,
        though everybody no longer chooses it by then: at how many of the others, on average, that
        was so is `out`."""
        back, out = [], []
        deaths = self.metric(DEATHS)
        for number in [n % len(self.nodes) for n in range(times)]:
            time.sleep(self._random.random() * 0.7)
            node = self.nodes[number]
            node.daemon.freeze()
            ends = time.monotonic() + FROZEN_S
            time.sleep(FROZEN_S - 0.4)
            views = [watch.view(self._debug(n)) for n in self.nodes if n is not node]
            out.append(sum(not v[self.ids[number]]["selectable"] for v in views))
            time.sleep(max(0.0, ends - time.monotonic()))
            node.daemon.thaw()
            begun = time.monotonic()
            back.append(1000 * max(0.0, self._wait_complete(30, f"{node.name} goes on") - begun))
            time.sleep(1)
        return {"back": back, "out": sum(out) / len(out),
                "deaths": self.metric(DEATHS) - deaths}

    def cut(self, times):
        """Two halves; from the end of it until every view is complete and has what the other half
        announced meanwhile."""
        healed = []
        for _ in range(times):
            with self._deaths_are_just():
                ends = self._halve()
                time.sleep(max(0.0, ends - CUT_S / 2 - time.monotonic()))
                self._add_image(self.nodes[0])
                self._add_image(self.nodes[1])
                time.sleep(max(0.0, ends - 1 - time.monotonic()))
                wanted = {self.ids[i]: self._keys_known(i) for i in (0, 1)}
                time.sleep(max(0.0, ends - time.monotonic()))
                done = self._look_until(
                    self.nodes, lambda node, view, w=wanted: self._is_complete(node, view) and
                    all(view[i]["keys"] == w[i] for i in w if i in view), 60,
                    "two halves, healed")
                healed.append(1000 * (max(done.values()) - ends))
            time.sleep(1)
        return {"healed": healed}

    def settle(self, seconds=SETTLED_S):
        """Every daemon learns how lossy its links are."""
        time.sleep(seconds)
