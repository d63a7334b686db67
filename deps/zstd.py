#!/usr/bin/python3
"""The same image with its layer compressed by zstd, as an OCI archive beside a given one. The
compressors in buildah and buildx, which are not zstd's own, make it a sixth larger.

    deps/zstd.py build/image/spegel.tar build/image/spegel-zstd.tar

The same archive and the same zstd give the same bytes."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile

LEVEL = "-19"  # beyond it decoders need more memory, and there is nothing to gain


def convert(source, ret):
    def path(digest):
        return "blobs/" + digest.replace(":", "/")

    def read(name):
        return source.extractfile(name).read()

    def add(name, data):
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        ret.addfile(entry, io.BytesIO(data))

    def put(data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        add(path(digest), data)
        return {"digest": digest, "size": len(data)}

    index = json.loads(read("index.json"))
    [entry] = index["manifests"]
    manifest = json.loads(read(path(entry["digest"])))
    # The configuration names what the layers are uncompressed, and stays.
    put(read(path(manifest["config"]["digest"])))
    for layer in manifest["layers"]:
        plain = gzip.decompress(read(path(layer["digest"])))
        packed = subprocess.run(["zstd", "-qc", LEVEL], input=plain, check=True,
                                stdout=subprocess.PIPE).stdout
        layer.update(put(packed), mediaType="application/vnd.oci.image.layer.v1.tar+zstd")
    entry.update(put(json.dumps(manifest, separators=(",", ":")).encode()))
    add("index.json", json.dumps(index).encode())
    add("oci-layout", read("oci-layout"))


if __name__ == "__main__":
    with tarfile.open(sys.argv[1]) as opened, \
         tarfile.open(sys.argv[2], "w", format=tarfile.USTAR_FORMAT) as made:
        convert(opened, made)
