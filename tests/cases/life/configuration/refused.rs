//! Settings that HAProxy must not start with: the message names the key, its source, and what was expected.

use haproxy_vitals_tests::haproxy::{Builder, CheckOutcome};
use haproxy_vitals_tests::{Mode, Upstream};

use super::super::{Door, PER_THREAD, config, proxy};

#[test]
fn wrong_arguments_are_refused() {
    refused(
        &arguments("runtime.worker=2"),
        &["unknown key `runtime.worker`", ARGUMENT, "did you mean `runtime.workers`?"],
    );
    refused(
        &arguments("runtime.workers=two"),
        &["`runtime.workers`", ARGUMENT, "expected a whole number, found text `two`"],
    );
    refused(&arguments("runtime.workers=0"), &["`runtime.workers`", ARGUMENT, "expected 1 to 64, found `0`"]);
    refused(&arguments("traces.ratio=1.5"), &["`traces.ratio`", ARGUMENT, "expected 0 to 1, found `1.5`"]);
    refused(&arguments("traces.ratio=1 traces.ratio=0"), &["`traces.ratio`", ARGUMENT, "expected once, found twice"]);
    refused(&arguments("verbose"), &["lua-load argument", "expected `key=value`, found `verbose`"]);
    refused(
        &arguments("export.endpoint=collector:4318"),
        &["`export.endpoint`", ARGUMENT, "expected a URL such as `http://collector:4318`, found `collector:4318`"],
    );
    refused(
        &arguments("export.endpoint=https://collector:4318 export.certificate=/nowhere/ca.pem"),
        &["`export.certificate`: /nowhere/ca.pem: No such file"],
    );
    refused(
        &arguments("config=/nowhere/vitals.toml"),
        &["`config`", ARGUMENT, "expected a file that can be read, found /nowhere/vitals.toml: No such file"],
    );
    refused(
        &arguments("export.max_queue_size=10 export.max_export_batch_size=20"),
        &["`export.max_export_batch_size`", ARGUMENT, "expected at most `export.max_queue_size`", "found `20`"],
    );
}

#[test]
fn the_profile_of_earlier_versions_is_refused_with_what_to_write_instead() {
    // As its `otel.cfg` begins a request, and as it ends one in a frontend's own log line.
    let begin = "defaults otel\n  mode http\n  http-request set-header traceparent \
                 %[req.hdrs,lua.otel_begin,set-var(txn.otel.ctx),bytes(0,55)]\n";
    let end = "  log-format \"%{-M}[txn.sess_term_state,when(error),concat(' ',txn.otel.ctx),lua.otel_end] %ST\"\n";
    for door in Door::ENGINES {
        let text = config(door, &[PER_THREAD]);
        for (old, converter) in [
            (text.replace("frontend front", &format!("{begin}frontend front from otel")), "lua.otel_begin"),
            (text.replace("frontend front\n", &format!("frontend front\n{end}")), "lua.otel_end"),
        ] {
            let check = proxy(&old, &Upstream::start()).check();
            let said = ["haproxy-vitals: otel.cfg is gone", "write `frontend NAME`", "no `${VITALS_LOG}`", converter];
            assert!(!check.ok && said.iter().all(|part| check.output.contains(part)), "{door:?}: {}", check.output);
        }
    }
}

