"""Clients that break the rules, by malice or by mistake: the answer is an error of the
specification or a closed connection, and nobody else notices."""

import contextlib
import json
import random
import socket
import threading
import time

import pytest

import lab
from lab import images, web
from layouts import Layout
from support import (NEXT_TO_NOTHING, Sent, assert_holds, assert_seconds, file_limit, untimed,
                     wait_known)

BLOB = random.Random(11).randbytes(2_000_000)
SLOW_CONNECTIONS = 3000


@pytest.fixture(scope="module")
def node(built_daemon, tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("layout") / "store")
    _, manifest = layout.image("example.com/app:v1", [BLOB])
    with lab.Lab(nodes=0, upstream=False, containerd=False) as l:
        served = l.add_node(start=False, stores=[layout.directory])
        served.blob = f"/v2/app/blobs/{manifest['layers'][0]['digest']}"
        l.start()
        served.client = l.add_host("client")
        yield served


class Raw:
    """A connection for bytes that no HTTP library would send."""

    def __init__(self, node, timeout_s=10.0):
        self.socket = web.connect(node.client, node.ip, 5000, timeout_s)
        self._left = b""

    def send(self, data):
        self.socket.sendall(data)
        return self

    def _more(self):
        try:
            got = self.socket.recv(65536)
        except ConnectionResetError:
            got = b""
        self._left += got
        return bool(got)

    def reply(self, head_only=False):
        """(status, headers, body) of the next reply, skipping 100 Continue; None at the end."""
        while b"\r\n\r\n" not in self._left:
            if not self._more():
                assert not self._left, self._left
                return None
        head, _, self._left = self._left.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        status = int(first.split()[1])
        if status == 100:
            return self.reply(head_only)
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        length = 0 if head_only or status == 304 else int(headers["content-length"])
        while len(self._left) < length:
            assert self._more(), f"{len(self._left)} of {length} bytes"
        body, self._left = self._left[:length], self._left[length:]
        return status, headers, body

    def at_end(self):
        """Whether the server has closed, with nothing more to say."""
        return not self._left and not self._more()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def get(path, extra="", method="GET"):
    if isinstance(path, str):
        path = path.encode()
    return method.encode() + b" " + path + b" HTTP/1.1\r\nHost: node\r\n" + extra.encode() + b"\r\n"


def assert_problem(reply, statuses):
    status, headers, body = reply
    assert status in statuses, reply
    assert headers["content-type"].startswith("application/json")
    for error in json.loads(body)["errors"]:
        assert error["code"] and error["message"]


@pytest.fixture(autouse=True)
def still_well(request):
    """After each test the node answers others as if nothing had been."""
    yield
    if "node" in request.fixturenames:
        node = request.getfixturevalue("node")
        assert node.get(node.blob).body == BLOB


# --- requests that are refused ---


@pytest.mark.parametrize("path", [
    "/v2/../etc/passwd", "/v2/app/../../etc/passwd", "/v2/app/blobs/../../../etc/passwd",
    "/v2/app/manifests/..", "/v2/./app/manifests/v1", "/..", "/readyz/../v2/",
    "/v2/app/%2e%2e/manifests/v1", "/v2/%2e%2e/%2e%2e/etc/passwd", "/v2/app%2Fmanifests/v1",
    "/v2/app/manifests/v1%00", "/v2/app/manifests/%", "/v2/app\\..\\x/manifests/v1",
    "/v2/app/manifests/v1?ns=%00", "/v2/app/manifests/v1?ns=a%2Fb", "/v2/app/manifests/v1?ns=%zz",
    "/v2/" + "a" * 10_000 + "/manifests/v1", "/v2/" + "a/" * 3000 + "manifests/v1",
    "/v2/app/manifests/" + "v" * 5000, "/v2/app/blobs/sha256:" + "0" * 5000,
    "/v2/app/manifests/v1?ns=" + "h" * 5000, "/v2/_catalog?last=" + "l" * 5000,
    "/v2/_catalog?n=" + "9" * 100 + "x", "/" + "x" * 5000, "//v2//", "/v2/app/tags/list/",
])
def test_tricks_with_paths_are_refused_with_an_error_of_the_specification(node, path):
    with Raw(node) as raw:
        assert_problem(raw.send(get(path)).reply(), (400, 404, 414))
    with Raw(node) as raw:
        assert raw.send(get(path, method="HEAD")).reply(head_only=True)[0] in (400, 404, 414)


