# Sourced by the scripts that build images. Not a task: not executable.
# shellcheck shell=bash

# Everything of images, containers and their bases lies here.
IMAGES="$LOCAL/images"
# As images name kinds of machines.
# shellcheck disable=SC2034 # for the scripts that source this
IMAGE_ARCHES="amd64 arm64"

# engine: Debian's programs for images, with a storage of their own.
engine() {
    need buildah buildah
    need podman podman
    need skopeo skopeo
    need runc runc
    mkdir -p "$IMAGES"
    export CONTAINERS_STORAGE_CONF="$IMAGES/storage.conf"
    [ -f "$CONTAINERS_STORAGE_CONF" ] || { storage overlay && buildah info >/dev/null 2>&1; } || storage vfs
}

# storage DRIVER: overlay is quicker, and needs a file system and a kernel that can.
storage() {
    printf '[storage]\ndriver = "%s"\ngraphroot = "%s"\nrunroot = "%s"\n' "$1" "$IMAGES/storage" "$IMAGES/run" >"$IMAGES/storage.conf"
}

# machine ARCH: as Rust and archives name it.
machine() { case "$1" in amd64) echo x86_64 ;; arm64) echo aarch64 ;; esac; }

# musl_haproxy ARCH: a HAProxy under .local/ that is built for musl and this kind of machine; nothing where there is none.
musl_haproxy() {
    local binary found=
    for binary in "$LOCAL"/haproxy-musl*/bin/haproxy "$LOCAL"/haproxy-musl*/*/bin/haproxy "$LOCAL"/haproxy-musl*/{,*/}{sbin,usr/sbin}/haproxy; do
        ! readelf -l "$binary" 2>/dev/null | grep -q "ld-musl-$(machine "$1")" || found=$binary
    done
    [ -z "$found" ] || realpath "$found"
}
