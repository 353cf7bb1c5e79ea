# Sourced by the scripts that unpack Debian's packages, after lib.sh: without root, and without a look at the machine's
# package database. The mirror is the one that the machine uses. Not a task: not executable.
# shellcheck shell=bash

# Whose packages: this machine's, unless a script sets another's name.
ARCH=
architecture() { echo "${ARCH:-$(dpkg --print-architecture)}"; }

# private_apt FOLDER SUITE [BASE]: makes FOLDER an apt of its own that knows the packages of these suites.
private_apt() {
    local apt=$1 suite=$2 base=${3:-} mirror arch source
    mirror=$(mirror_of_this_machine)
    if [ -z "$mirror" ]; then
        say "reading the machine's package lists"
        empty_apt "$apt"
        # Into lists of our own: nobody needs to be root.
        local -a own=(
            -o "Dir::State=$apt" -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache"
            -o "APT::Sandbox::User=$(id -un)" -o "Acquire::Languages=none" -o "Debug::NoLocking=true"
        )
        apt-get "${own[@]}" update >/dev/null 2>&1 || true
        mirror=$(mirror_of_this_machine "${own[@]}")
    fi
    [ -n "$mirror" ] || { say "no Debian mirror in this machine's apt configuration"; return 1; }
    arch=$(architecture)
    empty_apt "$apt"
    : >"$apt/status"
    for source in $suite $base; do
        echo "deb [arch=$arch${KEYRING:+ signed-by=$KEYRING}] $mirror $source main"
    done >"$apt/etc/sources.list"
    in_apt "$apt" update || { say "cannot read the package lists of $suite"; return 1; }
}

# in_apt FOLDER ARGUMENT...: apt-get of FOLDER, in its folder of packages; shows the end of what it said when it fails.
in_apt() {
    local apt=$1
    shift
    # A suite in preparation may carry an expired Release file; its signature still counts.
    local -a options=(
        -o "Dir::State=$apt" -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
        -o "Dir::Cache=$apt/cache" -o "Dir::Etc::sourcelist=$apt/etc/sources.list" -o "Dir::Etc::sourceparts=-"
        -o "Dir::Etc::main=-" -o "Dir::Etc::parts=-" -o "Dir::Etc::preferences=$apt/etc/preferences"
        -o "Dir::Etc::preferencesparts=-" -o "APT::Architecture=$(architecture)"
        -o "APT::Sandbox::User=$(id -un)" -o "APT::Install-Recommends=false" -o "Acquire::Check-Valid-Until=false"
        -o "Acquire::Languages=none" -o "Debug::NoLocking=true"
    )
    (cd "$apt/cache/archives" && apt-get "${options[@]}" "$@") >>"$apt/log" 2>&1 || { tail -n 20 "$apt/log" >&2; return 1; }
}

empty_apt() {
    rm -rf "$1"
    mkdir -p "$1"/{lists/partial,cache/archives/partial,etc}
}
