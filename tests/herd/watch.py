"""Asking many daemons the same thing again and again, from one thread: who knew what when."""

import json
import selectors
import time

from lab import web

HEAD_END = b"\r\n\r\n"


class _Asker:
    """One daemon's kept connection: asks, reads, asks again `every_s` later."""

    def __init__(self, node, port, request, every_s):
        self.node, self.request, self.every_s = node, request, every_s
        self._port = port
        self.socket = None
        self.next_at = 0.0
        self.waits = False
        self._data = b""

    def ask(self):
        if self.socket is None:
            self.socket = web.connect(self.node.host, "127.0.0.1", self._port, 2.0)
            self.socket.setblocking(False)
        self._data = b""
        self.waits = True
        self.socket.send(self.request)

    def read(self):
        """(status, body) once complete, else None."""
        got = self.socket.recv(262144)
        if not got:
            raise ConnectionResetError
        self._data += got
        head, end, body = self._data.partition(HEAD_END)
        if not end:
            return None
        length = 0
        if not self.request.startswith(b"HEAD"):
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
        if len(body) < length:
            return None
        self.waits = False
        self.next_at = time.monotonic() + self.every_s
        return int(head.split()[1]), body

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.waits = None, False


def ask_until(nodes, port, method, path, every_s, is_done, timeout_s):
    """Asks each node's daemon until is_done(node, status, body) for it; returns {node: time} (of
    time.monotonic()), without those that were not done in time."""
    request = f"{method} {path} HTTP/1.1\r\nHost: node\r\n\r\n".encode()
    askers = [_Asker(n, port, request, every_s) for n in nodes]
    done = {}
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        try:
            while len(done) < len(askers) and time.monotonic() < deadline:
                _ask_due(selector, [a for a in askers if a.node not in done])
                for key, _ in selector.select(0.002):
                    asker = key.data
                    try:
                        answer = asker.read()
                    except OSError:
                        selector.unregister(asker.socket)
                        asker.close()
                        asker.next_at = time.monotonic() + every_s
                        continue
                    if answer and is_done(asker.node, *answer):
                        done[asker.node] = time.monotonic()
        finally:
            for asker in askers:
                asker.close()
    return done


def _ask_due(selector, askers):
    now = time.monotonic()
    for asker in askers:
        if asker.waits or now < asker.next_at:
            continue
        fresh = asker.socket is None
        try:
            asker.ask()
        except OSError:
            if not fresh:
                selector.unregister(asker.socket)
            asker.close()
            asker.next_at = now + asker.every_s
            continue
        if fresh:
            selector.register(asker.socket, selectors.EVENT_READ, asker)


def view(body):
    """{id: member} of what /debug/cluster said."""
    return {m["id"]: m for m in json.loads(body)["members"]}
