"""The image that `./dev image` built: what is in it, and that it runs with nothing else there."""

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess

import pytest
from archive import AGAIN, ARCHIVE, TOP, ZSTD, blob, read_manifest, unpack, why_not

SBOM = TOP / "deps/sbom.py"
PROGRAM = "usr/local/bin/spegel"
COMPRESSED_BYTES_MAX = {ARCHIVE: 9_500_000, ZSTD: 8_000_000}

pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(os.geteuid() != 0, reason="running the image's root wants root"),
]


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """The archive, which is an OCI layout, unpacked."""
    return unpack(ARCHIVE, tmp_path_factory.mktemp("layout"))


@pytest.fixture(scope="module")
def manifest(layout):
    return read_manifest(layout)


@pytest.fixture(scope="module")
def config(layout, manifest):
    return json.loads(blob(layout, manifest["config"]).read_text())


@pytest.fixture(scope="module")
def root(layout, manifest, tmp_path_factory):
    """The image's file system."""
    [layer] = manifest["layers"]
    return unpack(blob(layout, layer), tmp_path_factory.mktemp("root"))


def files(root):
    return {str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()}


def in_root(root, *command, before=""):
    """Runs a command with the image as its root, in a network of its own, under `sh -c`'s control."""
    script = f'ip link set lo up; {before} exec chroot "$0" "$@"'
    return ["unshare", "--net", "sh", "-c", script, str(root), *command]


@pytest.mark.parametrize("archive", COMPRESSED_BYTES_MAX, ids=["gzip", "zstd"])
def test_the_image_is_small(archive, tmp_path):
    layout = unpack(archive, tmp_path)
    size = sum(p.stat().st_size for p in (layout / "blobs").rglob("*") if p.is_file())
    assert size <= COMPRESSED_BYTES_MAX[archive]


def test_with_zstd_it_is_the_same_image(layout, manifest, config, tmp_path):
    other = unpack(ZSTD, tmp_path)
    assert read_manifest(other)["config"] == manifest["config"]
    for entry in [*json.loads((other / "index.json").read_text())["manifests"],
                  *read_manifest(other)["layers"]]:
        data = blob(other, entry).read_bytes()
        assert len(data) == entry["size"]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == entry["digest"]
    [layer] = read_manifest(other)["layers"]
    assert layer["mediaType"].endswith("+zstd")
    plain = subprocess.run(["zstd", "-qdc", blob(other, layer)], check=True, capture_output=True)
    assert ["sha256:" + hashlib.sha256(plain.stdout).hexdigest()] == config["rootfs"]["diff_ids"]


