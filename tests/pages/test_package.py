"""The Debian package: what is in it, what lintian and systemd say of it, what shells complete."""

import re
import shutil
import subprocess

import pytest
from test_pages import PACKAGES, TOP

import lab

needs_package = pytest.mark.skipif(not PACKAGES, reason="no package: `./dev deb` builds it")


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@needs_package
def test_lintian_has_neither_errors_nor_warnings():
    if not shutil.which("lintian"):
        pytest.skip("no lintian: `./dev deb` installs it")
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", PACKAGES[-1]],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@needs_package
def test_it_holds_the_program_and_what_belongs_to_it():
    names = set(re.findall(r" \./(\S+[^/\n])$", output("dpkg-deb", "--contents", PACKAGES[-1]),
                           re.M))
    assert names == {
        "usr/bin/spegel", "usr/lib/systemd/system/spegel.service", "etc/default/spegel",
        "usr/share/man/man8/spegel.8.gz", "usr/share/doc/spegel/copyright",
        "usr/share/doc/spegel/changelog.gz", "usr/share/bash-completion/completions/spegel",
        "usr/share/zsh/vendor-completions/_spegel", "usr/share/fish/vendor_completions.d/spegel.fish"}
    assert output("dpkg-deb", "--info", PACKAGES[-1], "conffiles") == "/etc/default/spegel\n"
    depends = output("dpkg-deb", "--field", PACKAGES[-1], "Depends")
    assert all(f"{name} (" in depends for name in ("libc6", "libuv1", "libcurl4", "libssl3"))


@needs_package
def test_systemd_takes_the_unit_and_finds_it_confined(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze")
    subprocess.run(["dpkg-deb", "--extract", PACKAGES[-1], tmp_path], check=True)
    unit = tmp_path / "usr/lib/systemd/system/spegel.service"
    text = unit.read_text()
    unit.write_text(text.replace("=/usr/bin/spegel", f"={tmp_path}/usr/bin/spegel"))
    assert unit.read_text() != text
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0 and "spegel.service" not in done.stderr, done.stderr
    # Of 100, where less is better. Most of what is left is root and the network, which it needs.
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=30", unit],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def bash_completes(script, _, words):
    return output("bash", "-c", script + '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _spegel\n'
                  'printf "%s\\n" "${COMPREPLY[@]}"', "bash", *words)


def zsh_completes(script, directory, words):
    """What it is given to choose from: choosing is zsh's own."""
    (directory / "_spegel").write_text(script)
    return output("zsh", "-fc", 'fpath=($1); shift; autoload -U _spegel; words=("$@"); CURRENT=$#\n'
                  'compadd() { shift; print -rl -- ${(M)@:#$words[CURRENT]*}; }\n'
                  '_files() { print -rl -- $words[CURRENT]*(N); }\n_spegel',
                  "zsh", directory, *words)


def fish_completes(script, _, words):
    return output("fish", "--no-config", "-c", script + "complete -C $argv[1]", " ".join(words))


SHELLS = {"bash": bash_completes, "zsh": zsh_completes, "fish": fish_completes}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("words, want", [
    (["cl"], ["cleanup", "cleanup-wait"]),
    (["--log-level", "WA"], ["WARN"]),
    (["registry", "--bootstrap-kind", ""], ["dns", "http", "static"]),
    (["--log-level", "INFO", "version", "--fo"], ["--format"]),
    (["version", "--format", ""], ["json", "text"]),
    (["cleanup", "--a"], ["--addr"]),
    (["cleanup", ""], []),
    (["configuration", "--containerd-registry-config-path", "DIRECTORY/on"], ["DIRECTORY/one"]),
])
def test_shells_complete_commands_flags_and_values(shell, words, want, tmp_path):
    if lab.spegel.why_missing():
        pytest.skip(lab.spegel.why_missing())
    if not shutil.which(shell):
        pytest.skip(f"no {shell}: `./dev deb` installs it")
    (tmp_path / "one").write_text("")
    script = (TOP / f"deps/debian/completion.{shell}").read_text()
    words, want = ([w.replace("DIRECTORY", str(tmp_path)) for w in ws] for ws in (words, want))
    completed = SHELLS[shell](script, tmp_path, [lab.spegel.binary(), *words])
    assert sorted(line.split("\t")[0] for line in completed.splitlines() if line) == want
