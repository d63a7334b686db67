"""The daemon as a process: how it starts, what stops it from starting, how it ends."""

import json
import os
import random
import signal
import socket
import time

import pytest

import lab
from lab import images, spegel, web
from layouts import Layout
from support import assert_seconds, knows, paths, wait_known

BLOB = random.Random(12).randbytes(4_000_000)

pytestmark = pytest.mark.usefixtures("built_daemon")


def run_registry(host, *args, timeout_s=20):
    """Runs a daemon to its end: (exit status, log lines as JSON)."""
    done = host.run([spegel.binary(), "registry", *args], check=False, timeout=timeout_s)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def layout_node(tmp_path):
    """A daemon that serves a layout, and a client behind a slow link to it."""
    layout = Layout(tmp_path / "store")
    _, manifest = layout.image("example.com/app:v1", [BLOB])
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        node = l.add_node(start=False, stores=[layout.directory])
        l.start()
        node.client = l.add_host("client", 20)
        node.blob_url = f"{node.daemon.url}/v2/app/blobs/{manifest['layers'][0]['digest']}"
        yield node


# --- ending ---


def readiness(node):
    """(status, body) of /readyz; (None, None) when nobody answers."""
    try:
        reply = node.get("/readyz", timeout_s=1.0)
        return reply.status, json.loads(reply.body)
    except OSError:
        return None, None


def assert_says_that_it_leaves(node):
    status, body = readiness(node)
    assert status == 503 and body["leaving"] is True and body["ok"] is False, (status, body)
    assert body["contents_listed"] and body["cluster_joined"], "leaving is all that is wrong"


@pytest.mark.timed
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_running_streams_end_before_the_daemon_does(layout_node, number):
    node = layout_node
    connection, reply = web.open_url(node.client, node.blob_url)
    got = reply.read(100_000)
    node.daemon.signal(number)
    deadline = time.monotonic() + 5
    while '"draining"' not in node.daemon.log():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # Nothing is begun any more: a peer asks another node, containerd its next host.
    from_peer = node.get(node.blob_url, headers={"X-Spegel-Mirrored": "true"})
    assert from_peer.status == 503 and from_peer.headers["Retry-After"]
    assert node.get(node.blob_url).status == 404
    # Who watches is answered to the end.
    for _ in range(3):
        assert_says_that_it_leaves(node)
        assert answers(node, "/livez") == 200
        assert node.daemon.metric("spegel_gossip_members", state="alive") == 0
        time.sleep(0.1)
    assert node.daemon.alive
    got += reply.read()
    assert got == BLOB
    connection.close()
    begun = time.monotonic()
    assert node.daemon.wait() == 0
    assert_seconds(time.monotonic() - begun, 1.0, "ending after the last stream")
    node.daemon.stop()  # so that the lab knows that it was asked to end


@pytest.mark.timed
def test_who_chose_a_node_just_before_it_leaves_is_still_served(layout_node):
    node = layout_node
    node.daemon.signal(signal.SIGTERM)
    begun = time.monotonic()
    head = node.get(node.blob_url, "HEAD", headers={"X-Spegel-Mirrored": "true"})
    status, body = readiness(node)
    in_time = time.monotonic() - begun < 0.2  # the grace is 0.25 s, and the machine may be busy
    assert head.status == 200 or not in_time, head
    assert status == 503 and body["leaving"] or not in_time, body
    assert node.daemon.wait() == 0
    assert_seconds(time.monotonic() - begun, 0.5, "ending")
    node.daemon.stop()


@pytest.mark.timed
def test_a_second_signal_ends_it_at_once(layout_node):
    node = layout_node
    connection, reply = web.open_url(node.client, node.blob_url)
    reply.read(100_000)
    node.daemon.signal(signal.SIGTERM)
    time.sleep(0.2)
    assert node.daemon.alive
    node.daemon.signal(signal.SIGTERM)
    begun = time.monotonic()
    node.daemon.stop()
    assert_seconds(time.monotonic() - begun, 0.5, "ending")
    connection.close()


@pytest.mark.timed
def test_a_node_that_leaves_is_forgotten_at_once(tmp_path):
    layout = Layout(tmp_path / "store")
    _, manifest = layout.image("example.com/app:v1", [BLOB])
    path = f"/v2/app/blobs/{manifest['layers'][0]['digest']}?ns=example.com"
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        leaving = l.add_node(start=False, stores=[layout.directory])
        others = [l.add_node(start=False) for _ in range(3)]
        l.start()
        l.settle(lambda: all(n.get(path, "HEAD").status == 200 for n in others))
        assert leaving.daemon.stop() == 0
        seconds = l.settle(lambda: all(n.get(path, "HEAD").status == 404 for n in others))
        assert_seconds(seconds, 0.5, "forgetting")
        for node in others:
            reply = node.get(path)
            assert json.loads(reply.body)["errors"][0]["detail"]["attempts"] == []


