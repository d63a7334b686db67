"""containerd's configuration, written by the program and read by a real containerd; and taken back
again to the last byte."""

import base64
import contextlib
import http.server
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

import lab
from lab import images, spegel, web
from lab.node import MIRROR
from layouts import Layout
from support import (NEXT_TO_NOTHING, Sent, assert_holds, assert_seconds, wait_known,
                     write_basic_auth)

pytestmark = pytest.mark.usefixtures("built_daemon", "installed_containerd")


def bootstrap_file(registry, instance):
    """The file that docs/bootstrap.md puts into a machine's image, for this registry and the URL of an
    instance on another node instead of this one's NodePort."""
    with open(os.path.join(os.path.dirname(__file__), "../../docs/bootstrap.md"),
              encoding="utf-8") as f:
        [text] = re.findall(r"^```toml\n(# spegel bootstrap\n.*?)^```$", f.read(), re.M | re.S)
    for shown, ours in [("https://ghcr.io", registry), ("http://127.0.0.1:30000", instance)]:
        assert text.count(shown) == 2
        text = text.replace(shown, ours)
    return text


def tree(directory):
    """{path below directory: (mode, content)} of all files."""
    found = {}
    for top, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(top, name)
            with open(path, "rb") as f:
                found[os.path.relpath(path, directory)] = (os.stat(path).st_mode, f.read())
    return found


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def users_own(node):
    """What a user may have in certs.d before us."""
    top = node.containerd.certs_d
    write(os.path.join(top, "registry.lab:5000", "hosts.toml"),
          "# mine\nserver = 'http://registry.lab:5000'\n\n[host.'http://registry.lab:5000']\n"
          "  capabilities = ['pull', 'resolve']  # both\n")
    write(os.path.join(top, "registry.lab:5000", "client.key"), "secret", 0o600)
    write(os.path.join(top, "other.example", "hosts.toml"), "server = 'https://other.example'\n")
    return tree(top)


def hosts_toml_of(node, name="registry.lab:5000"):
    with open(os.path.join(node.containerd.certs_d, name, "hosts.toml"), encoding="utf-8") as f:
        return f.read()


def run_cleanup(node):
    """The chart's hook: cleanup serves probes until cleanup-wait has seen it."""
    with open(os.path.join(node.directory, "cleanup.log"), "ab") as log:
        cleanup = node.host.popen([spegel.binary(), "cleanup", "--addr", ":8080",
                                   "--containerd-registry-config-path", node.containerd.certs_d],
                                  stdout=log, stderr=log)
    waited = node.host.run([spegel.binary(), "cleanup-wait", "--probe-endpoint",
                            f"{node.ip}:8080", "--threshold", "2", "--period", "100ms"],
                           timeout=20, check=False)
    assert waited.returncode == 0, waited.stdout
    assert web.request(node.host, f"http://{node.ip}:8080/readyz").status == 200
    cleanup.send_signal(signal.SIGTERM)
    assert cleanup.wait(10) == 0


@pytest.mark.parametrize("prepend", [False, True])
def test_configuration_and_cleanup_around_pulls_through_the_mirror(prepend):
    with lab.Lab(nodes=2) as l:
        image = images.image(layers=2, layer_mb=1)
        reference = l.push(image)
        befores = [users_own(node) for node in l.nodes]
        for node in l.nodes:
            node.configure("--mirrored-registries", l.upstream.url,
                           *(["--prepend-existing"] if prepend else []))
            assert MIRROR in hosts_toml_of(node)
            assert ("# both" in hosts_toml_of(node)) == prepend
            assert os.path.isdir(os.path.join(node.containerd.certs_d, "_backup"))
        l.nodes[0].pull(reference)
        wait_known(l, reference, image)
        sent = Sent(l.upstream)
        l.nodes[1].pull(reference)
        assert_holds(l.nodes[1], reference, image)
        assert sent.bytes < NEXT_TO_NOTHING
        for node, before in zip(l.nodes, befores):
            run_cleanup(node)
            assert tree(node.containerd.certs_d) == before
            assert not os.path.exists(os.path.join(node.containerd.certs_d, "_backup"))


