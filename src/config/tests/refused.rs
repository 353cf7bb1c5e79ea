//! What is refused, with the whole message.

use super::{arguments, from_file, loaded, options, text, variables};
use crate::config::{Sources, Value};

fn refused(sources: Sources) -> String {
    loaded(sources).unwrap_err()
}

fn refused_file(content: &str) -> String {
    from_file(content).unwrap_err()
}

#[test]
fn an_unknown_key_is_told_the_near_one() {
    let message = "unknown key `runtime.worker` (FILE:2); did you mean `runtime.workers`?";
    assert_eq!(refused_file("[runtime]\nworker = 2\n"), message);
    let message = "unknown key `trace` (option in Lua); did you mean `traces`?";
    assert_eq!(refused(options(&[("trace", Value::Table(vec![("sampler".to_owned(), text("x"))]))])), message);
    let message = "unknown key `sampler` (lua-load argument); did you mean `traces.sampler`?";
    assert_eq!(refused(arguments(&["sampler=always_on"])), message);
    let message = "unknown key `health.backend.api.raise` (FILE:3); did you mean `rise`?";
    assert_eq!(refused_file("[[health.backend]]\nname = 'api'\nraise = 2\n"), message);
}

#[test]
fn an_unknown_key_near_to_none_is_told_the_known_ones() {
    let message = "unknown key `runtime.colour` (lua-load argument); \
                   known: runtime.workers, runtime.stop_timeout, runtime.term_timeout";
    assert_eq!(refused(arguments(&["runtime.colour=red"])), message);
}

#[test]
fn the_file_cannot_name_a_file() {
    let message = "unknown key `config` (FILE:1); known: service, runtime, traces, export, metrics, logs, health, agent, \
                   bridge, log";
    assert_eq!(refused_file("config = 'x'"), message);
}

#[test]
fn a_wrong_type_is_refused() {
    let message = "`runtime.workers` (FILE:1): expected a whole number, found text `4`";
    assert_eq!(refused_file("runtime.workers = '4'"), message);
    let message = "`runtime` (FILE:1): expected a table, found number `4`";
    assert_eq!(refused_file("runtime = 4"), message);
    let message = "`traces.sampler` (FILE:1): expected text, found a table";
    assert_eq!(refused_file("traces.sampler.name = 'x'"), message);
    let message = "`traces.enabled` (FILE:1): expected `true` or `false`, found text `yes`";
    assert_eq!(refused_file("traces.enabled = 'yes'"), message);
    let message = "`traces.ratio` (lua-load argument): expected a number, found text `half`";
    assert_eq!(refused(arguments(&["traces.ratio=half"])), message);
    let message = "`health.backend` (lua-load argument): expected a list of tables, found text `api`";
    assert_eq!(refused(arguments(&["health.backend=api"])), message);
    let message = "`health.backend[1]` (FILE:1): expected a table, found text `api`";
    assert_eq!(refused_file("health.backend = ['api']"), message);
    let message = "`service.attributes.a` (FILE:1): expected text, found a list";
    assert_eq!(refused_file("service.attributes.a = [1]"), message);
    let message = "`export.timeout` (FILE:1): expected a duration such as `500ms`, `2s` or `1m`, found number `2`";
    assert_eq!(refused_file("export.timeout = 2"), message);
}

#[test]
fn a_value_out_of_range_is_refused() {
    let message = "`runtime.workers` (FILE:1): expected 1 to 64, found `0`";
    assert_eq!(refused_file("runtime.workers = 0"), message);
    let message = "`runtime.workers` (environment HAPROXY_VITALS_RUNTIME_WORKERS): expected 1 to 64, found `-1`";
    assert_eq!(refused(variables(&[("HAPROXY_VITALS_RUNTIME_WORKERS", "-1")])), message);
    let message = "`runtime.stop_timeout` (FILE:1): expected 0s to 1m, found `61s`";
    assert_eq!(refused_file("runtime.stop_timeout = '61s'"), message);
    let message = "`traces.ratio` (FILE:1): expected 0 to 1, found `1.5`";
    assert_eq!(refused_file("traces.ratio = 1.5"), message);
    let message = "`health.backend.api.rise` (FILE:1): expected 1 to 100, found `101`";
    assert_eq!(refused_file("health.backend = [{ name = 'api', rise = 101 }]"), message);
}

#[test]
fn a_bad_choice_is_told_the_words_and_the_near_one() {
    let message = "`export.protocol` (FILE:1): expected grpc or http/protobuf or http/json, found `gprc`; \
                   did you mean `grpc`?";
    assert_eq!(refused_file("export.protocol = 'gprc'"), message);
    let message = "`export.exporter` (option in Lua): expected otlp or console or file or none, found `jaeger`";
    assert_eq!(refused(options(&[("export.exporter", text("jaeger"))])), message);
}

