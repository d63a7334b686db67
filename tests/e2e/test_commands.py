"""The commands of the real program, as a person or a manifest runs them; all on loopback."""

import concurrent.futures
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from lab import spegel

pytestmark = pytest.mark.skipif(spegel.why_missing() is not None, reason=str(spegel.why_missing()))

COMMANDS = ["registry", "configuration", "cleanup", "cleanup-wait", "version"]


def run(*args, env=None, timeout=20):
    clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG")}
    return subprocess.run([spegel.binary(), *args], capture_output=True, text=True,
                          timeout=timeout, env={**clean, **(env or {})}, check=False)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def log_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def snapshot(path):
    """Every name below with kind, mode, owner and bytes."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            full = os.path.join(folder, name)
            st = os.lstat(full)
            content = None
            if os.path.islink(full):
                content = os.readlink(full)
            elif os.path.isfile(full):
                with open(full, "rb") as f:
                    content = f.read()
            found[os.path.relpath(full, path)] = (oct(st.st_mode), st.st_uid, st.st_gid, content)
    return found


def get(port, path="/readyz", method="GET", host="127.0.0.1"):
    """The status, None while nobody answers."""
    try:
        with socket.create_connection((host, port), timeout=2) as s:
            s.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return int(s.recv(100).split()[1])
    except OSError:
        return None


class Cleanup:
    """A running `spegel cleanup`."""

    def __init__(self, path, port):
        self.port = port
        self.process = subprocess.Popen(
            [spegel.binary(), "cleanup", "--addr", f"127.0.0.1:{port}",
             "--containerd-registry-config-path", str(path)],
            stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        deadline = time.monotonic() + 10
        while get(self.port) != 200:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=5)
        return self.process.returncode


@pytest.fixture
def certs_d(tmp_path):
    """A directory as people have it."""
    path = tmp_path / "certs.d"
    for folder, mode in [("docker.io", 0o755), ("docker.io/tls", 0o700), ("quay.io", 0o711)]:
        (path / folder).mkdir(parents=True)
        (path / folder).chmod(mode)
    for name, text, mode in [
        ("docker.io/hosts.toml",
         '# ours\nserver = "https://docker.io"\nca = ["a.pem"] # root\n\n# first\n'
         '[host."https://mirror.example"]\n  capabilities = ["pull"]\n', 0o640),
        ("docker.io/tls/key.pem", "key", 0o400),
        ("quay.io/hosts.toml", 'server = "https://quay.io"\n', 0o644),
    ]:
        (path / name).write_text(text)
        (path / name).chmod(mode)
    return path


def test_version_names_itself():
    result = run("version")
    assert result.returncode == 0
    assert re.fullmatch(r"spegel version \S+ \S+\n", result.stdout)
    info = json.loads(run("version", "--format", "json").stdout)
    assert info["build"]["version"] in result.stdout
    assert info["build"]["commit"] in result.stdout
    assert info["runtime"]["os"] == "linux"
    assert set(info["runtime"]) == {"distro", "os", "arch"}
    # The one flag that is no environment variable.
    assert run("version", env={"FORMAT": "json"}).stdout == result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    for flag in ["--help", "-h"]:
        result = run(command, flag)
        assert result.returncode == 0
        assert result.stdout.startswith(f"Usage: spegel {command}")
        assert result.stderr == ""
    assert re.search(rf"^  {command} ", run("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize("args, env, says", [
    (["fly"], {}, ["fly", "registry, configuration"]),
    (["registry", "--bogus"], {}, ["--bogus"]),
    (["registry"], {}, ["--bootstrap-kind", "dns"]),
    (["registry", "--bootstrap-kind=dns"], {}, ["--dns-bootstrap-domain"]),
    (["registry", "--bootstrap-kind=x"], {}, ["--bootstrap-kind", '"x"', "static"]),
    (["registry", "--mirror-resolve-timeout", "20"], {}, ["--mirror-resolve-timeout", '"20"']),
    (["registry"], {"MIRROR_RESOLVE_TIMEOUT": "x"}, ["MIRROR_RESOLVE_TIMEOUT", '"x"']),
    (["registry", "--registry-addr", "5000"], {}, ["--registry-addr", '"5000"']),
    (["registry", "--debug-web-enabled", "false"], {}, ["--debug-web-enabled=false"]),
    (["configuration"], {}, ["--mirror-targets", "MIRROR_TARGETS"]),
    (["configuration", "--mirror-targets"], {}, ["--mirror-targets"]),
    (["cleanup"], {}, ["--addr"]),
    (["cleanup-wait"], {}, ["--probe-endpoint"]),
    (["cleanup-wait", "--probe-endpoint=a:1", "--threshold=0"], {}, ["--threshold", '"0"']),
    (["version", "--format=xml"], {}, ["--format", '"xml"', "text or json"]),
    (["version", "--log-level=loud"], {}, ["--log-level", '"loud"', "WARN"]),
    (["version", "--format=a\nerror: b"], {}, ["--format"]),
])
def test_wrong_use_ends_with_two_and_one_line(args, env, says):
    result = run(*args, env=env)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Usage: spegel")
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and result.stderr.endswith(errors[0] + "\n")
    for text in says:
        assert text in errors[0]


def test_no_command_ends_with_one():
    result = run()
    assert result.returncode == 1
    assert "Usage: spegel" in result.stderr


def test_the_log_level_may_stand_on_either_side(certs_d):
    args = ["configuration", "--mirror-targets", "http://127.0.0.1:1",
            "--containerd-registry-config-path", str(certs_d)]
    assert log_lines(run(*args).stderr)
    assert run("--log-level", "error", *args).stderr == ""
    assert run(*args, "--log-level=ERROR").stderr == ""
    assert run(*args, env={"LOG_LEVEL": "Error"}).stderr == ""
    debug = log_lines(run(*args, "--log-level", "debug").stderr)
    assert {"time", "level", "msg"} <= set(debug[0])


def test_a_bare_host_is_an_error_at_run_time(certs_d):
    before = snapshot(certs_d)
    for args in [["configuration", "--mirror-targets=http://a:1", "--mirrored-registries",
                  "https://quay.io", "docker.io", "--containerd-registry-config-path",
                  str(certs_d)],
                 ["registry", "--store", "oci-layout:/nowhere", "--mirrored-registries",
                  "docker.io"]]:
        result = run(*args)
        assert result.returncode == 1
        assert '"docker.io"' in log_lines(result.stderr)[-1]["err"].replace('\\"', '"')
    assert snapshot(certs_d) == before


def test_configuration_takes_flags_environment_and_old_names_alike(tmp_path):
    texts = set()
    for i, (args, env) in enumerate([
        (["--mirrored-registries", "https://docker.io", "http://r:5000", "--mirror-targets",
          "http://127.0.0.1:1", "http://fd00::1:2", "--resolve-tags=false"], {}),
        ([], {"MIRRORED_REGISTRIES": "https://docker.io,http://r:5000", "RESOLVE_TAGS": "false",
              "MIRROR_TARGETS": "http://127.0.0.1:1,http://[fd00::1]:2"}),
        (["--registries", "https://docker.io", "http://r:5000", "--mirror-registries",
          "http://127.0.0.1:1", "http://[fd00::1]:2", "-resolve-tags=0"], {}),
    ]):
        path = tmp_path / str(i)
        result = run("configuration", "--containerd-registry-config-path", str(path), *args,
                     env=env)
        assert result.returncode == 0, result.stderr
        assert sorted(os.listdir(path)) == [".spegel", "_backup", "docker.io", "r:5000"]
        texts.add(((path / "docker.io/hosts.toml").read_text(),
                   (path / "r:5000/hosts.toml").read_text()))
        assert ("retired" in result.stderr) == (i == 2)
    assert len(texts) == 1
    tomllib = pytest.importorskip("tomllib")
    parsed = tomllib.loads(texts.pop()[0])
    host = {"capabilities": ["pull"], "dial_timeout": "200ms"}
    assert parsed == {"server": "https://registry-1.docker.io",
                      "host": {"http://127.0.0.1:1": host, "http://[fd00::1]:2": host}}
    assert list(parsed["host"]) == ["http://127.0.0.1:1", "http://[fd00::1]:2"]


def test_a_kept_configuration_is_still_toml_in_the_right_order(certs_d):
    tomllib = pytest.importorskip("tomllib")
    assert run("configuration", "--mirror-targets", "http://127.0.0.1:1", "--prepend-existing",
               "--mirrored-registries", "https://docker.io",
               "--containerd-registry-config-path", str(certs_d)).returncode == 0
    text = (certs_d / "docker.io/hosts.toml").read_text()
    parsed = tomllib.loads(text)
    assert list(parsed["host"]) == ["http://127.0.0.1:1", "https://mirror.example"]
    assert parsed["server"] == "https://registry-1.docker.io"
    assert parsed["ca"] == ["a.pem"]
    assert '\n# first\n[host."https://mirror.example"]\n  capabilities = ["pull"]\n' in text


@pytest.mark.parametrize("extra", [[], ["--prepend-existing"]])
def test_configured_cleaned_up_and_waited_for(certs_d, extra):
    before = snapshot(certs_d)
    result = run("configuration", "--mirror-targets", "http://127.0.0.1:1", *extra,
                 "--mirrored-registries", "https://docker.io", "https://ghcr.io",
                 "--containerd-registry-config-path", str(certs_d))
    assert result.returncode == 0
    kept = [line for line in log_lines(result.stderr) if "not mirrored" in line["msg"]]
    assert [line["registry"] for line in kept] == ["quay.io"]
    assert os.path.isdir(certs_d / "_backup")
    port = free_port()
    with Cleanup(certs_d, port) as cleanup:
        assert snapshot(certs_d) == before  # restored before the first answer
        assert get(port, "/anything") == 200
        assert get(port, "/readyz", "POST") == 200
        assert get(port, "/other", "POST") == 404
        wait = run("cleanup-wait", "--probe-endpoint", f"localhost:{port}", "--period", "50ms")
        assert wait.returncode == 0
        assert len(log_lines(wait.stderr)) == 3
        assert cleanup.stop() == 0


def test_cleanup_answers_while_others_say_nothing(certs_d):
    port = free_port()
    with Cleanup(certs_d, port):
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            assert set(pool.map(lambda _: get(port), range(60))) == {200}
        for s in silent:
            s.close()


def test_cleanup_says_so_when_its_port_is_taken(certs_d):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        result = run("cleanup", "--addr", f"127.0.0.1:{s.getsockname()[1]}",
                     "--containerd-registry-config-path", str(certs_d))
    assert result.returncode == 1
    assert "in use" in log_lines(result.stderr)[-1]["err"]


class Moody(http.server.BaseHTTPRequestHandler):
    """Answers what its server's list says, in turn, and the last for ever."""

    def do_GET(self):
        moods = self.server.moods
        self.server.seen.append(self.path)
        status = moods.pop(0) if len(moods) > 1 else moods[0]
        if status == 0:
            time.sleep(1.5)
            return
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def moody():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("moods, rounds", [
    ([200], 3),
    ([200, 200, 503, 200], 6),  # one failure starts the count over
    ([404, 200], 4),
    ([0, 200], 4),              # no answer within a second is one too
])
def test_cleanup_wait_counts_rounds_in_a_row(moody, moods, rounds):
    moody.moods = list(moods)
    result = run("cleanup-wait", "--probe-endpoint", f"127.0.0.1:{moody.server_port}",
                 "--period=20ms")
    assert result.returncode == 0
    assert moody.seen == ["/readyz"] * rounds