def test_the_daemon_writes_the_configuration_once_it_answers_and_leaves_it_when_it_ends():
    with lab.Lab(nodes=0) as l:
        nodes = [l.add_node(start=False) for _ in range(2)]
        befores = [users_own(node) for node in nodes]
        for node in nodes:
            node.daemon.args += ["--write-configuration", "--containerd-registry-config-path",
                                 node.containerd.certs_d, "--mirror-targets", MIRROR,
                                 "--mirrored-registries", l.upstream.url]
        l.start()
        l.settle(lambda: all(MIRROR in hosts_toml_of(node) for node in nodes),
                 what="the configuration to be written")
        for node in nodes:
            ids = [json.loads(line).get("id") for line in node.daemon.log().splitlines()]
            assert any(i and i in hosts_toml_of(node) for i in ids)  # X-Spegel-Node
            # The directory that is not ours is in force, and named.
            kept = [line["registries"] for line in map(json.loads, node.daemon.log().splitlines())
                    if "not mirrored" in line["msg"]]
            assert kept == ["other.example"]
            own = os.path.join("other.example", "hosts.toml")
            assert tree(node.containerd.certs_d)[own] == befores[nodes.index(node)][own]
        image = images.image(layers=2, layer_mb=1)
        reference = l.push(image)
        nodes[0].pull(reference)
        wait_known(l, reference, image)
        sent = Sent(l.upstream)
        nodes[1].pull(reference)
        assert sent.bytes < NEXT_TO_NOTHING
        # Without the daemon, containerd finds its way: a refused connection costs nothing.
        nodes[1].daemon.stop()
        assert MIRROR in hosts_toml_of(nodes[1])
        nodes[1].remove(reference)
        nodes[1].pull(reference)
        assert_holds(nodes[1], reference, image)
        for node, before in zip(nodes, befores):
            node.daemon.stop()
            run_cleanup(node)
            assert tree(node.containerd.certs_d) == before


def written(node):
    return os.path.exists(os.path.join(node.containerd.certs_d, "_default", "hosts.toml"))


def said(node, words):
    """The lines of the daemon's log with these words."""
    lines = map(json.loads, node.daemon.log().splitlines())
    return [line for line in lines if words in line["msg"]]


def let_write(node, *targets):
    node.daemon.args += ["--write-configuration", "--containerd-registry-config-path",
                         node.containerd.certs_d, "--mirror-targets", *targets]


@contextlib.contextmanager
def other_service(node, port):
    """Something at a port of the node's loopback that says "200 OK" to whatever it is asked."""
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_):
            pass

    with node.host.inside():
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def test_a_target_that_never_answers_is_never_written_and_that_is_said_once():
    with lab.Lab(nodes=0) as l:
        node = l.add_node(start=False)
        before = users_own(node)
        dead, silent = f"http://{node.ip}:1", f"http://{node.ip}:2"  # as under a policy on egress
        node.host.run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "2", "-j", "DROP"])
        other = l.add_node(start=False, containerd=False)
        let_write(node, dead, silent, other.daemon.url)
        other.daemon.peers = [node.router]
        l.nodes.remove(other)
        l.start()
        l.nodes.append(other)
        begun = time.monotonic()
        l.settle(lambda: said(node, "no mirror target answers"), 25, "the warning")
        assert time.monotonic() - begun > 5, "a target may come a little later than the daemon"
        [warning] = said(node, "no mirror target answers")
        assert warning["level"] == "WARN" and "NetworkPolicy" in warning["fix"]
        assert warning["targets"] == (f"{dead}: Connection refused; {silent}: no answer within 2 s; "
                                      f"{other.daemon.url}: Connection refused")
        assert tree(node.containerd.certs_d) == before
        image = images.image(layers=1, layer_mb=1)
        node.pull(l.push(image))
        # One that comes late is not given up.
        other.daemon.start()
        l.settle(lambda: written(node), 10, "the configuration to be written")
        l.settle(lambda: said(node, "configuration written"))
        assert len(said(node, "no mirror target answers")) == 1


