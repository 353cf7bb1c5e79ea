# Sourced by the scripts that build what is shipped. Not a task: not executable.
# shellcheck shell=bash

# The machines and C libraries that releases are for: as archives name them, and as Rust does.
# shellcheck disable=SC2034 # for the scripts that source this
ARCHES="x86_64 aarch64 x86_64-musl aarch64-musl"
TARGETS="x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu x86_64-unknown-linux-musl aarch64-unknown-linux-musl"

# build_for TRIPLE PACKAGE [RUSTFLAG...]: a release build for any of TARGETS, on any machine; what it is made of is written into
# the file (cargo-auditable), and no path of this machine is.
build_for() {
    local triple=$1 package=$2 target=$1 tools registry flags
    shift 2
    [[ " $TARGETS " = *" $triple "* ]] || die "--target: expected one of $TARGETS, found \`$triple\`"
    ! [[ $triple = *-gnu ]] || target+=".$GLIBC_MIN_VERSION"
    need_target "$triple"
    tools=$("$TASKS/cross")
    local -a rust=("$@" "--remap-path-prefix=$ROOT=.")
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do rust+=("--remap-path-prefix=$registry=crates"); done
    # Not by spaces: a checkout may lie in a folder whose name has one.
    flags=$(IFS=$'\x1f'; echo "${rust[*]}")
    PATH="$tools/bin:$PATH" PYTHONPATH="$tools/python" CARGO_ENCODED_RUSTFLAGS=$flags \
        cargo auditable zigbuild --locked --release --package "$package" --target "$target"
}

# need_target TRIPLE: installs Rust's standard library for it.
need_target() {
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] || return 0
    have rustup || die "Rust's standard library for $1 is missing, and so is rustup to install it with"
    say "installing Rust's standard library for $1"
    rustup target add "$1" >&2
}

# put FILE PLACE MODE: by rename, so that who runs or maps the old one keeps it.
put() {
    mkdir -p "${2%/*}"
    install -m "$3" "$1" "$2.new"
    mv -f "$2.new" "$2"
    echo "$2"
}
