# shellcheck shell=sh disable=SC2154
# Sourced by what builds the Dockerfile, with $out set, a directory: `images`, buildah with a store of
# its own, and $base in it, the Debian image that the Dockerfile asks for, made by debootstrap. Exits
# with 75 where Debian's packages cannot be had.
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
base=$(sed -n 's/^ARG BASE=//p' Dockerfile)
suite=$(echo "$base" | sed 's/.*:\([a-z]*\)-slim$/\1/')

# A store of its own, and no mounts in it: nothing of this machine's containers is touched.
images() {
    nice buildah --root "$out/store" --runroot "$out/run" --storage-driver vfs "$@"
}

if ! images inspect --type image "$base" >/dev/null 2>&1; then
    echo "image: making $base" >&2
    rm -rf "$out/base"
    nice debootstrap --variant=minbase "$suite" "$out/base" "$mirror" >"$out/debootstrap.log" 2>&1 || {
        tail -5 "$out/debootstrap.log" >&2
        exit "$(sh deps/fetch_status.sh "$out/debootstrap.log")"
    }
    rm -rf "$out/base/var/cache/apt/archives" "$out/base/var/lib/apt/lists"
    container=$(images from scratch)
    images copy -q "$container" "$out/base" / >/dev/null
    images commit -q --rm "$container" "$base" >/dev/null
    rm -rf "$out/base"
fi
