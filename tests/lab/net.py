"""Network namespaces on a bridge: the lab's wires.

    hub namespace:   bridge br0 ── port n0 ── port n1 ── port upstream …
                                    │          │          │
    host namespaces:               eth0       eth0       eth0

The bridge lives in a namespace of its own, so nothing of the lab is visible from, or routed to,
the machine's own network; any number of labs can use the same addresses at once.
"""

import atexit
import contextlib
import ctypes
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile

from . import sweep

CLONE_NEWNET = 0x40000000
SUBNET_V4 = "10.77.0."
SUBNET_V6 = "fd77::"

_libc = ctypes.CDLL(None, use_errno=True)
_counter = itertools.count()


class LabError(Exception):
    """Something the lab needs did not work; the message says what."""


def run(argv, check=True, **kwargs):
    """Runs a command to its end, output captured as text. Raises LabError with its output."""
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.STDOUT)
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    argv = [str(a) for a in argv]
    done = subprocess.run(argv, text=True, errors="replace", check=False, **kwargs)
    if check and done.returncode != 0:
        output = (done.stdout or "") + (done.stderr or "")
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {output.strip()}")
    return done


def why_unavailable():
    """None when labs can be made here, else a one-line reason."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "tc", "iptables", "nsenter", "unshare"):
        if not any(os.access(os.path.join(d, tool), os.X_OK) for d in _tool_path().split(":")):
            return f"{tool} is not installed"
    name = f"spl{os.getpid()}t{next(_counter)}-probe"
    made = run(["ip", "netns", "add", name], check=False)
    if made.returncode != 0:
        return f"network namespaces cannot be made: {made.stdout.strip()}"
    run(["ip", "netns", "del", name], check=False)
    return None


def _tool_path():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Link:
    """The cable between a host and the bridge. "Sent" is what the host sent, "received" what
    arrived at it."""

    def __init__(self, net, host):
        self._net, self._host, self._port = net, host, host.name
        self._cut = None

    def _hub(self, *args, **kwargs):
        return run(["ip", "-n", self._net.hub, *args], **kwargs)

    def counters(self):
        """(sent_bytes, received_bytes) since the host was made, frame headers included."""
        out = self._hub("-s", "-j", "link", "show", "dev", self._port)
        stats = json.loads(out.stdout)[0]["stats64"]
        return stats["rx"]["bytes"], stats["tx"]["bytes"]

    def sent_bytes(self):
        return self.counters()[0]

    def received_bytes(self):
        return self.counters()[1]

    def cut(self, silent=True):
        """Cuts the cable. Silent: frames vanish in the switch and the host notices nothing, the
        worst kind. Not silent: the host's interface loses its carrier, as when unplugged."""
        if self._cut:
            return
        self._cut = "silent" if silent else "unplugged"
        if silent:
            self._hub("link", "set", "dev", self._port, "nomaster")
        else:
            self._hub("link", "set", "dev", self._port, "down")

    def restore(self):
        if self._cut == "silent":
            self._hub("link", "set", "dev", self._port, "master", "br0")
        elif self._cut == "unplugged":
            self._hub("link", "set", "dev", self._port, "up")
        self._cut = None

    def shape(self, rate_mbit):
        """Limits both directions to rate_mbit (10^6 bit/s); None lifts the limit."""
        ends = ((self._host.ns, "eth0"), (self._net.hub, self._port))
        for ns, dev in ends:
            if rate_mbit is None:
                run(["tc", "-n", ns, "qdisc", "del", "dev", dev, "root"], check=False)
                continue
            # The bucket holds one full offloaded packet (64 kB) or 2 ms, so that a transfer's wire
            # time is size / rate from the first megabyte on.
            burst = max(65536, int(rate_mbit * 1e6 / 8 * 0.002))
            run(["tc", "-n", ns, "qdisc", "replace", "dev", dev, "root", "tbf", "rate",
                 f"{rate_mbit}mbit", "burst", str(burst), "latency", "50ms"])

    def lose(self, probability, protocol="all"):
        """Drops that share of the packets arriving at the host, e.g. of protocol "udp"; 0 ends
        it."""
        for tool in ("iptables", "ip6tables"):
            self._host.run([tool, "-F", "INPUT"])
            if probability > 0:
                self._host.run([tool, "-A", "INPUT", "!", "-i", "lo", "-p", protocol,
                                "-m", "statistic", "--mode", "random",
                                "--probability", str(probability), "-j", "DROP"])


