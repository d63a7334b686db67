#!/usr/bin/python3
"""The SBOM of an image, as SPDX 2.3 JSON on stdout: the program, and each Debian package whose files
are inside, with the version that the image itself records (/var/lib/dpkg/status.d).

    deps/sbom.py build/image/spegel.tar >build/image/spegel.spdx.json

The same image gives the same bytes: its own digest and time stand for a name and a date."""

import json
import re
import sys
import tarfile


def documents(archive):
    """(manifest digest, config, {package: its fields}) of an OCI archive with one layer."""

    def blob(descriptor):
        return archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))

    [entry] = json.load(archive.extractfile("index.json"))["manifests"]
    manifest = json.load(blob(entry))
    packages = {}
    [layer] = manifest["layers"]
    with tarfile.open(fileobj=blob(layer)) as files:
        for member in files:
            if re.fullmatch(r"(\./)?var/lib/dpkg/status\.d/[^/]+", member.name):
                text = files.extractfile(member).read().decode()
                fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))
                packages[fields["Package"]] = fields
    return entry["digest"], json.load(blob(manifest["config"])), packages


def spdx_id(name):
    return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.-]", "-", name)


def debian_package(fields):
    name, version = fields["Package"], fields["Version"]
    purl = f"pkg:deb/debian/{name}@{version.replace(':', '%3A').replace('+', '%2B')}"
    return {
        "SPDXID": spdx_id("Package-" + name), "name": name, "versionInfo": version,
        "supplier": "Organization: Debian",
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                          "referenceLocator": f"{purl}?arch={fields['Architecture']}"}],
    }


def make(archive):
    digest, config, packages = documents(archive)
    labels = config["config"]["Labels"]
    program = {
        "SPDXID": "SPDXRef-Package-spegel", "name": "spegel",
        "versionInfo": labels["org.opencontainers.image.version"],
        "sourceInfo": "commit " + labels["org.opencontainers.image.revision"],
        "downloadLocation": "NOASSERTION", "filesAnalyzed": False,
        "licenseConcluded": "MIT", "licenseDeclared": "MIT", "copyrightText": "NOASSERTION",
    }
    others = [debian_package(packages[name]) for name in sorted(packages)]
    return {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": "spegel", "documentNamespace": "urn:oci:" + digest,
        # To the second, as SPDX wants it.
        "creationInfo": {"created": config["created"][:19] + "Z",
                         "creators": ["Tool: deps/sbom.py"]},
        "packages": [program, *others],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
             "relatedSpdxElement": program["SPDXID"]},
            *({"spdxElementId": program["SPDXID"], "relationshipType": "DEPENDS_ON",
               "relatedSpdxElement": other["SPDXID"]} for other in others),
        ],
    }


if __name__ == "__main__":
    with tarfile.open(sys.argv[1]) as opened:
        json.dump(make(opened), sys.stdout, indent=1)
        print()