@pytest.mark.timed
def test_an_idle_daemon_ends_at_once_and_says_only_json():
    with lab.Lab(nodes=1, upstream=False, containerd=False) as l:
        daemon = l.nodes[0].daemon
        begun = time.monotonic()
        assert daemon.stop() == 0
        assert_seconds(time.monotonic() - begun, 0.5, "ending")
        for line in daemon.log().splitlines():
            assert {"time", "level", "msg"} <= set(json.loads(line))


# --- what it cannot do without ---


@pytest.mark.parametrize("flag, protocol", [("--registry-addr", "tcp"), ("--router-addr", "udp"),
                                            ("--metrics-addr", "tcp")])
def test_an_address_in_use_is_one_clear_line_and_exit_1(layout_node, tmp_path, flag, protocol):
    ports = {"--registry-addr": 5000, "--router-addr": 5001, "--metrics-addr": 9090}
    args = []
    for name, port in ports.items():
        args += [name, f":{port if name == flag else port + 1000}"]
    status, lines = run_registry(layout_node.host, "--store", f"oci-layout:{tmp_path}/store", *args)
    assert status == 1
    errors = [line for line in lines if line["level"] == "ERROR"]
    assert len(errors) == 1
    text = errors[0]["err"]
    assert flag in text and str(ports[flag]) in text and "in use" in text, text


@pytest.mark.parametrize("args, words", [
    (["--registry-addr", "192.0.2.1:6000"], "192.0.2.1"),
    (["--store", "oci-layout:/nowhere"], "/nowhere"),
    (["--mirrored-registries", "registry.lab:5000"], "registry.lab:5000"),
    (["--data-dir", "/proc/nowhere"], "/proc/nowhere"),
])
def test_what_can_never_work_is_one_clear_line_and_exit_1(layout_node, tmp_path, args, words):
    other_ports = ["--registry-addr", ":6000", "--router-addr", ":6001", "--metrics-addr", ":6002"]
    status, lines = run_registry(layout_node.host, "--store", f"oci-layout:{tmp_path}/store",
                                 *other_ports, *args)
    assert status == 1
    errors = [line for line in lines if line["level"] == "ERROR"]
    assert len(errors) == 1 and words in errors[0]["err"], lines


