# The program with exactly the libraries it needs, CA certificates, and nothing else: no shell, no
# package manager.
#
#   docker build --build-arg COMMIT="$(git rev-parse HEAD)" \
#       --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t registry.example/spegel:0.1.0 .
#
# The same commit and the same package versions give the same files with the same times. Which
# packages those were stands in the image, /var/lib/dpkg/status.d, where scanners look for it.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM $BASE AS build
COPY deps/packages.txt /src/deps/packages.txt
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    apt-get update -qq; \
    # shellcheck disable=SC2046 # a list of words
    apt-get install -y -qq --no-install-recommends ca-certificates \
        $(sed -n 's/^build: //p' /src/deps/packages.txt) >/dev/null
COPY . /src
ARG COMMIT=unknown
RUN cmake -G Ninja -S /src -B /build -DSPEGEL_TESTS=OFF -DSPEGEL_COMMIT="$COMMIT" \
    && ninja -C /build spegel \
    && install -D -s /build/spegel /out/usr/local/bin/spegel

# What ldd names is what is needed: since glibc 2.34 looking names up loads nothing more. A library's
# package is asked for under both names of its directory, which are one since /lib became a link.
ARG SOURCE_DATE_EPOCH=0
RUN set -eu; \
    cd /; \
    mkdir -p /out/var/lib/dpkg/status.d /out/etc/ssl/certs; \
    ldd /out/usr/local/bin/spegel | grep -o '/[^ ]*' | sort -u >/libraries; \
    while read -r library; do \
        cp -L --parents "$library" /out; \
        real=$(readlink -f "$library"); \
        dpkg -S "$real" 2>/dev/null || dpkg -S "${real#/usr}"; \
    done </libraries | sed 's/[:,].*//' | sort -u >/packages; \
    echo ca-certificates >>/packages; \
    while read -r package; do \
        dpkg -s "$package" >"/out/var/lib/dpkg/status.d/$package"; \
        cp -L --parents "/usr/share/doc/$package/copyright" /out; \
    done </packages; \
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/; \
    cp -L /etc/os-release /out/etc/; \
    echo 'hosts: files dns' >/out/etc/nsswitch.conf; \
    install -D -m 644 /src/LICENSE /out/usr/share/doc/spegel/copyright; \
    find /out -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

FROM scratch
COPY --from=build /out/ /
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="spegel" \
      org.opencontainers.image.description="A stateless, cluster-local mirror of OCI registries" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$COMMIT"
ENTRYPOINT ["/usr/local/bin/spegel"]