/// docs/migrating.md.
#[test]
fn what_haproxy_otel_calls_otherwise_is_told_the_word() {
    let told =
        |result: String, meant: &str| assert!(result.ends_with(&format!("; did you mean `{meant}`?")), "{result}");
    for (theirs, here) in [
        ("name=x", "service.name"),
        ("sampler=AlwaysOn", "traces.sampler"),
        ("propagator=w3c", "traces.propagators"),
        ("otlp.endpoint=http://collector:4318", "export.endpoint"),
        ("otlp.protocol=json", "export.protocol"),
        ("traces.sampler=AlwaysOn", "always_on"),
        ("traces.sampler=AlwaysOff", "always_off"),
        ("traces.sampler=ParentBased", "parentbased_always_on"),
        ("traces.propagators=w3c", "tracecontext"),
        ("traces.propagators=zipkin", "b3multi"),
        ("export.protocol=json", "http/json"),
        ("export.protocol=binary", "http/protobuf"),
    ] {
        told(refused(arguments(&[theirs])), here);
    }
}

#[test]
fn exporters_that_contradict_each_other_are_refused() {
    let expected = "expected one exporter or several, or `none` alone, found";
    let message = format!("`export.exporter` (lua-load argument): {expected} `otlp,none`");
    assert_eq!(refused(arguments(&["export.exporter=otlp,none"])), message);
    assert_eq!(refused_file("export.exporter = []"), format!("`export.exporter` (FILE:1): {expected} a list"));
    let message = "`service.detectors` (FILE:1): expected service or host or os or process or command_args or container \
                   or k8s or haproxy, found `hosts`; did you mean `host`?";
    assert_eq!(refused_file("service.detectors = ['hosts']"), message);
}

#[test]
fn a_file_exporter_without_a_place_is_refused() {
    let message = "`export.file.path` (default): expected the file that the exporter `file` writes, found ``";
    assert_eq!(refused(arguments(&["export.exporter=file"])), message);
    let message = "`export.file.path` (lua-load argument): expected a file in a folder that exists, found `/nowhere/x`";
    assert_eq!(refused(arguments(&["export.exporter=file", "export.file.path=/nowhere/x"])), message);
    let message = "`export.file.max_files` (FILE:1): expected 1 to 100, found `0`";
    assert_eq!(refused_file("export.file.max_files = 0"), message);
    let message = "`log.file.path` (FILE:2): expected a file in a folder that exists, found `/nowhere/x`";
    assert_eq!(refused_file("log.to = 'file'\nlog.file.path = '/nowhere/x'"), message);
    let message = "`log.file.path` (default): expected the file that `log.to` writes, found ``";
    assert_eq!(refused_file("log.to = 'file'"), message);
    let message = "unknown key `export.file.pat` (FILE:1); did you mean `export.file.path`?";
    assert_eq!(refused_file("export.file.pat = 'x'"), message);
    assert!(loaded(arguments(&["export.file.path=/nowhere/x"])).is_ok());
}

#[test]
fn a_bad_duration_is_refused() {
    let message = "`export.timeout` (FILE:1): expected a duration such as `500ms`, `2s` or `1m`, found `2 seconds`";
    assert_eq!(refused_file("export.timeout = '2 seconds'"), message);
}

#[test]
fn a_bad_endpoint_is_refused() {
    let message = "`export.endpoint` (FILE:1): expected a URL such as `http://collector:4318`, found `collector:4318`";
    assert_eq!(refused_file("export.endpoint = 'collector:4318'"), message);
}

#[test]
fn half_a_client_certificate_is_refused() {
    let message = "`export.client_key` (FILE:1): expected the file of the client certificate's key, found nothing";
    assert_eq!(refused_file("export.client_certificate = 'c.pem'"), message);
    let message = "`export.client_certificate` (FILE:1): expected the file of the key's certificate, found nothing";
    assert_eq!(refused_file("export.logs.client_key = 'c.key'"), message);
}

#[test]
fn a_bad_proxy_is_refused_without_its_secret() {
    let message = "`export.proxy` (FILE:1): expected `none`, or a URL such as `http://proxy:3128`, found (hidden)";
    assert_eq!(refused_file("export.proxy = 'socks5://user:word@p'"), message);
}

#[test]
fn an_unknown_key_of_one_signal_is_told_the_near_one() {
    let message = "unknown key `export.metrics.endpiont` (FILE:2); did you mean `export.metrics.endpoint`?";
    assert_eq!(refused_file("[export.metrics]\nendpiont = 'x'\n"), message);
}