@pytest.mark.parametrize("args, words", [
    (["--registry-addr", "nonsense"], ["--registry-addr", "nonsense"]),
    (["--mirror-resolve-timeout", "20"], ["--mirror-resolve-timeout", '"20"']),
    (["--mirror-resolve-retries=-1"], ["--mirror-resolve-retries", "-1"]),
    (["--bootstrap-kind", "magic"], ["--bootstrap-kind", "magic", "dns"]),
    (["--no-such-flag"], ["no-such-flag"]),
    ([], ["--bootstrap-kind"]),
])
def test_bad_flags_are_named_with_what_is_allowed_and_exit_2(layout_node, args, words):
    done = layout_node.host.run([spegel.binary(), "registry", *args], check=False, timeout=20)
    assert done.returncode == 2
    errors = [line for line in done.stdout.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and all(word in errors[0] for word in words), done.stdout


# --- who it is ---


@pytest.mark.parametrize("first, second, same", [
    ({}, {}, True),
    ({"NODE_NAME": "a"}, {"NODE_NAME": "a"}, True),
    ({"NODE_NAME": "a"}, {"NODE_NAME": "b"}, False),
    ({"NODE_NAME": "a"}, {}, False),
    ({"NODE_IP": "192.0.2.1"}, {"NODE_IP": "192.0.2.1"}, True),
    ({"NODE_IP": "192.0.2.1"}, {"NODE_IP": "192.0.2.2"}, False),
    ({"NODE_NAME": "a", "NODE_IP": "192.0.2.1"}, {"NODE_NAME": "a", "NODE_IP": "192.0.2.2"}, True),
    ({}, {"NODE_NAME": "", "NODE_IP": ""}, True),
], ids=str)
def test_the_node_that_the_identity_belongs_to_is_named_by_the_environment(
        layout_node, first, second, same):
    ids = []
    for environment in (first, second):
        layout_node.daemon.stop()
        layout_node.daemon.environment_extra = environment
        layout_node.daemon.start()
        with open(os.path.join(layout_node.daemon.data_dir, "gossip-identity")) as f:
            ids.append(f.readline())
    assert ids[0].startswith("id ") and (ids[0] == ids[1]) is same, ids


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_supervisor_is_told_when_it_listens_and_when_it_stops(layout_node, tmp_path, kind):
    node = layout_node
    node.daemon.stop()
    with node.host.inside():  # abstract names belong to a network namespace
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver:
        receiver.settimeout(10.0)
        name = str(tmp_path / "told") if kind == "path" else "@spegel-test"
        receiver.bind(name.replace("@", "\0"))
        node.daemon.environment_extra = {"NOTIFY_SOCKET": name}
        node.daemon.start()
        assert receiver.recv(4096) == b"READY=1"
        assert answers(node, "/livez") == 200
        assert node.daemon.stop() == 0
        assert receiver.recv(4096) == b"STOPPING=1"


@pytest.mark.parametrize("name", ["relative", "@", "/" + "x" * 200, "/nowhere/at/all"])
def test_a_supervisor_that_cannot_be_told_is_one_warning_each(layout_node, name):
    node = layout_node
    node.daemon.stop()
    before = len(node.daemon.log())
    node.daemon.environment_extra = {"NOTIFY_SOCKET": name}
    node.daemon.start()
    assert answers(node, "/livez") == 200
    assert node.daemon.stop() == 0
    said = [json.loads(line) for line in node.daemon.log()[before:].splitlines()]
    assert [(line["state"], line["msg"]) for line in said if line["level"] == "WARN"] == [
        (state, "the supervisor cannot be told") for state in ("READY=1", "STOPPING=1")]


def test_the_key_that_the_go_implementation_left_is_left_alone(layout_node):
    """Rolled back to, it is the same instance as before."""
    layout_node.daemon.stop()
    path = os.path.join(layout_node.daemon.data_dir, "private.key")
    key = random.Random(13).randbytes(68)
    with open(path, "wb") as f:
        f.write(key)
    os.chmod(path, 0o600)
    before = os.stat(path)
    for _ in range(2):
        layout_node.daemon.start()
        layout_node.lab.settle(lambda: readiness(layout_node)[0] == 200, what="it to be ready")
        assert layout_node.daemon.stop() == 0
    after = os.stat(path)
    with open(path, "rb") as f:
        assert f.read() == key
    assert (after.st_mode, after.st_ino, after.st_mtime_ns) == \
        (before.st_mode, before.st_ino, before.st_mtime_ns)
    assert "gossip-identity" in os.listdir(layout_node.daemon.data_dir)  # it was the one to be used


# --- what may come later ---


def test_a_containerd_that_comes_later_is_waited_for(installed_containerd):
    with lab.Lab(nodes=0) as l:
        node = l.add_node(start=False)
        node.daemon.peers = [node.router]
        node.daemon.launch()
        l.settle(lambda: node.daemon.alive and answers(node, "/livez") == 200,
                 what="the daemon to live")
        time.sleep(1.0)
        reply = node.get("/readyz")
        assert reply.status == 503 and json.loads(reply.body)["contents_listed"] is False
        log = [json.loads(line) for line in node.daemon.log().splitlines()]
        about = [line for line in log if node.containerd.socket in json.dumps(line)]
        assert 1 <= len(about) <= 3, "it says once what it waits for"
        node.containerd.start()
        l.settle(lambda: answers(node, "/readyz") == 200, 6.0, "the daemon to be ready")
        image = images.image(layers=1, layer_mb=0.5)
        reference = l.push(image)
        node.pull(reference)
        wait_known(l, reference, image)


def answers(node, path):
    try:
        return node.get(path, timeout_s=1.0).status
    except OSError:
        return None


def test_ready_holds_when_containerd_goes_and_its_blobs_are_served_on(installed_containerd):
    with lab.Lab(nodes=2) as l:
        image = images.image(layers=1, layer_mb=0.5)
        reference = l.push(image)
        holder, other = l.nodes
        holder.pull(reference)
        wait_known(l, reference, image)
        holder.containerd.stop()
        time.sleep(0.5)
        reply = holder.get("/readyz")
        assert reply.status == 200 and json.loads(reply.body)["containerd_connected"] is False
        assert holder.daemon.metric("spegel_containerd_connected") == 0
        assert knows(other, reference, image)
        other.pull(reference)


def test_blobs_that_vanish_while_containerd_is_away_are_not_offered(installed_containerd):
    with lab.Lab(nodes=2) as l:
        image = images.image(layers=2, layer_mb=0.5)
        reference = l.push(image)
        holder, other = l.nodes
        holder.pull(reference)
        wait_known(l, reference, image)
        holder.containerd.stop()
        for digest in image.digests:
            os.unlink(holder.containerd.blob_path(digest))
        for path in paths(reference, image):
            l.settle(lambda path=path: other.get(path, "HEAD").status == 404, what=path)
        assert holder.daemon.alive
