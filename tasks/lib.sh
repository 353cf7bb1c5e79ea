# Sourced by the scripts beside it: paths, versions, and what they share. Not a task: not executable.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LOCAL="$ROOT/.local"
# shellcheck disable=SC2034 # for the scripts that source this
TASKS="$ROOT/tasks"
# shellcheck source=../versions.env
. "$ROOT/versions.env"
mkdir -p "$LOCAL"

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# need COMMAND PACKAGE: installs Debian's PACKAGE when COMMAND is missing.
need() {
    have "$1" && return
    have apt-get || die "\`$1\` is missing, and this machine has no apt-get to install \`$2\` with: install it by hand"
    say "installing $2 (for $1)"
    local as_root=()
    [ "$(id -u)" = 0 ] || { have sudo || die "\`$1\` is missing: install Debian's package \`$2\` as root"; as_root=(sudo); }
    # Lists may be missing altogether on a fresh machine, or name versions that are gone.
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y --no-install-recommends "$2" >"$LOCAL/apt.log" 2>&1 ||
        { "${as_root[@]}" apt-get update >"$LOCAL/apt.log" 2>&1 &&
            DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y --no-install-recommends "$2" >>"$LOCAL/apt.log" 2>&1; } ||
        { tail -n 20 "$LOCAL/apt.log" >&2; die "cannot install \`$2\`"; }
    have "$1" || die "\`$2\` was installed and still gives no \`$1\`"
}

# from_pypi PACKAGE VERSION: installs it into .local/PACKAGE-VERSION, unless it is there. False where it cannot be had.
from_pypi() {
    local place="$LOCAL/$1-$2"
    [ ! -d "$place" ] || return 0
    need pip3 python3-pip
    rm -rf "$place.new"
    pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target "$place.new" "$1==$2" >"$LOCAL/pip.log" 2>&1 || return 1
    mv "$place.new" "$place"
}

# need_component COMPONENT COMMAND: installs a part of the Rust toolchain when COMMAND does not run.
need_component() {
    "$2" --version >/dev/null 2>&1 && return
    have rustup || die "\`$2\` is missing: install the toolchain's component \`$1\`"
    say "installing $1 (for $2)"
    rustup component add "$1" >&2
}

# at_least VERSION MINIMUM: true when dotted VERSION is MINIMUM or newer.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# The project's version.
version() { sed -nE '/^\[workspace.package\]/,/^\[/ s/^version = "(.*)"/\1/p' "$ROOT/Cargo.toml" | grep .; }

# The nightly toolchain, which has the sanitizers. False where it cannot be had.
nightly() {
    cargo +nightly --version >/dev/null 2>&1 && return
    have rustup || return 1
    say "installing the nightly toolchain"
    rustup toolchain install nightly --profile minimal >"$LOCAL/rustup.log" 2>&1
}

# mirror_of_this_machine [OPTION...]: with options for apt-get.
# The format's variables are apt's, not the shell's.
# shellcheck disable=SC2016
mirror_of_this_machine() {
    local uri origin label _
    while read -r uri origin label _; do
        if [ "$origin" = Debian ] && [ "$label" = Debian ]; then echo "$uri"; return; fi
    done < <(apt-get "$@" indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL) $(SIGNED_BY)' 'Created-By: Packages' 2>/dev/null | sort -u)
}

# With whose keys Debian signs; empty where only apt knows.
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$KEYRING" ] || KEYRING=
