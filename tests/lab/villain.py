"""Proxies that do harm, put before a real server by a rule of its host's netfilter."""

import re
import socket
import threading

from . import web

CHUNK_BYTES = 1 << 16
_REQUEST = re.compile(rb"^(GET|HEAD) (\S+) HTTP/1\.1\r\n")


class Proxy:
    """On a host, before its port: connections from elsewhere (from_ip: only from there) come here.
    One request a connection; close() ends it and takes the rule away."""

    def __init__(self, host, port, from_ip=None):
        self._host, self._port = host, port
        self._closed = False
        self.requests = 0
        with host.inside():
            self._listener = socket.create_server(("::", 0), family=socket.AF_INET6,
                                                  dualstack_ipv6=True)
        self._rules = []
        own_port = self._listener.getsockname()[1]
        source = ["-s", from_ip] if from_ip else []
        for tool in ("iptables", "ip6tables") if not from_ip else ("iptables",):
            self._rules.append([tool, "-t", "nat", "{}", "PREROUTING", *source, "-p", "tcp",
                                "--dport", str(port), "-j", "REDIRECT", "--to-ports",
                                str(own_port)])
        self._change_rules("-A")
        threading.Thread(target=self._accept, daemon=True).start()

    def _change_rules(self, verb):
        for rule in self._rules:
            self._host.run([verb if word == "{}" else word for word in rule])

    def close(self):
        if not self._closed:
            self._closed = True
            self._change_rules("-D")
            self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_quietly, args=(client,), daemon=True).start()

    def _serve_quietly(self, client):
        with client:
            try:
                self._serve(client)
            except OSError:
                pass  # either side left

    def _serve(self, client):
        client.settimeout(60)
        head = b""
        while b"\r\n\r\n" not in head:
            received = client.recv(CHUNK_BYTES)
            if not received:
                return
            head += received
        request = _REQUEST.match(head)
        self.requests += 1
        if request and not self.answer(client, request[2]):
            with web.connect(self._host, self._host.ip, self._port, 60) as server:
                server.sendall(re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
                               .replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                self._pass(server, client, request[2])

    def _pass(self, server, client, path):
        head = b""
        while b"\r\n\r\n" not in head:
            received = server.recv(CHUNK_BYTES)
            if not received:
                return
            head += received
        head, _, body = head.partition(b"\r\n\r\n")
        client.sendall(head + b"\r\n\r\n")
        offset = 0
        while body:
            client.sendall(self.change(path, offset, body))
            offset += len(body)
            body = server.recv(CHUNK_BYTES)

    def answer(self, client, path):
        """To be overridden: True if it answered by itself."""
        return False

    def change(self, path, offset, body):
        """To be overridden: a part of a body, as it is passed on."""
        return body


class Corrupter(Proxy):
    """Passes everything on, but turns over a byte of one blob, or of each that has so many."""

    OFFSET = 1_000_000

    def __init__(self, host, port, digest=""):
        self._digest = digest.encode()
        super().__init__(host, port)

    def change(self, path, offset, body):
        at = self.OFFSET - offset
        if b"/blobs/" + self._digest not in path or not 0 <= at < len(body):
            return body
        return body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1:]


class Refuser(Proxy):
    """A registry that lets somebody see manifests and no blobs."""

    def answer(self, client, path):
        if b"/blobs/" not in path:
            return False
        body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
        client.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"
                       b'WWW-Authenticate: Basic realm="lab"\r\nConnection: close\r\n'
                       b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return True