@pytest.mark.parametrize("line", [
    b"GET /v2/\0 HTTP/1.1\r\nHost: n\r\n\r\n", b"GET /v2/app/\xff\xfe HTTP/1.1\r\nHost: n\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /v2/ HTTP/1.1\r\nHost: n\r\nA\0B: c\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET v2 HTTP/1.1\r\nHost: n\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", bytes(100),
    b"GET /v2/ HTTP/1.1\r\nHost: n\r\n folded\r\n\r\n", b"GET /v2/ HTTP/1.1\nHost: n\n\n\r\n",
])
def test_garbage_is_answered_plainly_and_the_connection_ends(node, line):
    with Raw(node) as raw:
        reply = raw.send(line).reply()
        assert reply[0] in (400, 404, 505), reply
        if reply[0] != 404:
            assert raw.at_end()


@pytest.mark.parametrize("head", [
    get("/v2/", "X-Long: " + "x" * 20_000 + "\r\n"),
    get("/v2/", "".join(f"X-{n}: y\r\n" for n in range(500))),
])
def test_a_head_that_is_too_large_is_refused(node, head):
    with Raw(node) as raw:
        assert_problem(raw.send(head).reply(), (431,))
        assert raw.at_end()


def test_a_target_that_is_too_long_is_refused(node):
    with Raw(node) as raw:
        assert_problem(raw.send(get("/v2/" + "a" * 9000)).reply(), (414,))
        assert raw.at_end()


