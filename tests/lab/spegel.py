"""The program under test: `spegel registry` on a host."""

import os
import re
import warnings

from . import web
from .net import LabError
from .process import Process
from .versions import BUILD

REGISTRY_PORT, ROUTER_PORT, METRICS_PORT = 5000, 5001, 9090
EXIT_TIMEOUT_S = 15.0

# What a daemon never says while it is well: sanitizer reports, and CHECK() of lib/base.
_CRASH = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|CHECK\(.*\) failed")


def binary():
    """The program to run: $SPEGEL, or the one in the build folder."""
    return os.environ.get("SPEGEL") or os.path.join(BUILD, "spegel")


def sanitized():
    """Whether the program to run carries a sanitizer."""
    with open(binary(), "rb") as f:
        return b"__asan_init" in f.read()


def why_missing():
    """None when there is a program to test, else a one-line reason."""
    return None if os.access(binary(), os.X_OK) else f"{binary()} is not built"


class Spegel(Process):
    """One daemon. args come after the lab's own flags and so win over them."""

    def __init__(self, host, directory, containerd_socket=None, stores=(), peers=(), args=(),
                 environment=None):
        super().__init__(host, "spegel", directory)
        self.containerd_socket, self.stores = containerd_socket, list(stores)
        self.peers, self.args = list(peers), list(args)
        self.data_dir = os.path.join(directory, "spegel-data")
        self.url = f"http://{host.ip}:{REGISTRY_PORT}"
        self.metrics_url = f"http://{host.ip}:{METRICS_PORT}/metrics"
        self.environment_extra = environment or {}
        self._asked_to_end = False
        os.makedirs(self.data_dir, exist_ok=True)
        if not containerd_socket and not stores:  # holds nothing, only mirrors
            self.stores = [os.path.join(directory, "empty-store")]
            os.makedirs(self.stores[0], exist_ok=True)

    def command(self):
        argv = [binary(), "registry", "--registry-addr", f":{REGISTRY_PORT}",
                "--router-addr", f":{ROUTER_PORT}", "--metrics-addr", f":{METRICS_PORT}",
                "--data-dir", self.data_dir, "--bootstrap-kind", "static",
                "--static-bootstrap-peers", *(self.peers or [f"{self.host.ip}:{ROUTER_PORT}"])]
        if self.containerd_socket:
            argv += ["--containerd-sock", self.containerd_socket]
        for store in self.stores:
            argv += ["--store", f"oci-layout:{store}"]
        return argv + [str(a) for a in self.args]

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        env.update(self.environment_extra)
        return env

    def launch(self):
        self._asked_to_end = False
        return super().launch()

    def ready(self):
        try:
            return self.get("/readyz", timeout_s=2.0).status == 200
        except OSError:
            return False

    def stop(self, timeout_s=EXIT_TIMEOUT_S):
        self._asked_to_end = True
        try:
            return super().stop(timeout_s)
        except LabError:
            if not self._hangs_in_leak_check():
                raise
            warnings.warn(f"LeakSanitizer hangs in spegel on {self.host.name}, leaks unknown")
            self.kill()
            return 0

    def _hangs_in_leak_check(self):
        """LeakSanitizer stops all threads with ptrace once the program is over. One exit in
        hundreds, on a busy machine, a thread never stops and it waits for ever, or the process
        that stops them is gone and the main thread spins."""
        if '"msg":"ended"' not in self.log_tail(1) or not sanitized():
            return False
        threads = self.threads()
        return "ptrace_stop" in threads or " R running" in threads

    def kill(self):
        self._asked_to_end = True
        super().kill()

    def get(self, path, method="GET", headers=None, body=None, timeout_s=10.0):
        """A request from this host to its own daemon."""
        return web.request(self.host, self.url + path, method, headers, body, timeout_s)

    def metrics(self):
        """{'name{label="value"}': number} of its metrics page."""
        page = web.request(self.host, self.metrics_url).body.decode()
        found = {}
        for line in page.splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def metric(self, name, **labels):
        """The sum over all series of a metric that carry these labels; 0 if there is none."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(value for key, value in self.metrics().items()
                   if key.partition("{")[0] == name and all(w in key for w in wanted))

    def complaint(self):
        """None, or why this daemon's life so far was not a healthy one."""
        crash = _CRASH.search(self.log())
        if crash:
            return f"spegel on {self.host.name}: {crash.group(0)}\n{self.log_tail(60)}"
        if self.returncode is not None and not self._asked_to_end:
            return (f"spegel on {self.host.name} ended by itself with {self.returncode}\n"
                    f"{self.log_tail()}")
        return None


def end_all(daemons):
    """SIGTERM to all, then waits; raises LabError if one was unwell before or ends badly."""
    complaints = [c for c in (d.complaint() for d in daemons) if c]
    running = [d for d in daemons if d.alive]
    for daemon in running:
        daemon.thaw()
        daemon.signal(15)
    for daemon in running:
        try:
            code = daemon.stop()
        except LabError as e:
            complaints.append(str(e))
            continue
        if code != 0:
            complaints.append(f"spegel on {daemon.host.name} ended with {code} on SIGTERM\n"
                              f"{daemon.log_tail(60)}")
        elif daemon.complaint():
            complaints.append(daemon.complaint())
    if complaints:
        raise LabError("\n".join(complaints))