@pytest.mark.parametrize("first", ["refused", "silent", "another service"])
def test_one_target_that_answers_suffices_and_their_order_stays(first):
    """A hostPort that this pod cannot reach, or that nobody serves; the NodePort is in order."""
    with lab.Lab(nodes=0) as l:
        node = l.add_node(start=False)
        targets = [l.upstream.url if first == "another service" else f"http://{node.ip}:1",
                   f"http://{node.ip}:5000"]
        if first == "silent":
            node.host.run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "1", "-j", "DROP"])
        let_write(node, *targets)
        l.start()
        l.settle(lambda: written(node), what="the configuration to be written")
        assert re.findall(r"\[host\.'(.*)'\]", hosts_toml_of(node, "_default")) == targets
        l.settle(lambda: said(node, "configuration written"))
        assert [line["answered"] for line in said(node, "configuration written")] == targets[1:]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_a_target_at_the_loopback_of_the_node_is_not_looked_for_at_the_pods(host):
    """As with service.registry.nodeIp 127.0.0.1: the daemon's namespace is the pod's."""
    with lab.Lab(nodes=0, upstream=False) as l:
        node = l.add_node(start=False)
        let_write(node, f"http://{host}:30020", f"http://{host}:30021")
        l.start()
        l.settle(lambda: written(node), what="the configuration to be written")
        assert f"[host.'http://{host}:30020']" in hosts_toml_of(node, "_default")


def test_a_target_at_loopback_that_leads_elsewhere_is_not_written():
    with lab.Lab(nodes=0, upstream=False) as l:
        taken, alone = [l.add_node(start=False) for _ in range(2)]
        let_write(taken, "http://127.0.0.1:30020")
        # Nobody outside of its namespace reaches that one, so there is no other loopback to mean.
        alone.daemon.ready = lambda: bool(said(alone, "running"))
        let_write(alone, "http://127.0.0.1:30020", "--registry-addr", "127.0.0.1:5000")
        with other_service(taken, 30020):
            l.start()
            time.sleep(3)
            assert not written(taken) and not written(alone)


@pytest.mark.parametrize("written_before", [False, True])
def test_nothing_is_written_once_the_daemon_was_told_to_end(tmp_path, written_before):
    """It ends when its last stream does, and cleaning up may have begun before. What would be
    written: the first file, once a target answers; or the next, with a new password."""
    layout = Layout(tmp_path / "store")
    blob = random.Random(14).randbytes(8_000_000)
    _, manifest = layout.image("example.com/app:v1", [blob])
    auth = write_basic_auth(tmp_path / "auth", password="")
    certs_d = str(tmp_path / "certs.d")
    os.mkdir(certs_d)
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        node = l.add_node(start=False, stores=[layout.directory],
                          daemon_env={"SPEGEL_BASIC_AUTH_DIR": str(auth)})
        l.start()
        other = l.add_node(start=False)
        other.daemon.peers = [node.router]
        node.daemon.stop()
        node.daemon.args += ["--write-configuration", "--containerd-registry-config-path", certs_d,
                             "--mirror-targets", MIRROR if written_before else other.daemon.url]
        node.daemon.start()
        if written_before:
            l.settle(lambda: said(node, "configuration written"), what="the first file")
        before = tree(certs_d)
        client = l.add_host("client", 20)
        credentials = base64.b64encode(b"spegel:").decode()
        connection, reply = web.open_url(
            client, f"{node.daemon.url}/v2/app/blobs/{manifest['layers'][0]['digest']}",
            headers={"Authorization": f"Basic {credentials}"})
        got = reply.read(100_000)
        node.daemon.signal(signal.SIGTERM)
        l.settle(lambda: said(node, "leaving"))
        write_basic_auth(auth, password="haddock")
        other.daemon.start()
        time.sleep(6.5 if written_before else 2)  # the new password is seen within 5 s
        assert said(node, "draining") and node.daemon.alive
        assert tree(certs_d) == before
        got += reply.read()
        assert got == blob
        connection.close()
        assert node.daemon.stop() == 0
        assert tree(certs_d) == before


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "its owner's"])
def test_a_bootstrap_file_makes_a_node_pull_from_another_before_it_has_a_daemon(ours):
    """A new machine's containerd is pointed at a daemon that runs elsewhere already."""
    with lab.Lab(nodes=2) as l:
        holder, new = l.nodes
        image = images.image(layers=2, layer_mb=1)
        reference = l.push(image)
        holder.pull(reference)
        wait_known(l, reference, image, [holder])
        bootstrap = bootstrap_file(l.upstream.url, holder.daemon.url)
        if not ours:
            bootstrap = bootstrap.partition("\n")[2]
        new.containerd.write_hosts(l.upstream.address, bootstrap)
        l.upstream.cut()
        new.pull(reference)
        assert_holds(new, reference, image)
        before = tree(new.containerd.certs_d)
        new.configure("--mirrored-registries", l.upstream.url)
        assert MIRROR in hosts_toml_of(new) and "X-Spegel-Mirror" not in hosts_toml_of(new)
        run_cleanup(new)
        assert tree(new.containerd.certs_d) == ({} if ours else before)