class Host:
    """A network namespace with one cable to the bridge."""

    def __init__(self, net, name, number):
        self.net, self.name = net, name
        self.ns = f"{net.prefix}-{name}"
        self.ip = f"{SUBNET_V4}{number}"
        self.ip6 = f"{SUBNET_V6}{number:x}"
        self.link = Link(net, self)
        self.run_dir = net.make_dir(f"{name}.run")

    def argv(self, argv):
        """The command line that runs argv in this namespace, under the same process id, with the
        lab's names in /etc/hosts and a /run that goes with the lab."""
        # Not `ip netns exec`: it mounts a new /sys, and runc then finds no cgroups there.
        return ["nsenter", f"--net={sweep.NETNS_DIR}/{self.ns}", "unshare", "--mount", "sh", "-c",
                'mount --bind "$0" /etc/hosts && mount --bind "$1" /run && shift && exec "$@"',
                self.net.hosts_file, self.run_dir, *map(str, argv)]

    def run(self, argv, **kwargs):
        """Runs a command here to its end; see run()."""
        return run(self.argv(argv), **kwargs)

    def popen(self, argv, **kwargs):
        """Starts a command here. The pid is the command's own; it dies with the lab."""
        return subprocess.Popen(self.argv(argv), **kwargs)

    @contextlib.contextmanager
    def inside(self):
        """Within it, sockets that the calling thread makes belong to this namespace, for good.
        (Names are not resolved with the lab's /etc/hosts here: use addresses.)"""
        with open("/proc/thread-self/ns/net", "rb") as before, \
                open(os.path.join(sweep.NETNS_DIR, self.ns), "rb") as here:
            _setns(here.fileno())
            try:
                yield self
            finally:
                _setns(before.fileno())


class Net:
    """A bridge and the hosts on it. Close it, or use it as a context manager; it is also closed
    when the process ends in any way."""

    def __init__(self):
        reason = why_unavailable()
        if reason:
            raise LabError(reason)
        self.prefix = f"spl{os.getpid()}x{next(_counter)}"
        self.hub = f"{self.prefix}-hub"
        self.directory = tempfile.mkdtemp(prefix=f"{self.prefix}-",
                                          dir=os.environ.get("SPEGEL_LAB_DIR") or None)
        self.hosts_file = os.path.join(self.directory, "hosts")
        self.hosts = {}
        self._aliases = {}
        self._closed = False
        self._janitor = sweep.start_janitor(self.prefix, self.directory)
        atexit.register(self.close)
        _end_on_signals()
        try:
            self._make_hub()
        except BaseException:
            self.close()
            raise

    def _make_hub(self):
        self._write_hosts()
        run(["ip", "netns", "add", self.hub])
        run(["ip", "-n", self.hub, "link", "add", "br0", "type", "bridge"])
        run(["ip", "-n", self.hub, "link", "set", "br0", "up"])

    def add_host(self, name, rate_mbit=None, number=None):
        """Makes a host with addresses 10.77.0.<number> and fd77::<number>, known to all others as
        <name>.lab."""
        if name in self.hosts or name == "hub" or len(name) > 15:
            raise LabError(f"host name {name!r} is taken or too long")
        if number is None:
            number = max([9] + [int(h.ip.rpartition(".")[2]) for h in self.hosts.values()]) + 1
        host = Host(self, name, number)
        self.hosts[name] = host
        run(["ip", "netns", "add", host.ns])
        run(["ip", "link", "add", "name", name, "netns", self.hub, "type", "veth",
             "peer", "name", "eth0", "netns", host.ns])
        batch = "\n".join(["link set lo up", f"addr add {host.ip}/24 dev eth0",
                           f"addr add {host.ip6}/64 dev eth0 nodad", "link set eth0 up", ""])
        run(["ip", "-n", host.ns, "-batch", "-"], stdin=None, input=batch)
        batch = f"link set dev {name} master br0\nlink set dev {name} up\n"
        run(["ip", "-n", self.hub, "-batch", "-"], stdin=None, input=batch)
        if rate_mbit is not None:
            host.link.shape(rate_mbit)
        self._write_hosts()
        return host

    def remove_host(self, host):
        """Ends all that runs on a host and takes it away, as when a machine is lost for good."""
        del self.hosts[host.name]
        sweep.sweep_namespace(host.ns)
        self._write_hosts()

    def alias(self, name, host):
        """Makes host known to all under one more name."""
        self._aliases[name] = host
        self._write_hosts()

    def _write_hosts(self):
        # Rewritten in place: running processes have this very file mounted over /etc/hosts.
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        names = [(f"{h.name}.lab", h) for h in self.hosts.values()] + list(self._aliases.items())
        for name, host in names:
            lines.append(f"{host.ip} {name}")
        with open(self.hosts_file, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")

    def make_dir(self, name):
        """A fresh directory that goes with the lab."""
        path = os.path.join(self.directory, name)
        os.makedirs(path)
        return path

    def close(self):
        """Ends every process, deletes every namespace and file. Idempotent."""
        if self._closed:
            return
        sweep.sweep(self.prefix, None if os.environ.get("SPEGEL_LAB_KEEP") else self.directory)
        self._closed = True
        if os.environ.get("SPEGEL_LAB_KEEP"):
            self._janitor.kill()  # it would remove the files that were asked for
        self._janitor.stdin.close()
        self._janitor.wait()
        atexit.unregister(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _end_on_signals():
    """Lets SIGTERM and SIGHUP unwind the stack as Ctrl-C does, unless someone handles them."""

    def end(number, _frame):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # not the main thread: its handlers stand
            if signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, end)
