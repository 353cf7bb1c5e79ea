#!/bin/sh
# Installs haproxy-vitals from the folder that this file lies in.
set -eu

usage() {
    cat <<EOF
usage: install.sh [--prefix DIR] [--root DIR] [--remove]

  --prefix DIR  where to, seen from --root; /usr/local
  --root DIR    the file system to install into, for images and packages; /
  --remove      take away what was installed, and nothing else

The module and its loader go to PREFIX/share/haproxy-vitals/, the agent to PREFIX/bin/, its unit to
PREFIX/lib/systemd/system/, documents and examples to PREFIX/share/doc/haproxy-vitals/. Files are
replaced by rename: a HAProxy that runs keeps the module that it has loaded until it is reloaded.
Configuration is neither written nor removed.
EOF
}

fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

prefix=/usr/local
root=
remove=
while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --root) [ $# -ge 2 ] || fail "$1 needs a folder" ;;
    esac
    case $1 in
        --prefix) prefix=$2; shift 2 ;;
        --root) root=${2%/}; shift 2 ;;
        --remove) remove=yes; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done
case $prefix in /*) ;; *) fail "--prefix: expected an absolute path, found \"$prefix\"" ;; esac

from=$(cd "$(dirname "$0")" && pwd)
share=$prefix/share/haproxy-vitals
doc=$prefix/share/doc/haproxy-vitals

# contents FILE: what is to be there.
contents() {
    case $1 in
        *.service) sed "s|^ExecStart=/usr/local/bin/|ExecStart=$prefix/bin/|" "$1" ;;
        *) cat "$1" ;;
    esac
}

# put MODE FILE FOLDER: by rename, never into a file that is in use.
put() {
    mkdir -p "$root$3"
    # The unit names the agent's place.
    contents "$from/$2" >"$root$3/.${2##*/}.new"
    chmod "$1" "$root$3/.${2##*/}.new"
    mv -f "$root$3/.${2##*/}.new" "$root$3/${2##*/}"
}

# each ACTION: ACTION MODE FILE FOLDER, for everything that is installed.
each() {
    "$1" 0755 haproxy_vitals.so "$share"
    "$1" 0644 otel.lua "$share"
    "$1" 0755 haproxy-vitals-agent "$prefix/bin"
    "$1" 0644 haproxy-vitals-agent.service "$prefix/lib/systemd/system"
    for file in LICENSE NOTICE README.md; do "$1" 0644 "$file" "$doc"; done
    for file in minimal/haproxy.cfg complete/haproxy.cfg complete/haproxy-vitals.toml; do
        "$1" 0644 "examples/$file" "$doc/examples/${file%/*}"
    done
}

take() { rm -f "$root$3/${2##*/}"; }

if [ -n "$remove" ]; then
    each take
    # Only what is empty, and ours alone.
    for folder in "$doc/examples/minimal" "$doc/examples/complete" "$doc/examples" "$doc" "$share"; do
        [ ! -d "$root$folder" ] || rmdir "$root$folder" 2>/dev/null || printf 'kept, not empty: %s\n' "$root$folder"
    done
    # Ours or not, nobody misses them when they are empty.
    for folder in "$prefix/share/doc" "$prefix/lib/systemd/system" "$prefix/lib/systemd"; do
        rmdir "$root$folder" 2>/dev/null || true
    done
    exit 0
fi

# Before anything is written.
missing=
check() { [ -f "$from/$2" ] || missing="$missing $2"; }
each check
[ -z "$missing" ] || fail "not in $from:$missing"
each put
cat <<EOF
haproxy-vitals is installed. To trace every request, write at the top of HAProxy's configuration,
for what it reads before is not traced:

    global
        tune.lua.bool-sample-conversion normal
        lua-load-per-thread $share/otel.lua

and check it: haproxy -c -f /etc/haproxy/haproxy.cfg. More in $doc/examples/.
EOF
