"""The images for other architectures, which `./dev image --arch ARCH` built: complete, and running under
qemu's user mode with nothing else there."""

import json
import os
import pathlib
import re
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


COMPILERS = {"amd64": "gcc-x86-64-linux-gnu", "arm64": "gcc-aarch64-linux-gnu",
             "armhf": "gcc-arm-linux-gnueabihf"}
DOCKERS = {"": None, "amd64": "amd64", "arm64": "arm64", "arm": "armhf"}


@pytest.mark.parametrize("here", COMPILERS)
@pytest.mark.parametrize("target", DOCKERS)
def test_any_architecture_builds_for_any_with_packages_that_debian_has(here, target, tmp_path):
    dpkg = tmp_path / "dpkg"
    dpkg.write_text(f'#!/bin/sh\n[ "$*" = --print-architecture ] && echo {here}\n')
    dpkg.chmod(0o755)
    said = subprocess.run(
        ["sh", "-euc", '. deps/target.sh; echo "$debian"; target_packages build'], cwd=TOP, check=True,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TARGETARCH": target},
        capture_output=True, text=True).stdout
    debian, *packages = said.split()
    assert debian == (DOCKERS[target] or here)
    cross = debian != here
    assert (COMPILERS[debian] if cross else "gcc") in packages
    assert ("libuv1-dev" + (f":{debian}" if cross else "")) in packages and "cmake" in packages
    for package in packages:  # Debian Policy, section 5.6.1, and an architecture
        assert re.fullmatch("[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?", package), package