#[test]
fn a_wrong_file_is_refused() {
    refused(&file("[runtime]\nworker = 2\n"), &["unknown key `runtime.worker`", "vitals.toml:2", "`runtime.workers`?"]);
    refused(&file("[service]\nnam = 'x'\n"), &["unknown key `service.nam`", "vitals.toml:2", "`service.name`?"]);
    refused(
        &file("[runtime]\n\nworkers = '4'\n"),
        &["`runtime.workers`", "vitals.toml:3", "expected a whole number, found text `4`"],
    );
    refused(
        &file("[export]\ntimeout = '2 seconds'\n"),
        &["`export.timeout`", "vitals.toml:2", "expected a duration such as `500ms`, `2s` or `1m`, found `2 seconds`"],
    );
    refused(
        &file("[traces]\nsampler = 'always_onn'\n"),
        &["`traces.sampler`", "vitals.toml:2", "expected always_on or always_off", "did you mean `always_on`?"],
    );
    refused(&file("[traces]\nratio = \n"), &["vitals.toml:2:9", "expected TOML"]);
    refused(
        &file("[[health.backend]]\nname = 'back'\n[[health.backend]]\nname = 'back'\n"),
        &["`health.backend`", "vitals.toml:3", "expected one table for each backend, found a second `back`", "toml:1"],
    );
    refused(
        &file("[[health.backend]]\nname = 'back'\ninterval = '1s'\nrpc_timeout = '900ms'\n"),
        &["`health.backend.back.interval`", "vitals.toml:3", "expected at least `connect_timeout` + `rpc_timeout`"],
    );
    refused(&file("[[health.backend]]\nrise = 2\n"), &["`health.backend[1].name`", "vitals.toml:1", "found nothing"]);
}

#[test]
fn a_wrong_rule_is_refused_with_its_line() {
    refused(
        &file("[[traces.rule]]\ndrop = true\n\n[[traces.rule]]\npath_prefx = '/a'\ndrop = true\n"),
        &["unknown key `traces.rule[2].path_prefx`", "vitals.toml:5", "did you mean `path_prefix`?"],
    );
    refused(
        &file("[[traces.rule]]\ndrop = true\nratio = 0.5\n"),
        &["`traces.rule[1]`", "vitals.toml:1", "expected one of `drop`", "found `drop` and `ratio`"],
    );
    refused(
        &file("[[traces.rule]]\npath = '/a'\n"),
        &["`traces.rule[1]`", "vitals.toml:1", "expected one of `drop`", "found none"],
    );
    refused(
        &file("[[traces.rule]]\nsource = ['192.0.2.0/33']\ndrop = true\n"),
        &["`traces.rule[1].source`", "vitals.toml:2", "expected addresses or networks"],
    );
    for pattern in ["(", "a{1000}{1000}", "a)|(b"] {
        refused(
            &file(&format!("[[traces.rule]]\npath_pattern = '{pattern}'\ndrop = true\n")),
            &["`traces.rule[1].path_pattern`", "vitals.toml:2", "expected regular expressions of at most 1 KiB"],
        );
    }
    refused(
        &file("[[traces.rule]]\ndrop = false\n"),
        &["`traces.rule[1].drop`", "vitals.toml:2", "expected `true`, found `false`"],
    );
    refused(
        &file("[[traces.rule]]\ndrop = true\nheader = { nam = 'x' }\n"),
        &["unknown key `traces.rule[1].header.nam`", "vitals.toml:3", "did you mean `name`?"],
    );
    refused(
        &file("[[traces.rule]]\nrate = 0\n"),
        &["`traces.rule[1].rate`", "vitals.toml:2", "expected 1 to 1000000, found `0`"],
    );
    refused(
        &file(&"[[traces.rule]]\ndrop = true\n".repeat(129)),
        &["`traces.rule`", "vitals.toml:1", "expected at most 128 tables, found 129"],
    );
}

#[test]
fn wrong_variables_of_our_own_are_refused() {
    let with = |name: &str, value: &str| proxy_with(PER_THREAD).env(name, value);
    refused(
        &|| with("HAPROXY_VITALS_RUNTIME_WORKER", "2"),
        &[
            "unknown environment variable `HAPROXY_VITALS_RUNTIME_WORKER`",
            "did you mean `HAPROXY_VITALS_RUNTIME_WORKERS`?",
        ],
    );
    refused(
        &|| with("HAPROXY_VITALS_RUNTIME_STOP_TIMEOUT", "2"),
        &["`runtime.stop_timeout`", "environment HAPROXY_VITALS_RUNTIME_STOP_TIMEOUT", "expected a duration"],
    );
    refused(
        &|| with("HAPROXY_VITALS_RUNTIME_TERM_TIMEOUT", "11s"),
        &[
            "`runtime.term_timeout`",
            "environment HAPROXY_VITALS_RUNTIME_TERM_TIMEOUT",
            "expected 0s to 10s, found `11s`",
        ],
    );
    refused(
        &|| with("HAPROXY_VITALS_CONFIG", "/nowhere"),
        &["`config`", "environment HAPROXY_VITALS_CONFIG", "expected a file that can be read"],
    );
}

