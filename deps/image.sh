#!/bin/sh
# Builds the Dockerfile without a registry: debootstrap makes the Debian base that it asks for, and
# buildah builds on that. Wants root. Writes build/image/spegel.tar, an OCI archive, and its SBOM,
# build/image/spegel.spdx.json.
#
#   deps/image.sh [TAG]
set -eu
cd "$(dirname "$0")/.."
tag=${1:-spegel:latest}
out=$PWD/build/image
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
base=$(sed -n 's/^ARG BASE=//p' Dockerfile)
suite=$(echo "$base" | sed 's/.*:\([a-z]*\)-slim$/\1/')
mkdir -p "$out"

# A store of its own, and no mounts in it: nothing of this machine's containers is touched.
images() {
    nice buildah --root "$out/store" --runroot "$out/run" --storage-driver vfs "$@"
}

if ! images inspect --type image "$base" >/dev/null 2>&1; then
    echo "image: making $base" >&2
    rm -rf "$out/base"
    nice debootstrap --variant=minbase "$suite" "$out/base" "$mirror" >"$out/debootstrap.log" 2>&1 || {
        tail -5 "$out/debootstrap.log" >&2
        exit 1
    }
    rm -rf "$out/base/var/cache/apt/archives" "$out/base/var/lib/apt/lists"
    container=$(images from scratch)
    images copy -q "$container" "$out/base" / >/dev/null
    images commit -q --rm "$container" "$base" >/dev/null
    rm -rf "$out/base"
fi

echo "image: building $tag" >&2
when=$(git log -1 --format=%ct 2>/dev/null || echo 0)
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
images bud --isolation chroot --pull-never --layers=false --identity-label=false \
    --timestamp "$when" --build-arg "SOURCE_DATE_EPOCH=$when" --build-arg "COMMIT=$commit" \
    -t "$tag" . >"$out/build.log" 2>&1 || {
    tail -20 "$out/build.log" >&2
    exit 1
}
rm -f "$out/spegel.tar"
images push -q "$tag" "oci-archive:$out/spegel.tar:$tag"

/usr/bin/python3 deps/sbom.py "$out/spegel.tar" >"$out/spegel.spdx.json"

rm -rf "$out/layout"
mkdir "$out/layout"
tar -C "$out/layout" -xf "$out/spegel.tar"
digest=$(grep -o 'sha256:[0-9a-f]*' "$out/layout/index.json")
bytes=$(cat "$out"/layout/blobs/sha256/* | wc -c)
rm -rf "$out/layout"
echo "build/image/spegel.tar: $tag, $digest, $bytes bytes compressed"
