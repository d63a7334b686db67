"""Our program as a pod runs it: root, without any capability. Root then may not read, change or give
away what belongs to others. What the user has there comes back with bytes, modes and owners, whoever
runs in whatever order; the Go program's chart leaves it its capabilities."""

import itertools
import json
import os
import subprocess

import pytest

import lab
from lab import spegel
from test_swap import REGISTRIES, TARGETS, Go, Ours, state, write

pytestmark = [pytest.mark.usefixtures("built_daemon"),
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")]

SETPRIV = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]
THEIRS = "# theirs\nserver = 'https://harbor.example'\n"
SOMEBODY = 1000


class OursInAPod(Ours):
    said = []

    @classmethod
    def run(cls, top, *more):
        ran = subprocess.run([*SETPRIV, spegel.binary(), "configuration",
                              "--containerd-registry-config-path", str(top), "--mirror-targets",
                              *TARGETS, "--mirrored-registries", *REGISTRIES, *more], check=False,
                             capture_output=True, text=True, timeout=30)
        assert ran.returncode == 0, ran.stderr
        cls.said = [json.loads(line) for line in ran.stderr.splitlines()]

    configure = run

    @classmethod
    def cleanup(cls, top):
        said = super().cleanup(top, SETPRIV)
        cls.said = [json.loads(line) for line in said.splitlines()]

    @classmethod
    def named(cls, words):
        return {line["registry"] for line in cls.said if words in line["msg"]}


def give(path):
    os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


def theirs(top, name, mode, text=THEIRS):
    write(top / name, text, mode)
    give(top / name)


def owned(top):
    """state(), with owners."""
    return {name: (*entry, (top / name).lstat().st_uid, (top / name).lstat().st_gid)
            for name, entry in state(top).items()}


def same_but_for_owners(a, b):
    return {name: entry[:2] for name, entry in a.items()} == \
        {name: entry[:2] for name, entry in b.items()}


def readable_file(top):
    theirs(top, "docker.io/hosts.toml", 0o644)
    theirs(top, "docker.io/ca.crt", 0o604, "certificate")


def closed_file(top):
    theirs(top, "docker.io/hosts.toml", 0o600)


def closed_file_among_others(top):
    theirs(top, "docker.io/hosts.toml", 0o600)
    write(top / "docker.io/tls/client.crt", "mine", 0o640)
    (top / "docker.io").chmod(0o750)


def closed_key_beside_it(top):
    write(top / "docker.io/hosts.toml", THEIRS)
    theirs(top, "docker.io/client.key", 0o600, "key")


def readable_directory(top):
    theirs(top, "docker.io/hosts.toml", 0o640)
    write(top / "docker.io/hosts.toml", THEIRS, 0o644)
    write(top / "docker.io/tls/ca.crt", "certificate", 0o604)
    (top / "docker.io").chmod(0o755)
    for path in [top / "docker.io", *(top / "docker.io").rglob("*")]:
        give(path)


def closed_directory(top):
    readable_directory(top)
    (top / "docker.io").chmod(0o750)


WRITTEN = [readable_file, closed_file, closed_file_among_others, closed_key_beside_it,
           readable_directory]


def start(tmp_path, *fill):
    top = tmp_path / "certs.d"
    top.mkdir(mode=0o755)
    write(top / "other.example/hosts.toml", "server = 'https://other.example'\n", 0o640)
    for one in fill:
        one(top)
    return top, owned(top)


def mirrored(top):
    return [r for r in REGISTRIES
            if all(f"[host.'{target}']" in (top / r.partition("://")[2] / "hosts.toml").read_text()
                   for target in TARGETS)]


@pytest.mark.parametrize("fill", WRITTEN, ids=lambda f: f.__name__)
@pytest.mark.parametrize("runs", [1, 2])
def test_it_is_mirrored_and_comes_back_with_its_owner(tmp_path, fill, runs):
    top, before = start(tmp_path, fill)
    for _ in range(runs):
        OursInAPod.configure(top)
        assert mirrored(top) == REGISTRIES
        assert OursInAPod.named("may not be changed") == set()
    OursInAPod.cleanup(top)
    assert owned(top) == before


def test_what_may_not_be_copied_and_is_not_replaced_stays_in_force_and_is_named(tmp_path):
    top, _ = start(tmp_path, readable_file)
    theirs(top, "closed.example/hosts.toml", 0o600)
    theirs(top, "open.example/hosts.toml", 0o644)
    theirs(top, "private.example/hosts.toml", 0o644)
    (top / "private.example").chmod(0o700)
    give(top / "private.example")
    before = owned(top)
    for _ in range(2):
        OursInAPod.configure(top)
        assert mirrored(top) == REGISTRIES
        after = owned(top)
        for name, entry in before.items():
            assert name.startswith("docker.io") or after[name] == entry
        assert OursInAPod.named("no backup") == {"closed.example", "private.example"}
        # The rest of docker.io, which stays where it is, belongs to us in the backup.
        assert OursInAPod.named("not the same owner") == {"open.example", "docker.io"}
        assert OursInAPod.named("is not mirrored") == {
            "closed.example", "open.example", "private.example", "other.example"}
    OursInAPod.cleanup(top)
    assert owned(top) == before


