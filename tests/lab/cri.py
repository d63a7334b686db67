"""What the kubelet says to containerd: a small CRI client."""

import json

from . import rpc

PULL_TIMEOUT_S = 120.0


class Cri:
    """The CRI image service (and a little of the runtime service) behind a socket."""

    def __init__(self, socket_path):
        self._rpc = rpc.Client(socket_path)

    def pull(self, image, timeout_s=PULL_TIMEOUT_S):
        """Pulls as the kubelet does; returns the image id. Raises RpcError with containerd's
        message."""
        reply = self._rpc.call("/runtime.v1.ImageService/PullImage", [(1, [(1, image)])], timeout_s)
        return rpc.text(reply, 1)

    def images(self):
        """[{id, tags, digests, size_bytes}]"""
        reply = self._rpc.call("/runtime.v1.ImageService/ListImages")
        return [self._image(raw) for raw in reply.get(1, [])]

    def image(self, name):
        """One image by any of its names; None if it is not there."""
        reply = self._rpc.call("/runtime.v1.ImageService/ImageStatus", [(1, [(1, name)])])
        return self._image(reply[1][0]) if 1 in reply else None

    @staticmethod
    def _image(raw):
        fields = rpc.decode(raw)
        return {"id": rpc.text(fields, 1), "tags": [t.decode() for t in fields.get(2, [])],
                "digests": [d.decode() for d in fields.get(3, [])],
                "size_bytes": rpc.number(fields, 4)}

    def remove(self, image):
        """Removes the image under all its names, and collects what only it needed before it
        returns."""
        self._rpc.call("/runtime.v1.ImageService/RemoveImage", [(1, [(1, image)])], 60.0)

    def version(self):
        """(runtime name, runtime version)"""
        reply = self._rpc.call("/runtime.v1.RuntimeService/Version", timeout_s=2.0)
        return rpc.text(reply, 2), rpc.text(reply, 3)

    def status(self, verbose=False):
        """(conditions {name: bool}, info {name: parsed JSON or text})"""
        reply = self._rpc.call("/runtime.v1.RuntimeService/Status", [(1, verbose)])
        conditions = {}
        for raw in rpc.decode(reply[1][0]).get(1, []):
            condition = rpc.decode(raw)
            conditions[rpc.text(condition, 1)] = bool(rpc.number(condition, 2))
        info = {}
        for key, value in rpc.string_map(reply, 2).items():
            try:
                info[key] = json.loads(value)
            except ValueError:
                info[key] = value
        return conditions, info

    def close(self):
        self._rpc.close()
