"""The program that `./dev cross ARCH` built, under qemu's user mode, in one cluster with this machine's
own. Its unit tests ran when it was built."""

import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
import time
import urllib.request

import pytest

from e2e.layouts import LAYER, Layout
from lab import demo, spegel

TOP = pathlib.Path(__file__).resolve().parents[2]
CROSS = TOP / "build/cross"
ROOT = CROSS / "root"
QEMU = {"arm64": ("qemu-aarch64-static", "arm64"), "armv7": ("qemu-arm-static", "arm")}
BEYOND_4_GB = (5 << 30) + 12345
REGISTRY = "registry.example"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="running in another root wants root"),
    pytest.mark.skipif(spegel.why_missing() is not None, reason=str(spegel.why_missing())),
]
each = pytest.mark.parametrize("arch", [
    pytest.param(arch, marks=pytest.mark.skipif(
        not (CROSS / arch / "spegel").exists(), reason=f"not built: `./dev cross {arch}` does that"))
    for arch in QEMU])


def foreign(arch, directory, *args):
    """The command line that runs the other architecture's program in the Debian root that it was built
    in. `directory` is /mnt there. The mounts end with the process."""
    script = ('mount --bind "$1" "$0/out" && mount --bind "$2" "$0/mnt" && shift 2 &&'
              ' exec chroot "$0" "$@"')
    return ["unshare", "--mount", "sh", "-c", script, str(ROOT), str(CROSS / arch), str(directory),
            "/usr/bin/" + QEMU[arch][0], "/out/spegel", *args]


def registry_args(ports, peers, store):
    return ["registry", "--store", f"oci-layout:{store}", "--registry-addr", f"127.0.0.1:{ports[0]}",
            "--router-addr", f"127.0.0.1:{ports[1]}", "--metrics-addr", f"127.0.0.1:{ports[2]}",
            "--bootstrap-kind", "static", "--static-bootstrap-peers",
            *(f"127.0.0.1:{port}" for port in peers)]


def get(ports, path, headers=None, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{ports[0]}{path}?ns={REGISTRY}",
                                     headers=headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, answer.read()


@contextlib.contextmanager
def running(command):
    """A daemon that must still be there at the end, and then ends well when told to."""
    # pylint: disable-next=consider-using-with
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield
        assert process.poll() is None
        process.terminate()
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said[-3000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@each
def test_it_says_what_it_is(arch, tmp_path):
    done = subprocess.run(foreign(arch, tmp_path, "version", "--format", "json"), check=True,
                          capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["runtime"]["arch"] == QEMU[arch][1]


def image(directory, name, layer):
    """A layout with one image of one layer; the layer's digest."""
    layout = Layout(directory)
    layout.image(f"{REGISTRY}/{name}:v1", [layer])
    return "sha256:" + hashlib.sha256(layer).hexdigest()


@each
def test_it_shares_with_this_machines_program_either_way(arch, tmp_path):
    here, there = demo.free_ports(3), demo.free_ports(3)
    peers = [here[1], there[1]]
    layers = {name: os.urandom(3 << 20) for name in ("here", "there")}
    digests = {name: image(tmp_path / name, name, layer) for name, layer in layers.items()}
    with running([spegel.binary(), *registry_args(here, peers, tmp_path / "here")]), \
         running(foreign(arch, tmp_path, *registry_args(there, peers, "/mnt/there"))):
        for ports in (here, there):
            demo.ready(ports[0], time.monotonic() + 60)
        for name, asked in (("here", there), ("there", here)):
            wait_for(asked, f"/v2/{name}/manifests/v1")
            served = get(asked, f"/v2/{name}/manifests/v1")[1]
            assert digests[name].encode() in served
            assert get(asked, f"/v2/{name}/blobs/{digests[name]}")[1] == layers[name]


def wait_for(ports, path):
    """Until what the other one holds is known here."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return get(ports, path, method="HEAD")
        except urllib.error.HTTPError as e:
            assert e.code == 404 and time.monotonic() < deadline
            time.sleep(0.1)


@each
def test_blobs_beyond_4_gb_have_their_size_and_their_end(arch, tmp_path):
    ports = demo.free_ports(3)
    layout = Layout(tmp_path / "large")
    digest = "sha256:" + "ab" * 32  # nobody hashes what is served from a layout
    with open(layout.path(digest), "wb") as f:
        f.truncate(BEYOND_4_GB - 5)
        f.seek(0, os.SEEK_END)
        f.write(b"final")
    manifest, _ = layout.image(f"{REGISTRY}/large:v1", [])
    document = json.loads(pathlib.Path(layout.path(manifest["digest"])).read_bytes())
    document["layers"] = [{"mediaType": LAYER, "digest": digest, "size": BEYOND_4_GB}]
    layout.name(layout.put(document, manifest["mediaType"]), f"{REGISTRY}/large:v2")
    with running(foreign(arch, tmp_path, *registry_args(ports, [ports[1]], "/mnt/large"))):
        demo.ready(ports[0], time.monotonic() + 60)
        path = f"/v2/large/blobs/{digest}"
        assert get(ports, path, method="HEAD")[0]["Content-Length"] == str(BEYOND_4_GB)
        headers, end = get(ports, path, {"Range": f"bytes={BEYOND_4_GB - 9}-"})
        assert end == bytes(4) + b"final"
        assert headers["Content-Range"] == f"bytes {BEYOND_4_GB - 9}-{BEYOND_4_GB - 1}/{BEYOND_4_GB}"