def test_it_says_what_it_is(config):
    assert config["config"]["Entrypoint"] == ["/" + PROGRAM]
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "spegel"
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert re.fullmatch("[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])
    assert config["os"] == "linux"


def test_it_holds_the_program_its_libraries_and_little_else(root):
    expected = re.compile(
        r"usr/local/bin/spegel"
        r"|lib(64)?/([^/]+/)?(ld-linux[^/]*|lib[^/]+\.so[.0-9]*)|usr/lib/[^/]+/lib[^/]+\.so[.0-9]*"
        r"|etc/(os-release|nsswitch\.conf|ssl/certs/ca-certificates\.crt)"
        r"|var/lib/dpkg/status\.d/[^/]+|usr/share/doc/[^/]+/copyright"
        r"|usr/share/doc/spegel/build-packages")
    assert [f for f in files(root) if not expected.fullmatch(f)] == []
    for path in root.rglob("*"):
        assert not stat.S_IMODE(path.lstat().st_mode) & (stat.S_ISUID | stat.S_ISGID), path
    certificates = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert certificates.count("BEGIN CERTIFICATE") > 50


def test_the_libraries_are_those_that_are_loaded_and_no_others(root):
    [loader] = [f for f in files(root) if "/ld-linux" in f]
    done = subprocess.run(in_root(root, "/" + loader, "--list", "/" + PROGRAM), check=True,
                          capture_output=True, text=True)
    assert "not found" not in done.stdout
    loaded = {os.path.basename(p) for p in re.findall(r"(?:=> )?(/\S+)", done.stdout)}
    held = {os.path.basename(f) for f in files(root) if ".so" in f}
    assert held == loaded | {os.path.basename(loader)}


def test_every_package_in_it_is_named_with_its_version_and_licence(root):
    packages = {p.name for p in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libuv1", "libcurl4", "libssl3", "ca-certificates", "node-llhttp"} <= packages
    for name in packages:
        status = (root / "var/lib/dpkg/status.d" / name).read_text()
        assert f"Package: {name}\n" in status and re.search(r"^Version: \S+$", status, re.M)
        assert (root / "usr/share/doc" / name / "copyright").stat().st_size > 0
    assert "MIT" in (root / "usr/share/doc/spegel/copyright").read_text()


def identities(text):
    """{(package, version, architecture)} of /usr/share/doc/spegel/build-packages."""
    return {tuple(line.split()) for line in text.splitlines()}


def test_the_sbom_names_the_packages_inside_and_those_it_was_built_with(root, layout):
    made = subprocess.run(["/usr/bin/python3", SBOM, ARCHIVE], check=True, capture_output=True,
                          text=True).stdout
    assert made == ARCHIVE.with_name("spegel.spdx.json").read_text()
    document = json.loads(made)
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    assert document["documentNamespace"] == "urn:oci:" + entry["digest"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["creationInfo"]["created"])
    program, *others = document["packages"]
    assert program["name"] == "spegel" and program["licenseDeclared"] == "MIT"
    kinds = {}
    for one in document["relationships"]:
        kinds.setdefault(one["relationshipType"], set()).update(
            {one["spdxElementId"], one["relatedSpdxElement"]} - {program["SPDXID"]})
    named = {p["SPDXID"]: p for p in others}
    inside = [named[i] for i in kinds["DEPENDS_ON"] | kinds["STATIC_LINK"]]
    assert [named[i]["name"] for i in kinds["STATIC_LINK"]] == ["node-llhttp"]
    status = root / "var/lib/dpkg/status.d"
    assert sorted(p["name"] for p in inside) == sorted(p.name for p in status.iterdir())
    for package in inside:
        assert f"\nVersion: {package['versionInfo']}\n" in (status / package["name"]).read_text()
    said = identities((root / "usr/share/doc/spegel/build-packages").read_text())
    told = {(p["name"], p["versionInfo"],
             p["externalRefs"][0]["referenceLocator"].rpartition("=")[2]) for p in others}
    assert said <= told
    tools = {named[i]["name"] for i in kinds["BUILD_TOOL_OF"]}
    assert {"cmake", "ninja-build", "gcc-12", "binutils"} <= tools
    assert {"libuv1-dev", "libssl-dev"} <= {named[i]["name"] for i in kinds["BUILD_DEPENDENCY_OF"]}
    ids = [p["SPDXID"] for p in document["packages"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("SPDXRef-[A-Za-z0-9.-]+", i) for i in ids)
    assert {i for one in document["relationships"] for i in (
        one["spdxElementId"], one["relatedSpdxElement"])} == {*ids, "SPDXRef-DOCUMENT"}


@pytest.mark.skipif(why_not(AGAIN) is not None, reason=str(why_not(AGAIN)))
def test_built_a_second_time_it_is_the_same(layout, tmp_path):
    again = unpack(AGAIN, tmp_path)
    [one], [other] = (json.loads((each / "index.json").read_text())["manifests"]
                      for each in (layout, again))
    assert one["digest"] == other["digest"]


def test_it_runs_with_nothing_else_there(root, config):
    done = subprocess.run(in_root(root, *config["config"]["Entrypoint"], "version", "--format",
                                  "json"), check=True, capture_output=True, text=True)
    said = json.loads(done.stdout)
    assert said["runtime"]["distro"].startswith("Debian")
    assert said["build"]["commit"] == config["config"]["Labels"]["org.opencontainers.image.revision"]


def test_the_registry_answers_from_inside_it(root, layout, config, manifest):
    serve_itself(root, layout, config["config"]["Entrypoint"], manifest)


def serve_itself(root, layout, entrypoint, manifest):
    """The image serves itself: its own archive is the layout."""
    shutil.copytree(layout, root / "layout")
    # $$ is this shell, which becomes the daemon: the asker ends it when it has its answers.
    ask = ("(for i in $(seq 50); do curl -fs -o /dev/null http://127.0.0.1:5000/readyz && break;"
           " sleep 0.1; done; curl -s http://127.0.0.1:5000/v2/_catalog; echo;"
           " curl -s http://127.0.0.1:5000/v2/layout/manifests/%s; kill $$) & "
           % json.loads((root / "layout/index.json").read_text())["manifests"][0]["digest"])
    done = subprocess.run(
        in_root(root, *entrypoint, "registry", "--store", "oci-layout:/layout",
                "--router-addr", "127.0.0.1:5001", before=ask),
        capture_output=True, text=True, timeout=60, check=False)
    shutil.rmtree(root / "layout")
    assert done.returncode == 0, done.stderr
    catalog, served = done.stdout.split("\n", 1)
    assert json.loads(catalog) == {"repositories": ["layout"]}
    assert json.loads(served) == manifest
