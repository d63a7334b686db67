"""Leaves nothing behind, however the lab ends.

Everything a lab makes carries one prefix: its namespaces and control groups are named after it, its
processes run in those namespaces, its files lie in one directory. So cleaning up needs no ledger,
only the prefix and the directory, and can be done twice or by somebody else.

Somebody else is the janitor, a small process that waits for the end of a pipe. When the lab's own
process dies without cleaning up (SIGKILL, a second Ctrl-C), the pipe ends and the janitor sweeps.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

NETNS_DIR = "/run/netns"
KILL_WAIT_S = 5.0


def namespaces(prefix):
    """Names of the network namespaces of the lab with this prefix."""
    if not os.path.isdir(NETNS_DIR):
        return []
    return sorted(n for n in os.listdir(NETNS_DIR) if n.startswith(prefix + "-"))


def _pids_in(name):
    try:
        wanted = os.stat(os.path.join(NETNS_DIR, name))
    except OSError:
        return []
    pids = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            ns = os.stat(f"/proc/{entry}/ns/net")
            with open(f"/proc/{entry}/stat", "rb") as f:
                state = f.read().rpartition(b")")[2].split()[0]
        except OSError:
            continue  # it ended while we looked
        if (ns.st_dev, ns.st_ino) == (wanted.st_dev, wanted.st_ino) and state not in (b"Z", b"X"):
            pids.append(int(entry))
    return pids


def _kill_all(names):
    """Kills what runs in our namespaces, by pid. Processes may start others while we look, so look
    until nobody is left."""
    deadline = time.monotonic() + KILL_WAIT_S
    while True:
        pids = [pid for name in names for pid in _pids_in(name)]
        if not pids or time.monotonic() > deadline:
            return
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)


def cgroup_home():
    """The directory of our own control group in the unified hierarchy; None: it is not mounted."""
    with open("/proc/self/cgroup", encoding="ascii") as f:
        own = [line.rstrip("\n")[3:] for line in f if line.startswith("0::")]
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        mounts = [line.split() for line in f if " - cgroup2 " in line]
    for root, directory in [(m[3], m[4]) for m in mounts if own]:
        if os.path.commonpath([root, own[0]]) == root:
            return os.path.join(directory, os.path.relpath(own[0], root))
    return None


def cgroups(prefix):
    """Directories of the control groups of the lab with this prefix."""
    home = cgroup_home()
    return [os.path.join(home, n) for n in (os.listdir(home) if home else [])
            if n.startswith(prefix + "-")]


def _remove_cgroups(prefix):
    """They stay busy until the last process in them was waited for."""
    deadline = time.monotonic() + KILL_WAIT_S
    for top in cgroups(prefix):
        while os.path.isdir(top) and time.monotonic() < deadline:
            for directory, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)
            time.sleep(0.01)


def _ip(*args):
    subprocess.run(["ip", *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def sweep_namespace(name):
    """Ends all that runs in one namespace and deletes it."""
    _kill_all([name])
    _ip("-n", name, "link", "del", "eth0")
    _ip("netns", "del", name)


def sweep(prefix, directory=None):
    """Ends the processes, deletes the namespaces and removes the directory of a lab. Safe to call
    again, or when the lab was only half built."""
    names = namespaces(prefix)
    _kill_all(names)
    _remove_cgroups(prefix)
    # A namespace whose processes were killed lives on while orphaned TCP sockets retransmit. With
    # its veth gone it can do no harm and holds no address, so that goes first.
    hub = prefix + "-hub"
    for name in names:
        if name != hub:
            _ip("-n", name, "link", "del", "eth0")
    for name in names:
        _ip("netns", "del", name)
    if directory:
        shutil.rmtree(directory, ignore_errors=True)


def leftovers(prefix):
    """Namespaces, control groups, directories and processes that still carry a lab's prefix."""
    found = namespaces(prefix) + cgroups(prefix)
    top = os.environ.get("SPEGEL_LAB_DIR") or tempfile.gettempdir()
    found += [e for e in os.listdir(top) if e.startswith(prefix + "-")]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if prefix + "-" in line and int(pid) != os.getpid():
            found.append(line)
    return found


def wait_swept(prefix, limit_s=10.0):
    """Waits for a lab whose process has ended to be gone: after SIGKILL the janitor needs a moment.
    Returns what is left."""
    deadline = time.monotonic() + limit_s
    while leftovers(prefix) and time.monotonic() < deadline:
        time.sleep(0.05)
    return leftovers(prefix)


def start_janitor(prefix, directory):
    """Starts the janitor. It sweeps once its standard input ends."""
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), prefix, directory],
                            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL, start_new_session=True, cwd="/")


def _janitor(prefix, directory):
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    sys.stdin.buffer.read()
    sweep(prefix, directory)


if __name__ == "__main__":
    _janitor(sys.argv[1], sys.argv[2])
