#!/bin/sh
# Builds the Dockerfile with Docker itself, as its first lines say, twice, and runs the program: the two
# must have the same layer. Then for the other architectures. Wants root, and no Docker: without one,
# Debian's is unpacked under build/docker. Its daemon has its data in memory, no network of its own, and
# ends with this.
#
#   deps/docker.sh
#
# Exits with 75 where Debian's packages cannot be had.
# shellcheck disable=SC1091,SC2154 # what image_base.sh sets
set -eu
cd "$(dirname "$0")/.."
out=$PWD/build/image
docker=$PWD/build/docker
mkdir -p "$out" "$docker"
. deps/image_base.sh

fail() { # LOG
    tail -n 20 "$1" >&2
    exit "$(sh deps/fetch_status.sh "$1")"
}

if ! command -v dockerd >/dev/null; then
    if [ ! -x "$docker/root/usr/sbin/dockerd" ]; then
        (cd "$docker" && apt-get download -qq docker.io) >"$docker/apt.log" 2>&1 ||
            fail "$docker/apt.log"
        dpkg -x "$docker"/docker.io_*.deb "$docker/root"
    fi
    PATH=$docker/root/usr/sbin:$docker/root/usr/bin:$PATH
fi
export DOCKER_HOST="unix://$docker/docker.sock" DOCKER_BUILDKIT=1

mkdir -p "$docker/data"
# shellcheck disable=SC2016 # $0 is the inner shell's
unshare --mount --propagation private sh -euc 'mount -t tmpfs tmpfs "$0"; exec "$@"' "$docker/data" \
    dockerd --data-root "$docker/data" --exec-root "$docker/exec" --pidfile "$docker/docker.pid" \
    --host "$DOCKER_HOST" --storage-driver overlay2 --bridge none --iptables=false --ip-masq=false \
    >"$docker/dockerd.log" 2>&1 &
daemon=$!
trap 'kill $daemon 2>/dev/null; wait $daemon || true; rm -rf "$docker/exec" "$docker/clone"' EXIT
trap 'exit 130' HUP INT TERM
tries=0
until docker version >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 $daemon; then
        fail "$docker/dockerd.log"
    fi
    sleep 0.2
done

images push -q "$base" "docker-archive:$docker/base.tar:$base" >/dev/null
docker load -q -i "$docker/base.tar" >/dev/null
rm "$docker/base.tar"
rm -rf "$docker/clone"
git clone -q . "$docker/clone"

build() { # TAG [ARGUMENT ...]
    tag=$1
    shift
    echo "docker: building $tag" >&2
    (cd "$docker/clone" && docker build --no-cache --network host --progress plain "$@" \
        --build-arg COMMIT="$(git rev-parse HEAD)" \
        --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t "$tag" .) \
        >"$docker/build.log" 2>&1 || fail "$docker/build.log"
}

layer_of() {
    docker inspect --format '{{join .RootFS.Layers ","}}' "$1"
}

build spegel:docker
build spegel:again
docker run --rm --network none spegel:docker version
first=$(layer_of spegel:docker)
echo "$(docker version --format 'Docker {{.Server.Version}}'): layer $first"
if [ "$(layer_of spegel:again)" != "$first" ]; then
    echo "docker: the second time it was $(layer_of spegel:again)" >&2
    exit 1
fi
for platform in arm64 arm/v7; do
    build "spegel:${platform%%/*}" --platform "linux/$platform"
    docker inspect --format '{{.Os}}/{{.Architecture}}: layer {{join .RootFS.Layers ","}}' "$tag"
done
