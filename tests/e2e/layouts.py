"""OCI layouts made by hand, for a daemon's --store: small, with what tools never write."""

import hashlib
import json
import os

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"


class Layout:
    """A layout in a directory. put() adds blobs, name() puts a descriptor into index.json."""

    def __init__(self, directory):
        self.directory = str(directory)
        self._entries = []
        os.makedirs(os.path.join(self.directory, "blobs", "sha256"))
        with open(os.path.join(self.directory, "oci-layout"), "w", encoding="ascii") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        self._write_index()

    def _write_index(self):
        path = os.path.join(self.directory, "index.json")
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": self._entries}, f)
        os.rename(path + ".new", path)

    def path(self, digest):
        return os.path.join(self.directory, "blobs", *digest.split(":"))

    def put(self, data, media_type):
        """Adds a blob unless a file of its name is there; returns its descriptor."""
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if not os.path.exists(self.path(digest)):
            with open(self.path(digest), "wb") as f:
                f.write(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def name(self, descriptor, name=None):
        """Lists a descriptor, under a full reference such as example.com/app:v1 if given."""
        entry = dict(descriptor)
        if name:
            entry["annotations"] = {"io.containerd.image.name": name}
        self._entries.append(entry)
        self._write_index()

    def image(self, name, layers, seed=0):
        """Adds an image with these layers (bytes) under a name; returns (its manifest's
        descriptor, the manifest)."""
        config = self.put({"os": "linux", "architecture": "amd64", "seed": seed}, CONFIG)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                    "layers": [self.put(data, LAYER) for data in layers]}
        descriptor = self.put(manifest, MANIFEST)
        self.name(descriptor, name)
        return descriptor, manifest

    def artifact(self, subject, artifact_type, annotations=None):
        """Adds something that refers to subject, e.g. a signature; returns its descriptor."""
        empty = self.put(b"{}", EMPTY)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
                    "config": empty, "layers": [empty],
                    "subject": {k: subject[k] for k in ("mediaType", "digest", "size")},
                    "annotations": annotations or {}}
        descriptor = self.put(manifest, MANIFEST)
        self.name(descriptor)
        return descriptor