@pytest.mark.parametrize("extra, body", [
    ("Content-Length: 5\r\n", b"hello"),
    ("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ("Content-Length: 999999999999\r\n", b"x" * 300_000),
    ("Content-Length: 5\r\nExpect: 100-continue\r\n", b""),
])
def test_a_body_on_a_request_is_refused(node, extra, body):
    for method in ("GET", "POST"):
        with Raw(node) as raw:
            raw.send(get("/v2/", extra, method))
            with contextlib.suppress(OSError):  # closed while we still send
                raw.send(body)
            assert_problem(raw.reply(), (400, 405, 411, 413, 417))
            assert raw.at_end()


@pytest.mark.parametrize("extra", [
    "Content-Length: -1\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 0x10\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
])
def test_lengths_that_could_smuggle_a_request_end_the_connection(node, extra):
    with Raw(node) as raw:
        reply = raw.send(get("/v2/", extra) + get("/v2/_catalog")).reply()
        assert reply[0] in (400, 413), reply
        assert raw.at_end()  # the second is never answered


# --- requests that are fine ---


def test_pipelined_requests_are_answered_in_order(node):
    with Raw(node) as raw:
        raw.send(get("/v2/") + get(node.blob) + get(node.blob, method="HEAD") +
                 get("/v2/none/manifests/v1") + get(node.blob, "Range: bytes=-4\r\n") +
                 get("/v2/_catalog", "Connection: close\r\n"))
        assert raw.reply()[0] == 200
        status, _, body = raw.reply()
        assert status == 200 and body == BLOB
        assert raw.reply(head_only=True)[0] == 200
        assert raw.reply()[0] == 404
        status, _, body = raw.reply()
        assert status == 206 and body == BLOB[-4:]
        status, headers, body = raw.reply()
        assert headers["connection"] == "close" and json.loads(body) == {"repositories": ["app"]}
        assert raw.at_end()


def test_a_head_may_come_byte_by_byte(node):
    with Raw(node) as raw:
        for byte in get("/v2/"):
            raw.send(bytes([byte]))
        assert raw.reply()[0] == 200


def test_expecting_100_continue_without_a_body_is_no_problem(node):
    with Raw(node) as raw:
        status, _, body = raw.send(get(node.blob, "Expect: 100-continue\r\n")).reply()
        assert status == 200 and body == BLOB


def test_http_1_0_is_answered_and_closed(node):
    with Raw(node) as raw:
        status, _, body = raw.send(b"GET " + node.blob.encode() + b" HTTP/1.0\r\n\r\n").reply()
        assert status == 200 and body == BLOB
        assert raw.at_end()


def test_a_client_that_leaves_in_the_middle_of_a_body_leaves_nothing_behind(node):
    files = node.daemon.open_files()
    for _ in range(50):
        with Raw(node) as raw:
            raw.send(get(node.blob))
            raw.socket.recv(1000)
    deadline = time.monotonic() + 5
    while node.daemon.open_files() > files + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert node.daemon.open_files() <= files + 2
    assert node.daemon.metric("spegel_http_streams") == 0


@pytest.mark.timed
def test_a_slow_head_is_closed_and_counted(node):
    before = node.daemon.metric("spegel_http_refused_total", reason="slow_head")
    with Raw(node, timeout_s=30) as raw:
        begun = time.monotonic()
        raw.send(b"GET /v2/ HTTP/1.1\r\nHost:")
        stop = threading.Event()

        def drip():  # a byte a second does not buy more time
            while not stop.wait(1):
                with contextlib.suppress(OSError):
                    raw.send(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert raw.at_end()
        finally:
            stop.set()
            thread.join()
        assert_seconds(time.monotonic() - begun, 12.0, "closing a slow head")
    assert node.daemon.metric("spegel_http_refused_total", reason="slow_head") > before


def test_refusals_are_counted(node):
    for bytes_sent in (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", get("/v2/", "X: " + "x" * 20_000 + "\r\n"),
                       get("/v2/", "Content-Length: 5\r\n"), get("/v2/../etc/passwd")):
        with Raw(node) as raw:
            assert raw.send(bytes_sent).reply()
    metrics = node.daemon.metrics()
    for reason in ("bad_request", "head_too_large", "target_too_long", "with_body", "bad_path",
                   "bad_method"):
        assert f'spegel_http_refused_total{{reason="{reason}"}}' in metrics
    for reason in ("bad_request", "head_too_large", "with_body", "bad_path"):
        assert metrics[f'spegel_http_refused_total{{reason="{reason}"}}'] > 0


# --- crowds ---


@contextlib.contextmanager
def slow_connections(client, address, count):
    """That many connections from one host, each with half a head sent."""
    opened = []
    try:
        with client.inside():
            for _ in range(count):
                s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                opened.append(s)
                s.setblocking(False)
                s.connect_ex((address, 5000))
        deadline = time.monotonic() + 5
        waiting = list(opened)
        while waiting and time.monotonic() < deadline:
            still = []
            for s in waiting:
                try:
                    s.send(b"GET /v2/ HTTP/1.1\r\nHost: slow\r\nX-")
                except BlockingIOError:
                    still.append(s)
                except OSError:
                    pass  # refused: its address has its share
            waiting = still
            time.sleep(0.01)
        yield opened
    finally:
        for s in opened:
            s.close()


@pytest.mark.timed
def test_three_thousand_slow_connections_disturb_no_request(node):
    with file_limit(SLOW_CONNECTIONS + 2000):
        with slow_connections(node.client, node.ip, SLOW_CONNECTIONS):
            assert node.daemon.metric("spegel_http_connections") > 1000
            other = node.lab.add_host("other")
            worst = 0.0
            for _ in range(20):
                for host, address in ((other, node.ip), (node.host, "127.0.0.1")):
                    reply = web.request(host, f"http://{address}:5000{node.blob}")
                    assert reply.status == 200 and reply.body == BLOB
                    worst = max(worst, reply.total_s)
            assert_seconds(worst, 0.5, "the slowest request")
            assert node.daemon.open_files() < 5000


@pytest.mark.timed
def test_three_thousand_slow_connections_disturb_no_pull(built_daemon, installed_containerd):
    with lab.Lab(nodes=2) as l, file_limit(2 * SLOW_CONNECTIONS + 2000):
        image = images.image(layers=2, layer_mb=2)
        reference = l.push(image)
        holder, puller = l.nodes
        client = l.add_host("client")
        holder.pull(reference)
        wait_known(l, reference, image)
        undisturbed_s = puller.pull(reference)
        puller.remove(reference)
        sent = Sent(l.upstream)
        with slow_connections(client, holder.ip, SLOW_CONNECTIONS), \
                slow_connections(client, puller.ip, SLOW_CONNECTIONS):
            seconds = puller.pull(reference)
        assert_holds(puller, reference, image)
        assert sent.bytes < NEXT_TO_NOTHING
        assert_seconds(seconds, undisturbed_s + 0.5, f"{undisturbed_s:.2f} s undisturbed; now")


@pytest.mark.timed
def test_memory_stays_bounded_while_many_read_slowly(node):
    if untimed():
        pytest.skip("memory is measured on the release build")
    before = node.daemon.memory_bytes("RssAnon")
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(Raw(node)).send(get(node.blob))
        time.sleep(1)
        assert node.daemon.memory_bytes("RssAnon") - before < 8 << 20