#[test]
fn text_that_a_key_cannot_take_is_refused() {
    let message = "`service.name` (lua-load argument): expected text that is not empty, found ``";
    assert_eq!(refused(arguments(&["service.name="])), message);
    let message = "`service.attributes.service.name` (lua-load argument): \
                   expected the key `service.name` for the service's name, found `x`";
    assert_eq!(refused(arguments(&["service.attributes.service.name=x"])), message);
    let message = "`health.backend.api.authority` (FILE:1): expected a host, with a port or without, found `a b`";
    assert_eq!(refused_file("health.backend = [{ name = 'api', authority = 'a b' }]"), message);
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_without_its_value() {
    let message = "`export.headers.a b` (lua-load argument): expected a header's name, found (hidden)";
    assert_eq!(refused(arguments(&["export.headers.a b=word"])), message);
    let message = "`export.headers.a` (option in Lua): expected text that a header can carry, found (hidden)";
    assert_eq!(refused(options(&[("export.headers.a", text("wo\nrd"))])), message);
    let message = "`export.headers` (lua-load argument): expected a table, found (hidden)";
    assert_eq!(refused(arguments(&["export.headers=authorization=word"])), message);
}

#[test]
fn a_binary_header_is_refused_with_grpc() {
    let message = "`export.headers.x-bin` (lua-load argument): \
                   expected a header's name without `-bin`, which is binary in gRPC";
    assert_eq!(refused(arguments(&["export.protocol=grpc", "export.headers.x-bin=word"])), message);
    assert!(loaded(arguments(&["export.headers.x-bin=word"])).is_ok());
}

#[test]
fn a_key_that_stands_twice_in_one_source_is_refused() {
    let message = "`traces.ratio` (lua-load argument): expected once, found twice (first: lua-load argument)";
    assert_eq!(refused(arguments(&["traces.ratio=1", "traces.ratio=0"])), message);
    let message = "`config` (lua-load argument): expected once, found twice (first: lua-load argument)";
    assert_eq!(refused(arguments(&["config=a", "config=b"])), message);
    let nested = Value::Table(vec![("ratio".to_owned(), Value::Integer(1))]);
    let message = "`traces.ratio` (option in Lua): expected once, found twice (first: option in Lua)";
    assert_eq!(refused(options(&[("traces", nested), ("traces.ratio", Value::Integer(0))])), message);
    let message = "`health.backend` (FILE:2): expected once, found twice (first: FILE:1)";
    assert_eq!(refused_file("\"health.backend\" = []\nhealth.backend = []"), message);
}

#[test]
fn an_argument_that_is_no_key_and_value_is_refused() {
    assert_eq!(refused(arguments(&["verbose"])), "lua-load argument: expected `key=value`, found `verbose`");
    assert_eq!(refused(arguments(&["=x"])), "lua-load argument: expected `key=value`, found `=x`");
}

#[test]
fn a_batch_over_the_queue_is_refused() {
    let message = "`export.max_export_batch_size` (FILE:2): expected at most `export.max_queue_size`, \
                   100 (FILE:1), found `200`";
    assert_eq!(refused_file("export.max_queue_size = 100\nexport.max_export_batch_size = 200"), message);
}

#[test]
fn timeouts_over_the_interval_are_refused() {
    let message = "`health.backend.api.interval` (FILE:3): expected at least `connect_timeout` + `rpc_timeout`, \
                   1s (default) + 1500ms (FILE:4), found `2s`";
    let content = "[[health.backend]]\nname = 'api'\ninterval = '2s'\nrpc_timeout = '1500ms'\n";
    assert_eq!(refused_file(content), message);
}

#[test]
fn two_tables_for_one_backend_are_refused() {
    let message =
        "`health.backend` (FILE:3): expected one table for each backend, found a second `api` (first: FILE:1)";
    assert_eq!(refused_file("[[health.backend]]\nname = 'api'\n[[health.backend]]\nname = 'api'\n"), message);
}

#[test]
fn a_backend_without_a_name_is_refused() {
    let message =
        "`health.backend[1].name` (FILE:1): expected the name of a backend in HAProxy's configuration, found nothing";
    assert_eq!(refused_file("[[health.backend]]\nrise = 2\n"), message);
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let message = "`config` (lua-load argument): expected a file that can be read, \
                   found /nowhere/vitals.toml: No such file or directory (os error 2)";
    assert_eq!(refused(arguments(&["config=/nowhere/vitals.toml"])), message);
    let message = "`config` (option in Lua): expected text, found number `1`";
    assert_eq!(refused(options(&[("config", Value::Integer(1))])), message);
}

#[test]
fn a_file_that_is_no_toml_is_refused() {
    let message = "FILE:2:9: expected TOML, found an error: string values must be quoted, expected literal string";
    assert_eq!(refused_file("[traces]\nratio = \n"), message);
}

#[test]
fn a_bad_value_is_refused_also_where_a_stronger_source_replaces_it() {
    let sources = Sources {
        options: vec![("runtime.workers".to_owned(), Value::Integer(2))],
        ..variables(&[("HAPROXY_VITALS_RUNTIME_WORKERS", "many")])
    };
    let message = "`runtime.workers` (environment HAPROXY_VITALS_RUNTIME_WORKERS): \
                   expected a whole number, found text `many`";
    assert_eq!(refused(sources), message);
}