def test_what_may_not_be_replaced_stays_in_force_and_does_not_stop_the_others(tmp_path):
    top, before = start(tmp_path, closed_directory)
    OursInAPod.configure(top)
    assert OursInAPod.named("may not be changed") == {"docker.io"}
    assert OursInAPod.named("no backup") == {"docker.io"}
    assert (top / "mine.example:5000/hosts.toml").exists()
    assert {n: e for n, e in owned(top).items() if n in before} == before
    OursInAPod.cleanup(top)
    assert owned(top) == before


def test_hosts_that_may_not_be_read_are_not_replaced_when_they_are_to_be_kept(tmp_path):
    top, before = start(tmp_path, closed_file)
    OursInAPod.run(top, "--prepend-existing")
    assert OursInAPod.named("may not be changed") == {"docker.io"}
    assert {n: e for n, e in owned(top).items() if n in before} == before
    OursInAPod.cleanup(top)
    assert owned(top) == before


def test_a_key_that_may_not_be_read_stays_beside_hosts_that_are_to_be_kept(tmp_path):
    top, before = start(tmp_path, closed_key_beside_it)
    OursInAPod.run(top, "--prepend-existing")
    assert OursInAPod.named("no backup") == {"docker.io"}
    assert owned(top)["docker.io/client.key"] == before["docker.io/client.key"]
    OursInAPod.configure(top)  # and without being kept they need none
    assert OursInAPod.named("no backup") == set()
    assert "docker.io/client.key" not in owned(top)
    OursInAPod.cleanup(top)
    assert owned(top) == before


def test_what_was_added_meanwhile_stays_and_the_original_beside_it(tmp_path):
    top, before = start(tmp_path, readable_directory)
    OursInAPod.configure(top)
    write(top / "docker.io/added.crt", "added")
    OursInAPod.cleanup(top)
    assert OursInAPod.named(".left") == {"docker.io"}
    after = owned(top)
    assert after.pop("docker.io/added.crt")[1] == b"added"
    left = {n: after.pop(n) for n in list(after) if n.startswith("docker.io.left")}
    assert {n.replace(".left", ""): entry for n, entry in left.items()} == \
        {n: entry for n, entry in before.items() if n.startswith("docker.io")}
    assert same_but_for_owners(after, before)


@pytest.mark.parametrize("fill", [readable_file, readable_directory], ids=lambda f: f.__name__)
def test_hosts_that_may_be_read_are_kept_behind_the_mirror(tmp_path, fill):
    top, before = start(tmp_path, fill)
    write(top / "docker.io/hosts.toml", "[host.'https://harbor.example']\n", 0o644)
    before = owned(top)
    for _ in range(2):
        OursInAPod.run(top, "--prepend-existing")
        text = (top / "docker.io/hosts.toml").read_text()
        assert text.index(TARGETS[0]) < text.index("harbor.example")
        assert (top / "docker.io/hosts.toml").stat().st_mode & 0o777 == 0o644
    OursInAPod.cleanup(top)
    assert owned(top) == before


@pytest.mark.parametrize("fill", WRITTEN, ids=lambda f: f.__name__)
def test_a_shorter_list_gives_back_what_was_moved(tmp_path, fill):
    top, before = start(tmp_path, fill)
    OursInAPod.configure(top)
    subprocess.run([*SETPRIV, spegel.binary(), "configuration", "--mirror-targets", *TARGETS,
                    "--containerd-registry-config-path", str(top), "--mirrored-registries",
                    REGISTRIES[1]], check=True, capture_output=True, timeout=30)
    assert {n: e for n, e in owned(top).items() if n in before} == before
    OursInAPod.cleanup(top)
    assert owned(top) == before


WHO = {"g": Go, "c": OursInAPod}
ORDERS = ["".join(o) for n in (1, 2, 3) for o in itertools.product("gc", repeat=n)]


@pytest.mark.parametrize("fill", WRITTEN, ids=lambda f: f.__name__)
@pytest.mark.parametrize("last", "gc")
@pytest.mark.parametrize("order", ORDERS)
def test_whoever_ran_in_whatever_order_nothing_is_lost(tmp_path, fill, order, last):
    top, before = start(tmp_path, fill)
    for who in order:
        WHO[who].configure(top)
        assert mirrored(top) == REGISTRIES
    WHO[last].cleanup(top)
    after = owned(top)
    left = {name: entry for name, entry in after.items() if name.startswith("_backup.left")}
    after = {name: entry for name, entry in after.items() if name not in left}
    went = order + last
    go_deleted = "g" in went[went.find("c"):] and "c" in went
    assert same_but_for_owners(after, before)
    # Of what the Go program deleted there is a copy, which does not keep the owner. A directory that
    # it moved cannot be moved back: a copy is in force, and the original is left for its owner.
    stuck = fill is readable_directory and order[0] == "g" and "c" in went
    if not go_deleted and not stuck:
        assert after == before
    if left:
        assert stuck and {name: left[f"_backup.left/{name}"] for name in before
                          if name.startswith("docker.io")} == \
            {name: entry for name, entry in before.items() if name.startswith("docker.io")}
        assert OursInAPod.named(".left") == {"docker.io"}
