#!/bin/sh
# Builds the Dockerfile without a registry: debootstrap makes the Debian base that it asks for, and
# buildah builds on that. Wants root. Writes build/image/spegel.tar, an OCI archive, its SBOM,
# build/image/spegel.spdx.json, and the same image with zstd layers, build/image/spegel-zstd.tar. With
# --arch, for another architecture: spegel-ARCH.tar and so on. With --twice all of it is built a second
# time, for tests to compare: spegel-again.tar.
#
#   deps/image.sh [--twice] [--arch arm64|armv7] [TAG]
#
# Exits with 75 where Debian's packages cannot be had. What was built before is gone then too.
set -eu
cd "$(dirname "$0")/.."
name=spegel
platform=
twice=
if [ "${1:-}" = --twice ]; then
    twice=1
    shift
fi
if [ "${1:-}" = --arch ]; then
    case ${2:-} in
    arm64) platform=linux/arm64 ;;
    armv7) platform=linux/arm/v7 ;;
    *)
        echo "image: --arch arm64 or --arch armv7" >&2
        exit 2
        ;;
    esac
    name=spegel-$2
    shift 2
fi
tag=${1:-$name:latest}
out=$PWD/build/image
mkdir -p "$out"
rm -f "$out/new.tar" "$out/$name.tar" "$out/$name-zstd.tar" "$out/$name.spdx.json" "$out/$name-again.tar"

# shellcheck disable=SC1091
. deps/image_base.sh

when=$(git log -1 --format=%ct 2>/dev/null || echo 0)
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)

build() { # TAG LOG
    echo "image: building $1" >&2
    # Docker says by itself on what platform it builds. No platform to build for: no argument.
    # shellcheck disable=SC2086
    images bud ${platform:+--platform $platform} --isolation chroot --pull-never --layers=false \
        --identity-label=false --timestamp "$when" --build-arg "SOURCE_DATE_EPOCH=$when" \
        --build-arg "COMMIT=$commit" \
        --build-arg "BUILDPLATFORM=linux/$(dpkg --print-architecture | sed s/armhf/arm/)" \
        -t "$1" . >"$2" 2>&1 || {
        tail -20 "$2" >&2
        exit "$(sh deps/fetch_status.sh "$2")"
    }
}

build "$tag" "$out/$name.log"
if [ -n "$twice" ]; then
    build "$name:again" "$out/$name-again.log"
    images push -q "$name:again" "oci-archive:$out/new.tar:$name:again"
    mv "$out/new.tar" "$out/$name-again.tar"
    images rmi "$name:again" >/dev/null
fi
images push -q "$tag" "oci-archive:$out/new.tar:$tag"
mv "$out/new.tar" "$out/$name.tar"
images rmi --prune >/dev/null # what had the tag before
nice /usr/bin/python3 deps/zstd.py "$out/$name.tar" "$out/$name-zstd.tar"
/usr/bin/python3 deps/sbom.py "$out/$name.tar" >"$out/$name.spdx.json"

for file in "$name.tar" "$name-zstd.tar"; do
    rm -rf "$out/layout"
    mkdir "$out/layout"
    tar -C "$out/layout" -xf "$out/$file"
    digest=$(grep -o 'sha256:[0-9a-f]*' "$out/layout/index.json")
    bytes=$(cat "$out"/layout/blobs/sha256/* | wc -c)
    rm -rf "$out/layout"
    echo "build/image/$file: $tag, $digest, $bytes bytes compressed"
done
