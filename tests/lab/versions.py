"""The containerd versions that tests run against.

The installed one is Debian 12's. The others are the packages of later Debian releases, downloaded
by apt with sources, state and cache of their own and unpacked into the build folder: nothing is
installed, and their binaries run on Debian 12's libc.
"""

import collections
import fcntl
import glob
import os
import re
import shutil
import subprocess

from .net import LabError, run

Binaries = collections.namedtuple("Binaries", "track version containerd ctr")

# track -> Debian suite it comes from (None: what is installed)
TRACKS = {"1.6": None, "1.7": "trixie", "2.1": "sid"}

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SPEGEL_BUILD") or os.path.join(ROOT, "build")
FETCH_TIMEOUT_S = 300

_failures = {}


def find(track):
    """The binaries of a track, fetched if need be; None, and why_not(), if that fails."""
    try:
        return _probe(track, _installed() if TRACKS[track] is None else _fetched(track))
    except (LabError, OSError, subprocess.TimeoutExpired) as e:
        _failures[track] = str(e)
        return None


def why_not(track):
    """Why find() returned None."""
    return f"containerd {track} cannot be had here: {_failures.get(track, 'not tried')}"


def _probe(track, directory):
    containerd = os.path.join(directory, "containerd")
    out = run([containerd, "--version"], timeout=20).stdout
    version = re.search(r"\b(\d+\.\d+\.\d+)", out)
    if not version:
        raise LabError(f"{containerd} --version says {out.strip()!r}")
    return Binaries(track, version.group(1), containerd, os.path.join(directory, "ctr"))


def _installed():
    path = shutil.which("containerd")
    if not path:
        raise LabError("containerd is not installed")
    return os.path.dirname(path)


def _fetched(track):
    directory = os.path.join(BUILD, f"containerd-{track}")
    os.makedirs(directory, exist_ok=True)
    binaries = os.path.join(directory, "tree", "usr", "bin")
    # Several test runs may share the build folder.
    with open(os.path.join(directory, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(os.path.join(binaries, "containerd")):
            _fetch(TRACKS[track], directory)
    return binaries


def _mirrors():
    """The Debian archives that this machine's own apt uses."""
    found = []
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list")),
                 *sorted(glob.glob("/etc/apt/sources.list.d/*.sources"))]:
        try:
            with open(path, encoding="utf-8") as f:
                lines = [line for line in f.read().splitlines() if not line.startswith("#")]
        except OSError:
            continue
        for line in lines:
            match = re.match(r"\s*(?:deb\s+(?:\[[^]]*\]\s+)?|URIs:\s*)(\S+)", line)
            # debian-security carries no later suites
            if match and re.search(r"/debian/?$", match.group(1)):
                found.append(match.group(1))
    return list(dict.fromkeys(found))


def _fetch(suite, directory):
    mirrors = _mirrors()
    if not mirrors:
        raise LabError("this machine's apt sources name no Debian archive")
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    apt = os.path.join(directory, "apt")
    for sub in ("state/lists/partial", "cache/archives/partial", "parts"):
        os.makedirs(os.path.join(apt, sub), exist_ok=True)
    sources = os.path.join(apt, "sources.list")
    with open(sources, "w", encoding="ascii") as f:
        for mirror in mirrors:
            f.write(f"deb [signed-by={keyring}] {mirror} {suite} main\n")
    options = ["-o", f"Dir::Etc::sourcelist={sources}", "-o", f"Dir::Etc::sourceparts={apt}/parts",
               "-o", f"Dir::State={apt}/state", "-o", f"Dir::Cache={apt}/cache",
               "-o", "Acquire::Languages=none", "-o", "APT::Get::List-Cleanup=false",
               "-o", "APT::Sandbox::User=root", "-qq"]
    run(["apt-get", *options, "update"], timeout=FETCH_TIMEOUT_S)
    run(["apt-get", *options, "download", "containerd"], cwd=apt, timeout=FETCH_TIMEOUT_S)
    packages = glob.glob(os.path.join(apt, "containerd_*.deb"))
    if not packages:
        raise LabError(f"no containerd package came from {suite}")
    # Unpacked aside and renamed: half a tree is never taken for a whole one.
    aside = os.path.join(directory, "tree.new")
    shutil.rmtree(aside, ignore_errors=True)
    run(["dpkg", "-x", packages[0], aside])
    os.rename(aside, os.path.join(directory, "tree"))
    shutil.rmtree(apt, ignore_errors=True)
