#!/bin/sh
# Builds the program and its unit tests for another architecture, with Debian's cross compilers, and
# runs what can run under qemu's user mode. All of it happens in a Debian root made by debootstrap,
# build/cross/root: this machine's own packages stay as they are. Wants root. The results lie in
# build/cross/ARCH; tests/image/test_cross.py runs them.
#
#   deps/cross.sh arm64|armv7 [CMAKE-ARG ...]
#
# Exits with 75 where Debian's packages cannot be had. The program built before is gone then too.
# shellcheck disable=SC1091,SC2034,SC2154 # what target.sh reads and sets
set -eu
cd "$(dirname "$0")/.."
top=$PWD
arch=${1:-}
[ $# = 0 ] || shift
case $arch in
arm64) TARGETARCH=arm64 qemu=qemu-aarch64-static ;;
armv7) TARGETARCH=arm qemu=qemu-arm-static ;;
*)
    echo "usage: deps/cross.sh arm64|armv7 [CMAKE-ARG ...]" >&2
    exit 2
    ;;
esac
. deps/target.sh
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
suite=$(sed -n 's/^ARG BASE=.*:\([a-z]*\)-slim$/\1/p' Dockerfile)
cross=$top/build/cross
root=$cross/root
out=$cross/$arch
jobs=$(getconf _NPROCESSORS_ONLN)
mkdir -p "$out"
rm -f "$out/spegel"

fail() { # LOG [STATUS]
    tail -20 "$1" >&2
    echo "cross: failed, see $1" >&2
    exit "${2:-1}"
}

if [ ! -e "$cross/$suite" ]; then
    echo "cross: making a Debian root, $suite" >&2
    rm -rf "$root"
    nice debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$cross/debootstrap.log" 2>&1 ||
        fail "$cross/debootstrap.log" "$(sh deps/fetch_status.sh "$cross/debootstrap.log")"
    touch "$cross/$suite"
fi

packages="binutils qemu-user-static $(target_packages build unit | tr '\n' ' ')"
if [ "$(cat "$out/packages" 2>/dev/null)" != "$packages" ]; then
    echo "cross: installing packages for $debian into it" >&2
    # shellcheck disable=SC2086 # a list of words
    {
        chroot "$root" dpkg --add-architecture "$debian" &&
            chroot "$root" apt-get update &&
            DEBIAN_FRONTEND=noninteractive LC_ALL=C nice chroot "$root" \
                apt-get install -y --no-install-recommends $packages
    } >"$out/apt.log" 2>&1 || fail "$out/apt.log" "$(sh deps/fetch_status.sh "$out/apt.log")"
    echo "$packages" >"$out/packages"
fi

# inside COMMAND ...: in the root, with the source at /src, the results at /out, and a loopback of its
# own. The mounts are in a name space of their own, and end with it.
inside() {
    # shellcheck disable=SC2016 # the shell inside is meant
    unshare --mount --net --pid --fork --kill-child sh -euc '
        root=$1 top=$2 out=$3
        shift 3
        mkdir -p "$root/src" "$root/out"
        mount --bind -o ro "$top" "$root/src"
        mount --bind "$out" "$root/out"
        mount -t proc proc "$root/proc"
        ip link set lo up
        exec nice chroot "$root" "$@"' - "$root" "$top" "$out" "$@"
}

echo "cross: building for $arch" >&2
# shellcheck disable=SC2086 # a list of words
[ -f "$out/build.ninja" ] || inside cmake -G Ninja -S /src -B /out $cmake \
    -DCMAKE_CROSSCOMPILING_EMULATOR="/usr/bin/$qemu" -DSPEGEL_WERROR=ON \
    -DSPEGEL_COMMIT="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    "$@" >"$out/cmake.log" 2>&1 || fail "$out/cmake.log"
# The parts without I/O, and those that only touch files: qemu's user mode is no kernel, and what is timed
# here says nothing.
folders='base oci http grpc gossip certsd cli'
targets=spegel
for folder in $folders; do
    for test in tests/unit/"$folder"/test_*.c; do
        targets="$targets ${folder}_$(basename "$test" .c)"
    done
done
# shellcheck disable=SC2086 # a list of words
inside ninja -C /out -j "$jobs" $targets >"$out/ninja.log" 2>&1 || fail "$out/ninja.log"

echo "cross: unit tests under $qemu" >&2
inside ctest --test-dir /out -j "$jobs" -R "^($(echo "$folders" | tr ' ' '|'))/" --timeout 600 \
    --output-on-failure >"$out/ctest.log" 2>&1 || fail "$out/ctest.log"
grep 'tests passed' "$out/ctest.log"
echo "build/cross/$arch/spegel"
