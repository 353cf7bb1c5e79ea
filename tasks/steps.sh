# Sourced by the scripts that test, after lib.sh: steps with names and logs, and the cases of tests/. Not a task: not executable.
# shellcheck shell=bash

LOGS="$ROOT/target/test"
TAIL=60
export CARGO_TERM_PROGRESS_WHEN=never
# What is shipped is what is tested.
TARGET="$(uname -m)-unknown-linux"
export VITALS_MODULE_DIR="$ROOT/target/module/$TARGET-gnu" VITALS_AGENT="$ROOT/target/agent/$TARGET-musl/haproxy-vitals-agent"

# step NAME COMMAND...: shows the output as it comes, keeps it, and repeats its end when the command fails.
step() {
    local name=$1 start=$SECONDS status=0
    shift
    say "== $name"
    mkdir -p "$LOGS"
    "$@" 2>&1 | tee "$LOGS/$name.log" || status=$?
    if [ "$status" != 0 ]; then
        say "== $name FAILED after $((SECONDS - start)) s; the end of target/test/$name.log:"
        tail -n "$TAIL" "$LOGS/$name.log" >&2
        exit 1
    fi
    say "== $name: $((SECONDS - start)) s"
}

# What every case needs: the module, a HAProxy, and what others wrote.
stage() {
    # A fresh machine has Rust, a C compiler and apt; the tasks install the rest.
    have cargo || die "\`cargo\` is missing: install Rust $RUST_VERSION or newer"
    step build "$TASKS/build" --target "$TARGET-gnu"
    step haproxy "$TASKS/haproxy"
    HAPROXY=$("$TASKS/haproxy")
    export HAPROXY
    step third-party "$TASKS/third-party"
}

# cases [NAME...] [--skip NAME]: the cases that have one of these in their names.
cases() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --package haproxy-vitals-tests -- "$@"
    else
        cargo test --locked --package haproxy-vitals-tests -- "$@"
    fi
}
