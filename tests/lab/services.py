"""containerd's own services, as far as tests look at them: images and content of one namespace."""

import time

from . import rpc


class Services:
    """containerd's Images and Content services behind a socket."""

    def __init__(self, socket_path, namespace="k8s.io"):
        self._rpc = rpc.Client(socket_path, [("containerd-namespace", namespace)])

    def content(self):
        """{digest: size in bytes} of all committed blobs."""
        found = {}
        for reply in self._rpc.stream("/containerd.services.content.v1.Content/List"):
            for raw in reply.get(1, []):
                info = rpc.decode(raw)
                found[rpc.text(info, 1)] = rpc.number(info, 2)
        return found

    def labels(self, digest):
        """The labels of a blob."""
        reply = self._rpc.call("/containerd.services.content.v1.Content/Info", [(1, digest)])
        return rpc.string_map(rpc.decode(reply[1][0]), 5)

    def ingests(self):
        """[{ref, offset, total}] of running downloads."""
        reply = self._rpc.call("/containerd.services.content.v1.Content/ListStatuses")
        found = []
        for raw in reply.get(1, []):
            status = rpc.decode(raw)
            found.append({"ref": rpc.text(status, 3), "offset": rpc.number(status, 4),
                          "total": rpc.number(status, 5)})
        return found

    def images(self):
        """{name: digest of its target}"""
        reply = self._rpc.call("/containerd.services.images.v1.Images/List")
        found = {}
        for raw in reply.get(1, []):
            image = rpc.decode(raw)
            found[rpc.text(image, 1)] = rpc.text(rpc.decode(image[3][0]), 2)
        return found

    def remove_image(self, name):
        """Removes one image record and collects garbage before it returns."""
        self._rpc.call("/containerd.services.images.v1.Images/Delete", [(1, name), (2, True)], 60.0)

    def create_image(self, name, digest, size_bytes, media_type):
        """Writes an image record, for names that no client would make."""
        now = [(1, int(time.time()))]
        target = [(1, media_type), (2, digest), (3, size_bytes)]
        image = [(1, name), (3, target), (7, now), (8, now)]
        self._rpc.call("/containerd.services.images.v1.Images/Create", [(1, image)])

    def remove_content(self, digest):
        """Deletes a blob through the API (unlike unlinking its file)."""
        self._rpc.call("/containerd.services.content.v1.Content/Delete", [(1, digest)])

    def close(self):
        self._rpc.close()