def test_a_password_is_written_where_only_root_reads_it(tmp_path):
    directory = write_basic_auth(tmp_path / "auth")
    with lab.Lab(nodes=0, daemon_env={"SPEGEL_BASIC_AUTH_DIR": str(directory)}) as l:
        nodes = [l.add_node(start=False) for _ in range(2)]
        for node in nodes:
            node.daemon.args += ["--write-configuration", "--containerd-registry-config-path",
                                 node.containerd.certs_d, "--mirror-targets", MIRROR,
                                 "--mirrored-registries", l.upstream.url]
        l.start()
        l.settle(lambda: all("Basic " in hosts_toml_of(node) for node in nodes),
                 what="the configuration to be written")
        for node in nodes:
            path = os.path.join(node.containerd.certs_d, "registry.lab:5000", "hosts.toml")
            assert os.stat(path).st_mode & 0o777 == 0o600
        image = images.image(layers=2, layer_mb=1)
        reference = l.push(image)
        nodes[0].pull(reference)
        l.settle(lambda: nodes[1].daemon.metric("spegel_gossip_index_keys") >= 5,
                 what="the image to be known")
        sent = Sent(l.upstream)
        nodes[1].pull(reference)
        assert sent.bytes < NEXT_TO_NOTHING


@pytest.mark.timed
def test_a_new_password_is_written_within_five_seconds(tmp_path):
    """Until then containerd shows the old one, is refused, and goes upstream."""
    directory = write_basic_auth(tmp_path / "auth")
    with lab.Lab(nodes=0, daemon_env={"SPEGEL_BASIC_AUTH_DIR": str(directory)}) as l:
        node = l.add_node(start=False)
        node.daemon.args += ["--write-configuration", "--containerd-registry-config-path",
                             node.containerd.certs_d, "--mirror-targets", MIRROR,
                             "--mirrored-registries", l.upstream.url]
        l.start()
        for password in ("swordfish", "haddock", "red herring", ""):
            if password != "swordfish":
                write_basic_auth(directory, "spegel" if password else "", password)
            header = base64.b64encode(f"spegel:{password}".encode()).decode()
            took = l.settle(lambda h=header if password else "X-Spegel-Node": (
                h in hosts_toml_of(node) and ("Basic" in hosts_toml_of(node)) == bool(password)),
                            30, f"{password!r} to be written")
            # Each is written as soon as the last was, when the next look is farthest away.
            assert_seconds(took, 4.5, f"{password!r} in hosts.toml")


def test_a_directory_that_cannot_be_written_is_one_clear_line_and_exit_1():
    with lab.Lab(nodes=1, daemons=False, upstream=False) as l:
        done = l.nodes[0].host.run(
            [spegel.binary(), "configuration", "--containerd-registry-config-path",
             "/proc/certs.d", "--mirror-targets", MIRROR], check=False,
            stderr=subprocess.STDOUT, timeout=20)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 1
        assert [line["level"] for line in lines] == ["ERROR"] and "/proc" in lines[0]["err"]
