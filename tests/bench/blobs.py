"""OCI layouts with blobs of exact sizes, kept under build/ for the next run."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import tempfile

from lab.versions import BUILD

CACHE = os.path.join(BUILD, "lab", "bench")
REGISTRY, REPOSITORY = "bench.lab", "files"
MEGABYTE = 1 << 20
_CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


class Layout:
    """One image whose layers are the blobs. Paths are those of the registry API, and of the
    layout's own files for nginx."""

    def __init__(self, directory):
        self.directory = directory
        with open(os.path.join(directory, "index.json"), encoding="utf-8") as f:
            self._manifest = json.load(f)["manifests"][0]["digest"]
        with open(self.file(self._manifest), encoding="utf-8") as f:
            self.digests = [layer["digest"] for layer in json.load(f)["layers"]]

    def file(self, digest):
        return self.directory + self.file_path(digest)

    @staticmethod
    def file_path(digest):
        return "/blobs/" + digest.replace(":", "/")

    @property
    def manifest_file_path(self):
        return self.file_path(self._manifest)

    @property
    def manifest_path(self):
        return f"/v2/{REPOSITORY}/manifests/{self._manifest}?ns={REGISTRY}"

    @property
    def blob_paths(self):
        return [blob_path(d) for d in self.digests]

    def cool(self):
        """Puts the blobs out of the page cache."""
        for digest in self.digests:
            fd = os.open(self.file(digest), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    def warm(self):
        for digest in self.digests:
            with open(self.file(digest), "rb", buffering=0) as f:
                while f.read(MEGABYTE):
                    pass


def blob_path(digest):
    return f"/v2/{REPOSITORY}/blobs/{digest}?ns={REGISTRY}"


def layout(seed, count, size_mb):
    """count blobs of size_mb (2^20 bytes) each; the same arguments give the same digests."""
    path = os.path.join(CACHE, f"{seed}-{count}x{size_mb}")
    if not os.path.isdir(path):
        os.makedirs(CACHE, exist_ok=True)
        aside = tempfile.mkdtemp(dir=CACHE, prefix=".new-")
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, aside, ignore_errors=True)
            _build(aside, seed, count, size_mb)
            with contextlib.suppress(FileExistsError):
                os.rename(aside, path)
        os.sync()  # pages that wait to be written cannot be put out of the cache
    return Layout(path)


def _build(directory, seed, count, size_mb):
    os.chmod(directory, 0o755)
    os.makedirs(os.path.join(directory, "blobs", "sha256"))
    config = _put(directory, "application/vnd.oci.image.config.v1+json", [_CONFIG])
    layers = [_put(directory, "application/vnd.oci.image.layer.v1.tar", _noise(seed, n, size_mb))
              for n in range(count)]
    kind = "application/vnd.oci.image.manifest.v1+json"
    top = _put(directory, kind, [json.dumps(
        {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).encode()])
    top["annotations"] = {"io.containerd.image.name": f"{REGISTRY}/{REPOSITORY}:{seed}"}
    with open(os.path.join(directory, "index.json"), "w", encoding="utf-8") as f:
        json.dump({"schemaVersion": 2, "manifests": [top]}, f)
    with open(os.path.join(directory, "oci-layout"), "w", encoding="ascii") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')


def _noise(seed, number, size_mb):
    source = random.Random(f"{seed}/{number}")
    for _ in range(size_mb):
        yield source.randbytes(MEGABYTE)


def _put(directory, media_type, chunks):
    digest, size = hashlib.sha256(), 0
    staged = os.path.join(directory, "staged")
    with open(staged, "wb") as f:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            f.write(chunk)
    os.rename(staged, os.path.join(directory, "blobs", "sha256", digest.hexdigest()))
    return {"mediaType": media_type, "digest": f"sha256:{digest.hexdigest()}", "size": size}
