"""Containerd's part, played: for clusters of more nodes than real containerds fit on a machine.

A Puppet answers the few gRPC calls that the daemon makes, keeps a content store on disk as
containerd lays it out, and pulls like it: from its own mirror first, else from upstream, continuing
where a stream broke, in 1 MiB writes to ingest/<H>/data and a rename at the end, three blobs at a
time. Nothing is unpacked. All puppets of a cluster share one asyncio loop.
"""

import asyncio
import hashlib
import json
import os
import shutil
import socket

import grpc
from grpc import aio

from . import rpc
from .net import LabError
from .spegel import REGISTRY_PORT

VERSION = "2.1.9"  # the least that tells of contents by events
WRITE_BYTES = 1 << 20
RECEIVE_BYTES = 1 << 18
DOWNLOADS_AT_ONCE = 3
TRIES_WITHOUT_PROGRESS = 4
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_SERVICES = "/containerd.services."


class _Handler(grpc.GenericRpcHandler):
    """Calls as raw bytes: methods are {path: (function of the decoded request, is a stream)}."""

    def __init__(self, methods):
        self._methods = methods

    def service(self, call):
        found = self._methods.get(call.method)
        if not found:
            return None
        function, streams = found
        if streams:
            return grpc.unary_stream_rpc_method_handler(function)
        return grpc.unary_unary_rpc_method_handler(function)


class Broken(Exception):
    """The stream ended early."""


class Puppet:
    """One node's. socket: for --containerd-sock."""

    def __init__(self, host, directory, upstream, mirror_ip="127.0.0.1"):
        """upstream: a lab Registry. mirror_ip: its own daemon's."""
        self.host, self._upstream, self._mirror_ip = host, upstream, mirror_ip
        self.socket = os.path.join(directory, "c.sock")
        self.root = os.path.join(directory, "content")
        self._content, self._images, self._subscribers = {}, {}, []
        self._server = None
        self.from_upstream_bytes = 0
        for name in ("ingest", "blobs/sha256"):
            os.makedirs(os.path.join(self.root, name), exist_ok=True)

    # --- what the daemon asks ---

    async def serve(self):
        self._server = aio.server()
        self._server.add_generic_rpc_handlers([_Handler({
            _SERVICES + "version.v1.Version/Version": (self._version, False),
            _SERVICES + "introspection.v1.Introspection/Plugins": (self._plugins, False),
            _SERVICES + "events.v1.Events/Subscribe": (self._subscribe, True),
            _SERVICES + "images.v1.Images/List": (self._list_images, False),
            _SERVICES + "images.v1.Images/Get": (self._get_image, False),
            _SERVICES + "content.v1.Content/List": (self._list_content, True),
            _SERVICES + "content.v1.Content/Info": (self._info, False)})])
        self._server.add_insecure_port("unix:" + self.socket)
        await self._server.start()

    async def stop(self):
        for queue in self._subscribers:
            queue.put_nowait(None)
        await self._server.stop(0)

    async def _version(self, _request, _context):
        return rpc.encode([(1, VERSION)])

    async def _plugins(self, _request, _context):
        return rpc.encode([(1, [(1, "io.containerd.content.v1"), (2, "content"),
                                (5, [(1, "root"), (2, self.root)])])])

    async def _subscribe(self, _request, _context):
        queue = asyncio.Queue()
        self._subscribers.append(queue)
        try:
            while (message := await queue.get()) is not None:
                yield message
        finally:
            self._subscribers.remove(queue)

    def _tell(self, topic, type_url, fields):
        envelope = rpc.encode([(2, "k8s.io"), (3, topic), (4, [(1, type_url),
                                                             (2, rpc.encode(fields))])])
        for queue in self._subscribers:
            queue.put_nowait(envelope)

    def _image(self, name):
        digest, size = self._images[name]
        return [(1, name), (3, [(1, MANIFEST), (2, digest), (3, size)])]

    async def _list_images(self, _request, _context):
        return rpc.encode([(1, self._image(name)) for name in self._images])

    async def _get_image(self, request, context):
        name = rpc.text(rpc.decode(request), 1)
        if name not in self._images:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"image {name}: not found")
        return rpc.encode([(1, self._image(name))])

    def _content_info(self, digest):
        source = [(1, "containerd.io/distribution.source.registry.lab"), (2, "app")]
        return [(1, digest), (2, self._content[digest]), (5, source)]

    async def _list_content(self, _request, _context):
        digests = list(self._content)
        for i in range(0, len(digests), 100):
            yield rpc.encode([(1, self._content_info(d)) for d in digests[i:i + 100]])

    async def _info(self, request, context):
        digest = rpc.text(rpc.decode(request), 1)
        if digest not in self._content:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"content {digest}: not found")
        return rpc.encode([(1, self._content_info(digest))])

    # --- pulling ---

    async def pull(self, repository, tag):
        """Returns the manifest's digest. Raises LabError."""
        digest = await self._resolve(repository, tag)
        at_once = asyncio.Semaphore(DOWNLOADS_AT_ONCE)

        async def fetch(kind, one):
            async with at_once:
                await self._fetch(kind, repository, one["digest"], one["size"])

        await self._fetch("manifest", repository, digest, None)
        with open(self.blob_path(digest), "rb") as f:
            manifest = json.load(f)
        await asyncio.gather(fetch("config", manifest["config"]),
                             *(fetch("layer", layer) for layer in manifest["layers"]))
        name = f"{self._upstream.address}/{repository}:{tag}"
        self._images[name] = digest, self._content[digest]
        self._tell("/images/create", "containerd.services.images.v1.ImageCreate", [(1, name)])
        return digest

    def blob_path(self, digest):
        return os.path.join(self.root, "blobs", *digest.split(":"))

    def _hosts(self):
        """Whom to ask, in order: (address, port, query)."""
        return [(self._mirror_ip, REGISTRY_PORT, f"?ns={self._upstream.address}"),
                (self._upstream.host.ip, self._upstream.PORT, "")]

    async def _resolve(self, repository, tag):
        for address, port, query in self._hosts():
            path = f"/v2/{repository}/manifests/{tag}{query}"
            answer = await _Answer.of(self.host, address, port, "HEAD", path, 0)
            answer.close()
            if answer.status == 200:
                return answer.fields["docker-content-digest"]
        raise LabError(f"{self.host.name}: nobody has {repository}:{tag}")

    async def _fetch(self, kind, repository, digest, size):
        if digest in self._content:
            return
        what = "manifests" if kind == "manifest" else "blobs"
        reference = f"{kind}-{digest}"
        ingest = os.path.join(self.root, "ingest",
                              hashlib.sha256(f"k8s.io/1/{reference}".encode()).hexdigest())
        os.makedirs(ingest)
        with open(os.path.join(ingest, "ref"), "w", encoding="ascii") as f:
            f.write(f"k8s.io/1/{reference}")
        if size is not None:
            with open(os.path.join(ingest, "total"), "w", encoding="ascii") as f:
                f.write(str(size))
        with open(os.path.join(ingest, "data"), "wb", buffering=0) as data:
            await self._download(f"/v2/{repository}/{what}/{digest}", data)
        await self._commit(ingest, digest)

    async def _download(self, path, data):
        """All of it, from whoever answers first, and after a break from all of them again."""
        offset, fruitless = 0, 0
        while fruitless < TRIES_WITHOUT_PROGRESS:
            before = offset
            for address, port, query in self._hosts():
                answer = await _Answer.of(self.host, address, port, "GET", path + query, offset)
                try:
                    if answer.status not in (200, 206):
                        continue
                    async for piece in answer.pieces():
                        data.write(piece)
                        offset += len(piece)
                        self.from_upstream_bytes += len(piece) if not query else 0
                    return
                except Broken:
                    break
                finally:
                    answer.close()
            fruitless = 0 if offset > before else fruitless + 1
        raise LabError(f"{self.host.name}: {path} cannot be had")

    async def _commit(self, ingest, digest):
        data = os.path.join(ingest, "data")
        found = await asyncio.to_thread(_hash_file, data)
        if "sha256:" + found != digest:
            raise LabError(f"{self.host.name}: {digest} came as {found}")
        os.rename(data, self.blob_path(digest))
        shutil.rmtree(ingest)
        self._content[digest] = os.path.getsize(self.blob_path(digest))
        self._tell("/content/create", "containerd.events.ContentCreate",
                   [(1, digest), (2, self._content[digest])])


