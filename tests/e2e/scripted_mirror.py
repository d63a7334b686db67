"""A mirror on a node's loopback that answers as a test says and notes what lay in containerd's
ingest directory when each request came."""

import collections
import hashlib
import os
import re
import socket
import threading
import time

PORT = 5990
URL = f"http://127.0.0.1:{PORT}"
KINDS = ("layer", "config", "manifest", "index", "attestation", "unknown")

# asked: method, reference in the path, Range header; and what was there when it came: its Ingest,
# or None.
Asked = collections.namedtuple("Asked", "method reference range ingest at_s")
# total as written, None if there is no such file; inode and size of data, None if there is none.
Ingest = collections.namedtuple("Ingest", "kind total inode size")


def ingest_path(containerd, digest, kind):
    """Where containerd keeps a download, by its digest."""
    name = hashlib.sha256(f"k8s.io/1/{kind}-{digest}".encode()).hexdigest()
    return os.path.join(containerd.content_path, "ingest", name)


def ingest_of(containerd, digest):
    """The download of a digest as it lies there now, or None."""
    for kind in KINDS:
        path = ingest_path(containerd, digest, kind)
        if not os.path.isdir(path):
            continue
        total = inode = size = None
        try:
            with open(os.path.join(path, "total"), encoding="ascii") as f:
                total = f.read()
            stat = os.stat(os.path.join(path, "data"))
            inode, size = stat.st_ino, stat.st_size
        except FileNotFoundError:
            pass
        return Ingest(kind, total, inode, size)
    return None


class ScriptedMirror:
    """answer(asked) gives None for a 404, or (whole, part): the body promised, and how much of it
    is sent before FIN, from the offset asked for."""

    def __init__(self, node, answer=lambda asked: None):
        self._containerd, self._answer = node.containerd, answer
        self.asked = []
        with node.host.inside():
            self._listener = socket.create_server(("127.0.0.1", PORT))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines:
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = lines.readline()
                    if not line:
                        return
                    head += line
                if not self._reply(connection, head.decode()):
                    return

    def _reply(self, connection, head):
        """False when the connection is to end."""
        method, target, _ = head.split(" ", 2)
        reference = target.partition("?")[0].rpartition("/")[2]
        asked_range = re.search(r"(?im)^range: *bytes=(\d+)-", head)
        offset = int(asked_range.group(1)) if asked_range else None
        there = ingest_of(self._containerd, reference)
        asked = Asked(method, reference, offset, there, time.monotonic())
        self.asked.append(asked)
        answer = self._answer(asked)
        if answer is None:
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True
        whole, part_bytes = answer
        first = offset or 0
        fields = f"Content-Range: bytes {first}-{len(whole) - 1}/{len(whole)}\r\n" if first else ""
        connection.sendall((f"HTTP/1.1 {'206 Partial Content' if first else '200 OK'}\r\n"
                            "Content-Type: application/octet-stream\r\n"
                            f"{fields}Content-Length: {len(whole) - first}\r\n\r\n").encode())
        connection.sendall(whole[first:first + part_bytes])
        connection.shutdown(socket.SHUT_WR)
        return False

    def gets(self, digest):
        """The GETs of a digest so far."""
        return [a for a in self.asked if a.method == "GET" and a.reference == digest]

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)  # or accept would hold the port
        self._listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
