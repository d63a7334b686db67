# The program with exactly the libraries it needs, CA certificates, and nothing else: no shell, no
# package manager.
#
#   docker build --build-arg COMMIT="$(git rev-parse HEAD)" \
#       --build-arg SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)" -t registry.example/spegel:0.1.0 .
#
# Built for other architectures with Debian's cross compilers, on whatever machine this runs on:
#
#   docker buildx build --platform linux/amd64,linux/arm64,linux/arm/v7 ...
#
# The same commit and the same package versions give the same files with the same times. Which packages
# those were stands in the image: those that are in it in /var/lib/dpkg/status.d, where scanners look
# for them, and those that it was built with in /usr/share/doc/spegel/build-packages.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM --platform=$BUILDPLATFORM $BASE AS build
ARG TARGETARCH
COPY deps/packages.txt deps/target.sh /src/deps/
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    cd /src; \
    . deps/target.sh; \
    [ -z "$foreign" ] || dpkg --add-architecture "$debian"; \
    apt-get update -qq; \
    # shellcheck disable=SC2046 # a list of words
    apt-get install -y -qq --no-install-recommends ca-certificates $(target_packages build) >/dev/null
COPY . /src
ARG COMMIT=unknown
RUN set -eu; \
    cd /src; \
    . deps/target.sh; \
    # shellcheck disable=SC2086 # a list of words
    cmake -G Ninja -S /src -B /build -DSPEGEL_TESTS=OFF -DSPEGEL_COMMIT="$COMMIT" $cmake; \
    ninja -C /build spegel; \
    install -D /build/spegel /out/usr/local/bin/spegel; \
    "$triplet-strip" /out/usr/local/bin/spegel

# The libraries that the program needs, and those that they need: since glibc 2.34 looking names up
# loads nothing more. A library's package is asked for under both names of its directory, which are one
# since /lib became a link. llhttp is compiled into the program. Licences that several packages of one
# source have are kept once.
ARG SOURCE_DATE_EPOCH=0
RUN set -eu; \
    cd /src; \
    . deps/target.sh; \
    cd /; \
    mkdir -p /out/var/lib/dpkg/status.d /out/etc/ssl/certs; \
    loader=$("$triplet-readelf" -l /out/usr/local/bin/spegel | sed -n 's/.*interpreter: \(.*\)]$/\1/p'); \
    echo "$loader" >/libraries; \
    [ -n "$loader" ]; \
    needed() { "$triplet-readelf" -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)]$/\1/p'; }; \
    take() { \
        for name in $(needed "$1"); do \
            library=/lib/$triplet/$name; \
            if [ "$name" != "${loader##*/}" ] && ! grep -qxF "$library" /libraries; then \
                echo "$library" >>/libraries; \
                take "$library"; \
            fi; \
        done; \
    }; \
    take /out/usr/local/bin/spegel; \
    while read -r library; do \
        cp -L --parents "$library" /out; \
        real=$(readlink -f "$library"); \
        dpkg -S "$real" 2>/dev/null || dpkg -S "${real#/usr}"; \
    done </libraries | sed 's/: .*//' | sort -u >/packages; \
    printf '%s\n' ca-certificates node-llhttp >>/packages; \
    while read -r package; do \
        name=${package%%:*}; \
        dpkg -s "$package" >"/out/var/lib/dpkg/status.d/$name"; \
        cp -L --parents "/usr/share/doc/$name/copyright" /out; \
    done </packages; \
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/; \
    cp -L /etc/os-release /out/etc/; \
    echo 'hosts: files dns' >/out/etc/nsswitch.conf; \
    install -D -m 644 /src/LICENSE /out/usr/share/doc/spegel/copyright; \
    dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' >/out/usr/share/doc/spegel/build-packages; \
    for file in /out/usr/share/doc/*/copyright; do \
        for other in /out/usr/share/doc/*/copyright; do \
            [ "$file" -ef "$other" ] || ! cmp -s "$file" "$other" || ln -f "$file" "$other"; \
        done; \
    done; \
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