def _hash_file(path):
    hasher = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(WRITE_BYTES):
            hasher.update(chunk)
    return hasher.hexdigest()


class _Answer:
    """One HTTP answer over a connection of its own."""

    def __init__(self, sock, head, rest):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = {name.lower(): value.strip() for name, _, value in
                       (line.partition(":") for line in lines[1:])}
        self._sock, self._rest = sock, rest

    @classmethod
    async def of(cls, host, address, port, method, path, offset):
        loop = asyncio.get_running_loop()
        with host.inside():
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        wanted = f"Range: bytes={offset}-\r\n" if offset else ""
        try:
            await loop.sock_connect(sock, (address, port))
            await loop.sock_sendall(sock, (
                f"{method} {path} HTTP/1.1\r\nHost: {address}:{port}\r\n{wanted}"
                f"User-Agent: containerd/{VERSION}\r\nAccept: {MANIFEST}, */*\r\n"
                "Connection: close\r\n\r\n").encode())
            received = b""
            while b"\r\n\r\n" not in received:
                more = await loop.sock_recv(sock, RECEIVE_BYTES)
                if not more:
                    raise LabError(f"{host.name}: no answer to {method} {path}")
                received += more
        except BaseException:
            sock.close()
            raise
        head, _, rest = received.partition(b"\r\n\r\n")
        return cls(sock, head, rest)

    async def pieces(self):
        """The body in pieces of WRITE_BYTES, the last one shorter; Broken after what came."""
        loop, left = asyncio.get_running_loop(), int(self.fields["content-length"])
        buffer, held = bytearray(WRITE_BYTES), len(self._rest)
        buffer[:held] = self._rest
        left -= held
        view = memoryview(buffer)
        while left > 0:
            got = await loop.sock_recv_into(self._sock, view[held:held + left])
            held, left = held + got, left - got
            if held == WRITE_BYTES or got == 0:
                yield view[:held]
                held = 0
            if got == 0:
                raise Broken
        if held:
            yield view[:held]

    def close(self):
        self._sock.close()
