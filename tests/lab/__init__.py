"""The lab: network namespaces, real containerds, a real registry, and spegel daemons.

    with lab.Lab(nodes=3, upstream_mbit=100, node_mbit=400) as l:
        reference = l.upstream.push(lab.images.image(), "app:v1")
        l.nodes[0].pull(reference)

README.md beside this file lists what there is.
"""

import os
import shutil
import time

from . import images, net, spegel, versions
from .net import LabError, Net
from .node import Node
from .registry import Registry
from .rpc import RpcError

LOGS = os.path.join(versions.BUILD, "lab", "logs")
LOGS_KEPT = 10

why_unavailable = net.why_unavailable


class Lab:
    """Builds at once; started by `with` or start(). Whatever happens, close() leaves nothing."""

    def __init__(self, nodes=4, upstream=True, daemons=True, containerd=True, binaries=None,
                 node_mbit=None, upstream_mbit=None, mirror=None, daemon_args=(), daemon_env=None,
                 containerd_env=None):
        """nodes: how many at the start. daemons, containerd: whether nodes have them. binaries:
        another containerd, from versions.find(). mirror: whether containerds ask their daemon
        first (None: if there is one)."""
        self._defaults = {"binaries": binaries, "containerd": containerd, "daemon": daemons,
                          "mbit": node_mbit, "daemon_args": daemon_args, "daemon_env": daemon_env,
                          "containerd_env": containerd_env}
        self._mirror = daemons if mirror is None else mirror
        self.net = Net()
        self.nodes, self.registries = [], []
        self.upstream = None
        try:
            if upstream:
                self.upstream = self.add_registry("registry", upstream_mbit)
            for _ in range(nodes):
                self.add_node(start=False)
        except BaseException:
            self.close()
            raise

    def add_registry(self, name, mbit=None):
        """A further upstream, <name>.lab:5000; not started."""
        host = self.net.add_host(name, mbit)
        registry = Registry(host, self.net.make_dir(name), f"{name}.lab")
        self.registries.append(registry)
        for node in self.nodes:
            if node.containerd:
                node.use_mirror(registry, self._mirror)
        return registry

    def add_host(self, name, mbit=None):
        """A host with nothing on it, e.g. for clients of a test's own."""
        return self.net.add_host(name, mbit)

    def add_node(self, start=True, stores=(), **changes):
        """One more node, late: it bootstraps from all that are there. changes override the lab's
        defaults: binaries, containerd, daemon, mbit, daemon_args, daemon_env, containerd_env.
        stores: OCI layouts for its daemon to serve."""
        chosen = {**self._defaults, **changes}
        name = f"n{len(self.nodes)}"
        node = Node(self, self.net.add_host(name, chosen["mbit"]), self.net.make_dir(name),
                    chosen["binaries"], chosen["containerd"], chosen["daemon"], stores,
                    chosen["daemon_args"], chosen["daemon_env"], chosen["containerd_env"])
        self.nodes.append(node)
        if node.containerd:
            for registry in self.registries:
                node.use_mirror(registry, self._mirror and node.daemon is not None)
        if start:
            self._start_all(node.processes)
        return node

    def start(self):
        """Starts, side by side, whatever does not run yet; returns when all is ready."""
        processes = [p for p in self.registries if not p.alive]
        processes += [p for n in self.nodes for p in n.processes if not p.alive]
        self._start_all(processes)
        return self

    def _start_all(self, processes):
        routers = [n.router for n in self.nodes if n.daemon]
        for process in processes:
            if isinstance(process, spegel.Spegel) and not process.peers:
                process.peers = routers
            process.launch()
        for process in processes:
            process.wait_ready()

    @property
    def daemons(self):
        return [n.daemon for n in self.nodes if n.daemon]

    def push(self, image, name="app:v1"):
        """Pushes to the upstream; returns the full reference."""
        return self.upstream.push(image, name)

    def settle(self, condition, timeout_s=5.0, what="the lab to settle"):
        """Waits until condition() is true; returns the seconds it took."""
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > timeout_s:
                raise LabError(f"waited {timeout_s:g} s for {what}")
            time.sleep(0.02)
        return time.monotonic() - begun

    def close(self):
        """Ends everything at once, by force. Idempotent."""
        for node in self.nodes:
            if node.containerd:
                node.containerd.forget()
        self.net.close()

    def _save_logs(self):
        """Keeps the logs of a run that went wrong: build/lab/logs/<lab>/."""
        target = os.path.join(LOGS, os.path.basename(self.net.directory))
        for process in [*self.registries, *(p for n in self.nodes for p in n.processes)]:
            if os.path.exists(process.log_path):
                os.makedirs(target, exist_ok=True)
                shutil.copy(process.log_path,
                            os.path.join(target, f"{process.host.name}-{process.name}.log"))
        for old in sorted(os.scandir(LOGS), key=lambda e: e.stat().st_mtime)[:-LOGS_KEPT]:
            shutil.rmtree(old.path, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self._save_logs_quietly()
            self.close()
            raise

    def __exit__(self, kind, *_):
        """Ends the daemons with SIGTERM and insists that they end well, unless an exception is on
        its way already; then takes everything down."""
        try:
            if kind is None:
                spegel.end_all(self.daemons)
            elif issubclass(kind, Exception):
                self._save_logs_quietly()
        except LabError:
            self._save_logs_quietly()
            raise
        finally:
            self.close()

    def _save_logs_quietly(self):
        try:
            self._save_logs()
        except OSError:
            pass  # the failure that is being reported matters more