#[test]
fn a_wrong_table_names_the_key_and_the_line_of_the_script() {
    for (table, expected) in [
        (
            "{ runtime = { worker = 2 } }",
            "unknown key `runtime.worker` (option in Lua); did you mean `runtime.workers`?",
        ),
        (
            "{ runtime = { workers = '2' } }",
            "`runtime.workers` (option in Lua): expected a whole number, found text `2`",
        ),
        ("{ ['traces.ratio'] = 2 }", "`traces.ratio` (option in Lua): expected 0 to 1, found `2`"),
        ("{ traces = print }", "option `traces`: a function is no setting"),
        ("{ 'runtime.workers' }", "lua-load argument: expected `key=value`, found `runtime.workers`"),
        ("{ 'config=/nowhere' }", "`config` (lua-load argument): expected a file that can be read"),
        ("{ [2.5] = 'x' }", "option keys are names"),
        ("'config=x'", "register: expected a table of options, found a string"),
        ("{ {} }", "haproxy-vitals: "),
    ] {
        let text = format!("local vitals = require('haproxy_vitals')\n\nvitals.register({table})\n");
        let builder = || proxy_with("lua-load-per-thread ${dir}/mine.lua").file("mine.lua", &text);
        refused(&builder, &[expected, "mine.lua:3"]);
    }
}

#[test]
fn a_refused_header_does_not_show_its_value() {
    let outcome = refused(&file("[export.headers]\n'a b' = 's3cret'\n"), &["`export.headers.a b`", "vitals.toml:2"]);
    assert!(outcome.output.contains("expected a header's name") && !outcome.output.contains("s3cret"));
}

#[test]
fn nothing_starts_in_any_mode() {
    for mode in [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon] {
        let refusal = arguments("runtime.worker=2")().mode(mode).try_start().err().unwrap();
        assert!(refusal.contains("unknown key `runtime.worker`"), "{mode:?}: {refusal}");
    }
}

/// Checks that `haproxy -c` refuses, says all of `expected` on one line, and starts no thread.
#[track_caller]
fn refused(builder: &dyn Fn() -> Builder, expected: &[&str]) -> CheckOutcome {
    let outcome = builder().check();
    let says = |line: &str| expected.iter().all(|part| line.contains(part));
    assert!(!outcome.ok, "accepted instead of {expected:?}: {}", outcome.output);
    let lines: Vec<&str> = outcome.output.lines().filter(|line| says(line)).collect();
    assert_eq!(lines.len(), 1, "{expected:?} on one line: {}", outcome.output);
    assert_eq!(lines[0].matches("haproxy-vitals: ").count(), 1, "{}", lines[0]);
    assert_eq!(outcome.thread_names, ["haproxy"]);
    outcome
}

/// A proxy whose global section loads the module by this line.
fn proxy_with(load: &str) -> Builder {
    let builder = proxy(&config(Door::ZeroLines, &["nbthread 2", load]), &Upstream::start());
    builder.env("OTEL_TRACES_EXPORTER", "otlp")
}

fn arguments(text: &str) -> impl Fn() -> Builder {
    let load = format!("{PER_THREAD} {text}");
    move || proxy_with(&load)
}

fn file(contents: &str) -> impl Fn() -> Builder {
    move || proxy_with("lua-load-per-thread ${lua}/otel.lua config=${dir}/vitals.toml").file("vitals.toml", contents)
}

const ARGUMENT: &str = "(lua-load argument";
