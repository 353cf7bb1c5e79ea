//! `OTEL_*` variables: a bad value warns and counts as unset.

use std::time::Duration;

use super::{environment, loaded, variables};
use crate::config::{Config, ExporterKind, Origin, Protocol, SamplerKind, Sources};

/// The settings that the variables give, without a warning.
fn quiet(names: &[(&str, &str)]) -> Config {
    let loaded = loaded(variables(names)).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    loaded.config
}

/// The only warning that one variable gives, when nothing else changes.
fn ignored(name: &str, value: &str) -> String {
    let loaded = loaded(variables(&[(name, value)])).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.warnings.len(), 1);
    loaded.warnings[0].clone()
}

#[test]
fn every_variable_is_read() {
    let config = quiet(&[
        ("OTEL_SDK_DISABLED", "True"),
        ("OTEL_SERVICE_NAME", "edge"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b"),
        ("OTEL_TRACES_SAMPLER", "ParentBased_TraceIdRatio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.1"),
        ("OTEL_TRACES_EXPORTER", "NONE"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "GRPC"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20x"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "4000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1024"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "128"),
    ]);
    assert!(!config.traces.enabled);
    assert_eq!(config.service.name, "edge");
    assert_eq!(config.service.attributes, [("team".to_owned(), "a b".to_owned())]);
    assert_eq!(config.traces.sampler, SamplerKind::ParentBasedTraceIdRatio);
    assert!((config.traces.ratio - 0.1).abs() < f64::EPSILON);
    assert_eq!((config.export.exporters, config.export.protocol), (vec![ExporterKind::None], Protocol::Grpc));
    assert_eq!(config.export.endpoint.to_string(), "http://c:4317");
    assert_eq!(config.export.headers, [("authorization".to_owned(), "Bearer x".to_owned())]);
    assert_eq!(config.export.timeout, Duration::from_millis(2500));
    assert_eq!(config.export.schedule_delay, Duration::from_millis(100));
    assert_eq!(config.export.export_timeout, Duration::from_secs(4));
    assert_eq!((config.export.max_queue_size, config.export.max_export_batch_size), (1024, 128));
}

#[test]
fn the_variable_for_traces_wins() {
    let config = quiet(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/in"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=general,b=general"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=traces"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
    ]);
    assert_eq!(config.export.endpoint.to_string(), "http://traces:80/in");
    assert_eq!(config.export.headers, [("a".to_owned(), "traces".to_owned())]);
    assert_eq!(config.export.timeout, Duration::from_millis(2));
    assert_eq!(config.export.protocol, Protocol::HttpProtobuf);
}

#[test]
fn a_bad_variable_for_traces_leaves_the_general_one() {
    let loaded =
        loaded(variables(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "7"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon")]))
            .unwrap();
    assert_eq!(loaded.config.export.timeout, Duration::from_millis(7));
    assert_eq!(loaded.origins.of("export.timeout"), Origin::OpenTelemetry("OTEL_EXPORTER_OTLP_TIMEOUT"));
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn an_empty_variable_is_unset() {
    assert_eq!(
        quiet(&[("OTEL_SERVICE_NAME", ""), ("OTEL_SDK_DISABLED", ""), ("OTEL_BSP_MAX_QUEUE_SIZE", "")]),
        Config::default()
    );
}

#[test]
fn a_bad_value_warns_and_counts_as_unset() {
    assert_eq!(
        ignored("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        "`export.schedule_delay` (environment OTEL_BSP_SCHEDULE_DELAY): expected whole milliseconds, found `5s`; ignored"
    );
    assert_eq!(
        ignored("OTEL_BSP_SCHEDULE_DELAY", "0"),
        "`export.schedule_delay` (environment OTEL_BSP_SCHEDULE_DELAY): expected 1ms to 1h, found `0`; ignored"
    );
    assert_eq!(
        ignored("OTEL_BSP_MAX_QUEUE_SIZE", "-5"),
        "`export.max_queue_size` (environment OTEL_BSP_MAX_QUEUE_SIZE): expected 1 to 1048576, found `-5`; ignored"
    );
    assert_eq!(
        ignored("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        "`traces.sampler` (environment OTEL_TRACES_SAMPLER): expected always_on or always_off or traceidratio or \
         parentbased_always_on or parentbased_always_off or parentbased_traceidratio, found `jaeger_remote`; ignored"
    );
    assert_eq!(
        ignored("OTEL_TRACES_SAMPLER_ARG", "2"),
        "`traces.ratio` (environment OTEL_TRACES_SAMPLER_ARG): expected 0 to 1, found `2`; ignored"
    );
    assert_eq!(
        ignored("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        "`export.endpoint` (environment OTEL_EXPORTER_OTLP_ENDPOINT): \
         expected a URL such as `http://collector:4318`, found `collector:4318`; ignored"
    );
    assert_eq!(
        ignored("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        "`export.protocol` (environment OTEL_EXPORTER_OTLP_PROTOCOL): expected grpc or http/protobuf, found `http/json`; ignored"
    );
}

#[test]
fn unknown_exporters_in_a_list_are_ignored_one_by_one() {
    let loaded = loaded(variables(&[("OTEL_TRACES_EXPORTER", "zipkin,Console,otlp")])).unwrap();
    assert_eq!(loaded.config.export.exporters, [ExporterKind::Console, ExporterKind::Otlp]);
    assert_eq!(loaded.warnings, ["OTEL_TRACES_EXPORTER: unknown exporter `zipkin`; ignored"]);
    assert_eq!(
        ignored("OTEL_TRACES_EXPORTER", "zipkin"),
        "`export.exporter` (environment OTEL_TRACES_EXPORTER): expected otlp or console or file or none, \
         found `zipkin`; ignored"
    );
}

#[test]
fn a_boolean_that_is_neither_is_reported_and_false() {
    let message = "OTEL_SDK_DISABLED: expected `true` or `false`, found `1`; taken as `false`";
    assert_eq!(ignored("OTEL_SDK_DISABLED", "1"), message);
}

#[test]
fn one_bad_attribute_spoils_all() {
    let message =
        "OTEL_RESOURCE_ATTRIBUTES: expected `key=value` between commas, found a part without `=`; all of it is ignored";
    assert_eq!(ignored("OTEL_RESOURCE_ATTRIBUTES", "a=b,c"), message);
}

#[test]
fn bad_headers_are_not_repeated() {
    let message =
        "OTEL_EXPORTER_OTLP_HEADERS: expected percent-encoded UTF-8, found a broken escape; all of it is ignored";
    assert_eq!(ignored("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%"), message);
    let message = "`export.headers.a` (environment OTEL_EXPORTER_OTLP_HEADERS): \
                   expected text that a header can carry, found (hidden); ignored";
    assert_eq!(ignored("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A"), message);
}

#[test]
fn what_this_version_cannot_do_is_reported() {
    let message = "OTEL_EXPORTER_OTLP_COMPRESSION: not supported by this version; ignored";
    assert_eq!(ignored("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), message);
    assert_eq!(quiet(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "none")]), Config::default());
}

#[test]
fn a_grpc_endpoint_without_a_scheme_is_plain_only_when_said() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    let config = quiet(&[grpc, endpoint, ("OTEL_EXPORTER_OTLP_INSECURE", "true")]);
    assert_eq!(config.export.endpoint.to_string(), "http://collector:4317");
    let message = "`export.endpoint` (environment OTEL_EXPORTER_OTLP_ENDPOINT): TLS to the collector is not supported \
                   by this version: expected `http://`, found `https://collector:4317`; \
                   for an endpoint without a scheme set OTEL_EXPORTER_OTLP_INSECURE=true";
    assert_eq!(loaded(variables(&[grpc, endpoint])).unwrap_err(), message);
}

#[test]
fn tls_is_an_error_only_where_spans_would_be_sent() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector");
    assert!(loaded(variables(&[endpoint])).is_err());
    assert!(loaded(variables(&[endpoint, ("OTEL_SDK_DISABLED", "true")])).is_ok());
    assert!(loaded(variables(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")])).is_ok());
    let replaced = Sources { arguments: vec!["export.endpoint=http://c".to_owned()], ..variables(&[endpoint]) };
    assert!(loaded(replaced).is_ok());
}

#[test]
fn a_queue_below_the_default_batch_lowers_the_batch() {
    let loaded = loaded(variables(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100")])).unwrap();
    assert_eq!(loaded.config.export.max_export_batch_size, 100);
    let message = "`export.max_export_batch_size` (default): lowered from 512 to 100, \
                   `export.max_queue_size` (environment OTEL_BSP_MAX_QUEUE_SIZE)";
    assert_eq!(loaded.warnings, [message]);
}

#[test]
fn an_argument_for_a_sampler_that_takes_none_is_reported() {
    let loaded =
        loaded(variables(&[("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")])).unwrap();
    let message = "`traces.ratio` (environment OTEL_TRACES_SAMPLER_ARG): not used, because \
                   `traces.sampler` (environment OTEL_TRACES_SAMPLER) is always_on";
    assert_eq!(loaded.warnings, [message]);
}

#[test]
fn an_attempt_longer_than_the_export_is_reported() {
    let loaded = loaded(variables(&[("OTEL_BSP_EXPORT_TIMEOUT", "5000")])).unwrap();
    let message = "`export.timeout` (default): 10s is never reached, because \
                   `export.export_timeout` (environment OTEL_BSP_EXPORT_TIMEOUT) is 5s";
    assert_eq!(loaded.warnings, [message]);
}

#[test]
fn our_own_variable_is_stronger_and_strict() {
    let both = environment(&[("HAPROXY_VITALS_EXPORT_TIMEOUT", "3s"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "9")]);
    let loaded_both = loaded(Sources { environment: both, ..Sources::default() }).unwrap();
    assert_eq!(loaded_both.config.export.timeout, Duration::from_secs(3));
    let message = "`export.timeout` (environment HAPROXY_VITALS_EXPORT_TIMEOUT): \
                   expected a duration such as `500ms`, `2s` or `1m`, found `9`";
    assert_eq!(loaded(variables(&[("HAPROXY_VITALS_EXPORT_TIMEOUT", "9")])).unwrap_err(), message);
}
