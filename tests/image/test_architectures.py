"""The images for other architectures, which `./dev image --arch ARCH` built: complete, and running under
qemu's user mode with nothing else there."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from archive import TOP, archive_of, blob, read_manifest, unpack, why_not
from test_image import files, in_root, serve_itself

ARCHITECTURES = {
    "arm64": ("qemu-aarch64-static", {"architecture": "arm64"}),
    "armv7": ("qemu-arm-static", {"architecture": "arm", "variant": "v7"}),
}


def qemu_of(arch):
    """This machine's, or the one in the root that `./dev cross` made."""
    name = ARCHITECTURES[arch][0]
    found = TOP / "build/cross/root/usr/bin" / name
    return str(found) if found.exists() else shutil.which(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="running the image's root wants root")
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_is_complete_and_runs(arch, tmp_path):
    reason = why_not(archive_of(arch), f"./dev image --arch {arch}")
    if reason or not qemu_of(arch):
        pytest.skip(reason or "no qemu: `./dev cross` or qemu-user-static has it")
    (tmp_path / "layout").mkdir()
    layout = unpack(archive_of(arch), tmp_path / "layout")
    manifest = read_manifest(layout)
    config = json.loads(blob(layout, manifest["config"]).read_text())
    for name, value in ARCHITECTURES[arch][1].items():
        assert config.get(name, value) == value  # buildah 1.28 leaves the variant out
    [layer] = manifest["layers"]
    (tmp_path / "root").mkdir()
    root = unpack(blob(layout, layer), tmp_path / "root")
    assert not [f for f in files(root) if "x86_64" in f or "x86-64" in f]
    assert {p.name for p in (root / "var/lib/dpkg/status.d").iterdir()} >= {
        "libc6", "libuv1", "libcurl4", "libssl3", "ca-certificates", "node-llhttp"}
    for path in (root / "var/lib/dpkg/status.d").iterdir():
        assert "\nArchitecture: amd64\n" not in path.read_text()

    shutil.copy(qemu_of(arch), root / "qemu")
    entrypoint = ["/qemu", *config["config"]["Entrypoint"]]
    said = json.loads(subprocess.run(in_root(root, *entrypoint, "version", "--format", "json"),
                                     check=True, capture_output=True, text=True).stdout)
    assert said["runtime"]["arch"] == config["architecture"]
    assert said["build"]["commit"] == config["config"]["Labels"]["org.opencontainers.image.revision"]
    serve_itself(root, layout, entrypoint, manifest)


def test_the_dockerfile_names_no_architecture():
    assert "amd64" not in pathlib.Path(TOP / "Dockerfile").read_text().replace("linux/amd64", "")
