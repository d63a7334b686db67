"""The archives that deps/image.sh writes: OCI layouts in a tar."""

import functools
import json
import pathlib
import subprocess
import tarfile

TOP = pathlib.Path(__file__).resolve().parents[2]
ARCHIVE = TOP / "build/image/spegel.tar"
ZSTD = ARCHIVE.with_name("spegel-zstd.tar")
AGAIN = ARCHIVE.with_name("spegel-again.tar")  # of `./dev image`: the same, built a second time


def archive_of(arch):
    return ARCHIVE.with_name(f"spegel-{arch}.tar")


def unpack(path, directory):
    with tarfile.open(path) as archive:
        archive.extractall(directory)
    return directory


def blob(layout, descriptor):
    return layout / "blobs" / descriptor["digest"].replace(":", "/")


def read_manifest(layout):
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    return json.loads(blob(layout, entry).read_text())


def _revision(path):
    with tarfile.open(path) as archive:
        def read(name):
            return json.load(archive.extractfile(name))

        def at(descriptor):
            return read("blobs/" + descriptor["digest"].replace(":", "/"))

        [entry] = read("index.json")["manifests"]
        return at(at(entry)["config"])["config"]["Labels"]["org.opencontainers.image.revision"]


def _head():
    done = subprocess.run(["git", "-C", TOP, "rev-parse", "HEAD"], capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or "unknown"


@functools.cache
def why_not(path=ARCHIVE, command="./dev image"):
    """Why it cannot be tested; None: it can. One of another commit would say nothing about this one."""
    if not path.exists():
        return f"no image: `{command}` builds it"
    if _revision(path) != _head():
        return f"{path.name} is of another commit: `{command}` builds this one's"
    return None
