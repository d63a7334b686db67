"""HTTP from inside a host's namespace, without starting a process for each request."""

import http.client
import socket
import time
import urllib.parse


class Response:
    """A complete reply: status, headers (case-insensitive get), body, times in seconds since the
    request was begun."""

    def __init__(self, status, headers, body, head_s, total_s):
        self.status, self.headers, self.body = status, headers, body
        self.head_s, self.total_s = head_s, total_s

    def __repr__(self):
        return f"<{self.status} {len(self.body)} bytes {self.body[:200]!r}>"


class _Connection(http.client.HTTPConnection):
    def __init__(self, lab_host, address, port, timeout):
        super().__init__(address, port, timeout=timeout)
        self._lab_host = lab_host

    def connect(self):
        self.sock = connect(self._lab_host, self.host, self.port, self.timeout)


def connect(host, address, port, timeout_s=10.0):
    """A TCP connection made on host; address is numeric."""
    with host.inside():
        sock = socket.create_connection((address, port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def open_url(host, url, method="GET", headers=None, body=None, timeout_s=10.0):
    """Sends a request from host; returns (connection, http.client.HTTPResponse) with the body
    still to be read. The caller closes the connection."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http":
        raise ValueError(f"only http here: {url}")
    connection = _Connection(host, parts.hostname, parts.port or 80, timeout_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request(method, target, body=body, headers=headers or {})
    return connection, connection.getresponse()


def request(host, url, method="GET", headers=None, body=None, timeout_s=10.0):
    """One request from host, read to its end, over a connection of its own."""
    begun = time.monotonic()
    connection, reply = open_url(host, url, method, headers, body, timeout_s)
    try:
        head_s = time.monotonic() - begun
        data = reply.read()
        return Response(reply.status, reply.headers, data, head_s, time.monotonic() - begun)
    finally:
        connection.close()
