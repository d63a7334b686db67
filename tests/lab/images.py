"""OCI images to pull, built with umoci and kept under build/ for the next run.

An image's content is a function of its parameters, so the same call always gives the same digests.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import random
import shutil
import tempfile

from .net import LabError, run
from .versions import BUILD

CACHE = os.path.join(BUILD, "lab", "images")
TAG = "latest"
BUSYBOX = "/bin/busybox"
REAL_FILES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/usr/share")
MEGABYTE = 1 << 20


class Image:
    """An image (or index) in an OCI layout on disk."""

    def __init__(self, layout, tag=TAG):
        self.layout, self.tag = layout, tag

    def blob_path(self, digest):
        return os.path.join(self.layout, "blobs", *digest.split(":"))

    def blob(self, digest):
        with open(self.blob_path(digest), "rb") as f:
            return f.read()

    @property
    def descriptor(self):
        """The descriptor in index.json: of the manifest, or of the index."""
        with open(os.path.join(self.layout, "index.json"), "rb") as f:
            return json.load(f)["manifests"][0]

    @property
    def digest(self):
        return self.descriptor["digest"]

    @property
    def manifest(self):
        """The top document, parsed."""
        return json.loads(self.blob(self.digest))

    @property
    def layers(self):
        """Descriptors of the layers, base first."""
        return self.manifest["layers"]

    @property
    def config_digest(self):
        return self.manifest["config"]["digest"]

    @property
    def digests(self):
        """Every blob of a single-platform image: manifest, config, layers."""
        return [self.digest, self.config_digest, *(layer["digest"] for layer in self.layers)]

    @property
    def size_bytes(self):
        """What a node downloads for a single-platform image."""
        return sum(os.path.getsize(self.blob_path(d)) for d in self.digests)


def image(layers=2, layer_mb=4.0, seed=1, real_files=False, platform=None, tip=None):
    """A runnable image: busybox in the first layer, and layer_mb (2^20 bytes) in each layer.
    real_files takes files of this machine, which compress to about a third; otherwise the bytes
    are random and incompressible, so sizes are exact to 0.1 %, and differ with seed. platform such
    as "linux/arm64" only labels the image. tip is a seed for the last layer alone: images that
    differ only in it share all layers below. umoci writes its manifest without a mediaType."""
    words = f"{layers}-{layer_mb:g}-{seed}-{'real' if real_files else 'random'}-{platform or 'own'}"
    if tip is not None:
        words += f"-tip{tip}"
    return Image(_cached(words.replace("/", "_"), lambda directory: _build(
        directory, layers, layer_mb, seed, real_files, platform, tip)))


def index(*images):
    """A multi-platform index over images, each labelled with a platform of its own, e.g.
    index(image(), image(seed=2, platform="linux/arm64"))."""
    key = "index-" + hashlib.sha256(" ".join(i.digest for i in images).encode()).hexdigest()[:16]
    return Image(_cached(key, lambda directory: _build_index(directory, images)))


def archive(which, path, name):
    """Writes which as an OCI archive that `ctr images import` takes, under a full reference such
    as registry.lab:5000/app:v1."""
    staged = path + ".layout"
    shutil.copytree(which.layout, staged)
    top = dict(which.descriptor)
    top["annotations"] = {"io.containerd.image.name": name,
                          "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    _write_index(staged, top)
    run(["tar", "-C", staged, "-cf", path, "."])
    shutil.rmtree(staged)
    return path


def layout(which, path, name=None):
    """Copies which to a directory of its own, for a daemon's --store. With name, a full reference,
    the layout says it is that image."""
    shutil.copytree(which.layout, path)
    if name:
        top = dict(which.descriptor)
        top["annotations"] = {"io.containerd.image.name": name}
        _write_index(path, top)
    return Image(path, which.tag)


def _write_index(directory, descriptor):
    with open(os.path.join(directory, "index.json"), "w", encoding="utf-8") as f:
        json.dump({"schemaVersion": 2, "manifests": [descriptor]}, f)


def _cached(key, build):
    os.makedirs(CACHE, exist_ok=True)
    path = os.path.join(CACHE, key)
    with open(os.path.join(CACHE, ".lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(path):
            aside = tempfile.mkdtemp(dir=CACHE, prefix=".new-")
            with contextlib.ExitStack() as stack:
                stack.callback(shutil.rmtree, aside, ignore_errors=True)
                build(os.path.join(aside, "layout"))
                os.rename(os.path.join(aside, "layout"), path)
    return path


def _build(directory, layers, layer_mb, seed, real_files, platform, tip):
    if layers < 1:
        raise LabError("an image needs a layer")
    tagged = f"{directory}:{TAG}"
    run(["umoci", "init", "--layout", directory])
    run(["umoci", "new", "--image", tagged])
    system, _, machine = (platform or "").partition("/")
    chosen = ["--os", system, "--architecture", machine] if platform else []
    run(["umoci", "config", "--image", tagged, *chosen, "--config.cmd", "/bin/sh",
         "--config.env", "PATH=/bin", "--created", "2025-01-01T00:00:00Z", "--no-history"])
    files = _real_files() if real_files else None
    with tempfile.TemporaryDirectory(dir=os.path.dirname(directory)) as stage:
        for number in range(layers):
            tree = os.path.join(stage, str(number))
            size = int(layer_mb * MEGABYTE)
            if number == 0:
                size -= _put_busybox(tree)
            last = tip is not None and number == layers - 1
            _fill(os.path.join(tree, "data", str(number)), size, files,
                  f"tip/{tip}" if last else f"{seed}/{number}")
            _same_times(tree)
            run(["umoci", "insert", "--image", tagged, "--no-history", tree, "/"])
            shutil.rmtree(tree)
    run(["umoci", "gc", "--layout", directory])


def _put_busybox(tree):
    if not os.path.exists(BUSYBOX):
        raise LabError(f"{BUSYBOX} is missing: install busybox-static")
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy(BUSYBOX, os.path.join(tree, "bin", "busybox"))
    for applet in ("sh", "ls", "cat", "echo", "sha256sum", "find", "true", "sleep", "uname", "du"):
        os.symlink("busybox", os.path.join(tree, "bin", applet))
    with open(os.path.join(tree, "etc", "passwd"), "w", encoding="ascii") as f:
        f.write("root:x:0:0:root:/:/bin/sh\n")
    return os.path.getsize(BUSYBOX) // 2  # about what it compresses to


def _real_files():
    """Files of this machine, in a fixed order."""
    for top in REAL_FILES:
        for directory, names, files in os.walk(top):
            names.sort()
            for name in sorted(files):
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path


def _fill(directory, size, files, seed):
    os.makedirs(directory)
    if files is None:
        source = random.Random(seed)
        with open(os.path.join(directory, "random.bin"), "wb") as f:
            while size > 0:
                f.write(source.randbytes(min(size, MEGABYTE)))
                size -= MEGABYTE
        return
    while size > 0:
        path = next(files, None)
        if path is None:
            raise LabError("this machine has too few files for such an image")
        file_size = os.path.getsize(path)
        if file_size > size:
            if size < 64 << 10:
                return
            continue  # too large for what is left; a smaller one will come
        target = directory + path
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, target)
        size -= file_size


def _same_times(tree):
    """The same times on every file, so that the same content is the same layer."""
    for directory, names, files in os.walk(tree):
        for name in [*names, *files]:
            os.utime(os.path.join(directory, name), (0, 0), follow_symlinks=False)
    os.utime(tree, (0, 0))


def _build_index(directory, images):
    os.makedirs(os.path.join(directory, "blobs", "sha256"))
    with open(os.path.join(directory, "oci-layout"), "w", encoding="ascii") as f:
        f.write('{"imageLayoutVersion":"1.0.0"}')
    children = []
    for child in images:
        for name in os.listdir(os.path.join(child.layout, "blobs", "sha256")):
            target = os.path.join(directory, "blobs", "sha256", name)
            if not os.path.exists(target):
                os.link(os.path.join(child.layout, "blobs", "sha256", name), target)
        config = json.loads(child.blob(child.config_digest))
        descriptor = {k: child.descriptor[k] for k in ("mediaType", "digest", "size")}
        descriptor["platform"] = {"os": config["os"], "architecture": config["architecture"]}
        children.append(descriptor)
    kind = "application/vnd.oci.image.index.v1+json"
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": children}).encode()
    digits = hashlib.sha256(body).hexdigest()
    with open(os.path.join(directory, "blobs", "sha256", digits), "wb") as f:
        f.write(body)
    _write_index(directory, {"mediaType": kind, "digest": f"sha256:{digits}", "size": len(body),
                             "annotations": {"org.opencontainers.image.ref.name": TAG}})
