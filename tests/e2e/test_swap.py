"""Our program and the Go implementation by turns on one directory: upgraded, rolled back, upgraded
again, uninstalled by either. What the user had is there in the end, byte for byte, mode for mode.

The Go program's way with the files (v0.7.4) is acted out below, from what the surface it shares with
ours says: it moves, where ours copies."""

import itertools
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import time
import urllib.request

import pytest

import lab
from lab import spegel

pytestmark = pytest.mark.usefixtures("built_daemon")

TARGETS = ["http://192.0.2.1:30020", "http://192.0.2.1:30021"]
REGISTRIES = ["https://docker.io", "https://mine.example:5000"]


class Go:
    """The Go implementation."""

    @staticmethod
    def configure(top):
        backup = top / "_backup"
        names = [p for p in top.iterdir() if p.name != "_backup"]
        if backup.exists():
            for path in names:
                remove(path)
        else:
            backup.mkdir(mode=0o755)
            for path in names:
                path.rename(backup / path.name)
        for registry in REGISTRIES:
            host = registry.partition("://")[2]
            server = "https://registry-1.docker.io" if host == "docker.io" else registry
            text = f"server = '{server}'\n"
            for target in TARGETS:
                text += (f"\n[host.'{target}']\ncapabilities = ['pull', 'resolve']\n"
                         "dial_timeout = '200ms'\n")
            (top / host).mkdir()
            write(top / host / "hosts.toml", text)

    @staticmethod
    def cleanup(top):
        backup = top / "_backup"
        if not backup.exists():
            return
        for path in list(top.iterdir()):
            if path.name != "_backup":
                remove(path)
        for path in list(backup.iterdir()):
            path.rename(top / path.name)
        backup.rmdir()


class Ours:
    @staticmethod
    def configure(top):
        subprocess.run([spegel.binary(), "configuration", "--containerd-registry-config-path",
                        str(top), "--mirrored-registries", *REGISTRIES, "--mirror-targets",
                        *TARGETS], check=True, capture_output=True, timeout=30)

    @staticmethod
    def cleanup(top, through=()):
        port = free_port()
        process = subprocess.Popen([*through, spegel.binary(), "cleanup", "--addr", f"127.0.0.1:{port}",
                                    "--containerd-registry-config-path", str(top)],
                                   stderr=subprocess.PIPE)
        try:
            wait_ready(process, port)
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=30)[1]
        assert process.returncode == 0, said
        return said


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_ready(process, port):
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def users_own(top):
    """What somebody may have there: for a registry that is mirrored, for one that is not, for all
    others, certificates, links, and what is no registry at all."""
    write(top / "docker.io/hosts.toml", "# mine\nserver = 'https://harbor.example'\n", 0o640)
    write(top / "docker.io/client.key", "secret", 0o600)
    write(top / "other.example/hosts.toml", "server = 'https://other.example'\n", 0o604)
    write(top / "other.example/deep/er/ca.crt", "certificate")
    write(top / "_default/hosts.toml", "server = 'https://harbor.example'\n")
    write(top / "README", "hands off", 0o444)
    (top / "linked.example").symlink_to("other.example")
    (top / "empty.example").mkdir(mode=0o711)
    (top / "other.example").chmod(0o750)


def state(top):
    """{path: (mode, content or target)} of everything below it."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = (os.readlink(path) if path.is_symlink() else
                   path.read_bytes() if path.is_file() else None)
        found[str(path.relative_to(top))] = (oct(status.st_mode), content)
    return found


ORDERS = [order for n in (1, 2, 3, 4) for order in itertools.product("gc", repeat=n)]
WHO = {"g": Go, "c": Ours}


@pytest.mark.parametrize("empty", [False, True], ids=["users-files", "empty"])
@pytest.mark.parametrize("last", "gc")
@pytest.mark.parametrize("order", ORDERS, ids="".join)
def test_whoever_ran_in_whatever_order_the_users_files_come_back(tmp_path, order, last, empty):
    top = tmp_path / "certs.d"
    top.mkdir(mode=0o755)
    if not empty:
        users_own(top)
    before = state(top)
    for who in order:
        WHO[who].configure(top)
        assert (top / "_backup").is_dir()
        kept = {name: entry for name, entry in state(top / "_backup").items()}
        assert kept == before, "_backup holds what the user had, and nothing else"
        for registry in REGISTRIES:
            text = (top / registry.partition("://")[2] / "hosts.toml").read_text()
            assert all(f"[host.'{target}']" in text for target in TARGETS)
        if who == "c":  # ours leaves in force what it does not replace
            assert {n: e for n, e in state(top).items() if n.startswith("other.example")} == \
                {n: e for n, e in before.items() if n.startswith("other.example")}
    WHO[last].cleanup(top)
    assert state(top) == before


@pytest.mark.parametrize("last", "gc")
def test_a_directory_added_while_ours_ran_outlives_a_rollback_once_ours_has_run_again(tmp_path, last):
    top = tmp_path / "certs.d"
    top.mkdir(mode=0o755)
    users_own(top)
    Ours.configure(top)
    write(top / "later.example/hosts.toml", "server = 'https://later.example'\n", 0o604)
    added = {n: e for n, e in state(top).items() if n.startswith("later.example")}
    Ours.configure(top)
    assert added.items() <= state(top).items() and added.items() <= state(top / "_backup").items()
    Go.configure(top)
    assert not (top / "later.example").exists()
    WHO[last].cleanup(top)
    assert added.items() <= state(top).items()


@pytest.mark.usefixtures("installed_containerd")
def test_the_go_implementations_key_in_the_data_directory_is_left_alone():
    """Rolled back, an instance of it is the peer that it was."""
    with lab.Lab(nodes=0, upstream=False) as opened:
        node = opened.add_node(start=False)
        key = pathlib.Path(node.daemon.data_dir) / "private.key"
        write(key, "the Go implementation's", 0o600)
        before = state(key.parent)["private.key"], key.stat().st_mtime_ns, key.stat().st_ino
        opened.start()
        opened.settle(lambda: len(os.listdir(node.daemon.data_dir)) > 1, what="its own identity")
        assert node.daemon.stop() == 0
        assert (state(key.parent)["private.key"], key.stat().st_mtime_ns,
                key.stat().st_ino) == before
