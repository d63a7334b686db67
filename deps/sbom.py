#!/usr/bin/python3
"""The SBOM of an image, as SPDX 2.3 JSON on stdout: the program, each Debian package whose files are
inside, and each that it was built with, in the versions that the image itself records.

    deps/sbom.py build/image/spegel.tar >build/image/spegel.spdx.json

The same image gives the same bytes: its own digest and time stand for a name and a date."""

import json
import re
import sys
import tarfile

STATUS = re.compile(r"(\./)?var/lib/dpkg/status\.d/[^/]+")
BUILT_WITH = re.compile(r"(\./)?usr/share/doc/spegel/build-packages")
COMPILED_IN = {"node-llhttp"}
HEADERS = re.compile(r".*-dev(-[a-z0-9]+-cross)?")


def documents(archive):
    """(manifest digest, config, fields of the packages inside, of those it was built with) of an OCI
    archive with one layer."""

    def blob(descriptor):
        return archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))

    [entry] = json.load(archive.extractfile("index.json"))["manifests"]
    manifest = json.load(blob(entry))
    inside, built_with = [], []
    [layer] = manifest["layers"]
    with tarfile.open(fileobj=blob(layer)) as files:
        for member in files:
            if STATUS.fullmatch(member.name):
                text = files.extractfile(member).read().decode()
                inside.append(dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE)))
            elif BUILT_WITH.fullmatch(member.name):
                for line in files.extractfile(member).read().decode().splitlines():
                    built_with.append(dict(zip(("Package", "Version", "Architecture"),
                                               line.split())))
    return entry["digest"], json.load(blob(manifest["config"])), inside, built_with


def spdx_id(name):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)


def identity(fields):
    return fields["Package"], fields["Version"], fields["Architecture"]


def debian_package(fields, spdx_name):
    name, version, architecture = identity(fields)
    purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}"
    return {
        "SPDXID": spdx_id(spdx_name), "name": name, "versionInfo": version,
        "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": f"{purl}?arch={architecture}"}],
    }


def relationship(one, kind, other):
    return {"spdxElementId": one["SPDXID"], "relationshipType": kind,
            "relatedSpdxElement": other["SPDXID"]}


def make(archive):
    digest, config, inside, built_with = documents(archive)
    labels = config["config"]["Labels"]
    program = {
        "SPDXID": "SPDXRef-Package-spegel", "name": "spegel",
        "versionInfo": labels["org.opencontainers.image.version"],
        "sourceInfo": "commit " + labels["org.opencontainers.image.revision"],
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "licenseConcluded": "MIT", "licenseDeclared": "MIT", "copyrightText": "NOASSERTION",
    }
    packages, relationships = [program], []
    for fields in sorted(inside, key=identity):
        packages.append(debian_package(fields, "Package-" + fields["Package"]))
        kind = "STATIC_LINK" if fields["Package"] in COMPILED_IN else "DEPENDS_ON"
        relationships.append(relationship(program, kind, packages[-1]))
    # A package that is inside as well is told once, as that.
    known = {identity(fields) for fields in inside}
    for fields in built_with:
        if identity(fields) not in known:
            packages.append(debian_package(fields, "Build-{Package}-{Architecture}".format(**fields)))
            kind = ("BUILD_DEPENDENCY_OF" if HEADERS.fullmatch(fields["Package"]) else
                    "BUILD_TOOL_OF")
            relationships.append(relationship(packages[-1], kind, program))
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": "spegel", "documentNamespace": "urn:oci:" + digest,
        # To the second, as SPDX wants it.
        "creationInfo": {"created": config["created"][:19] + "Z",
                         "creators": ["Tool: deps/sbom.py"]},
        "packages": packages,
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
             "relatedSpdxElement": program["SPDXID"]},
            *relationships,
        ],
    }


if __name__ == "__main__":
    with tarfile.open(sys.argv[1]) as opened:
        json.dump(make(opened), sys.stdout, indent=1)
        print()