def test_cleanup_wait_gives_up_only_when_told():
    process = subprocess.Popen(
        [spegel.binary(), "cleanup-wait", "--probe-endpoint", f"127.0.0.1:{free_port()}",
         "--period=20ms"], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 1


def test_cleanup_wait_wants_the_same_addresses_for_as_long_as_it_was_told(moody):
    moody.moods = [200]
    begun = time.monotonic()
    result = run("cleanup-wait", "--probe-endpoint", f"127.0.0.1:{moody.server_port}",
                 "--period=50ms", "--stable-for=1s")
    assert result.returncode == 0
    assert time.monotonic() - begun >= 1 and len(moody.seen) > 5


@pytest.mark.parametrize("told", [False, True], ids=["by-itself", "when-told"])
def test_cleanup_wait_ends_with_a_list_of_what_failed(told):
    process = subprocess.Popen(
        [spegel.binary(), "cleanup-wait", "--probe-endpoint", f"127.0.0.1:{free_port()}",
         "--period=20ms", *([] if told else ["--give-up-after=300ms"])], stderr=subprocess.PIPE,
        text=True)
    if told:
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=10)[1]
    assert process.returncode == 1
    *_, failed, end = [json.loads(line) for line in said.splitlines()]
    assert failed["msg"] == "not cleaned up" and failed["address"] == "127.0.0.1"
    assert failed["err"] == "Connection refused"
    assert end["level"] == "ERROR" and (end["addresses"], end["failed"]) == (1, 1)


@pytest.mark.parametrize("endpoint", ["nowhere", "host:", ":8080", "host:99999", "::1:80"])
def test_a_bad_endpoint_is_an_error_at_run_time(endpoint):
    result = run("cleanup-wait", "--probe-endpoint", endpoint)
    assert result.returncode == 1
    assert "endpoint" in result.stderr


def test_a_path_that_cannot_be_written_is_one_clear_line(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    result = run("configuration", "--mirror-targets=http://127.0.0.1:1",
                 "--containerd-registry-config-path", str(blocked / "certs.d"))
    assert result.returncode == 1
    lines = log_lines(result.stderr)
    assert len(lines) == 1 and str(blocked) in lines[0]["err"]
