//! Variables of the OpenTelemetry specification whose effect shows in the settings: each as a real HAProxy's module takes it.

use haproxy_vitals_tests::{OtlpReceiver, Port, Upstream, client, vitals};

use super::{Door, traced};

/// Variable, what it says, the setting, and how that is shown. Several that would exclude each other stand in turns.
#[rustfmt::skip]
const TURNS: &[&[(&str, &str, &str, &str)]] = &[
    &[
        ("OTEL_SERVICE_NAME", "shop", "service.name", "\"shop\""),
        ("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b", "service.attributes.team", "\"a b\""),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio", "traces.sampler", "\"parentbased_traceidratio\""),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25", "traces.ratio", "0.25"),
        ("OTEL_TRACES_EXPORTER", "console", "export.exporter", "\"console\""),
        ("OTEL_BSP_SCHEDULE_DELAY", "70", "export.schedule_delay", "\"70ms\""),
        ("OTEL_BSP_EXPORT_TIMEOUT", "20000", "export.export_timeout", "\"20s\""),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "4000", "export.max_queue_size", "4000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "40", "export.max_export_batch_size", "40"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "3", "traces.link_count_limit", "3"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "4", "traces.event_attribute_count_limit", "4"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "5", "traces.link_attribute_count_limit", "5"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "60", "traces.attribute_value_length_limit", "60"),
        ("OTEL_METRICS_EXPORTER", "console", "metrics.exporter", "\"console\""),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000", "metrics.interval", "\"1s\""),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "500", "metrics.timeout", "\"500ms\""),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_on", "metrics.exemplars", "\"always_on\""),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "metrics.temporality", "\"delta\""),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram", "metrics.histogram",
         "\"base2_exponential_bucket_histogram\""),
        ("OTEL_LOGS_EXPORTER", "console", "logs.exporter", "\"console\""),
        ("OTEL_BLRP_SCHEDULE_DELAY", "20", "logs.schedule_delay", "\"20ms\""),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "3000", "logs.export_timeout", "\"3s\""),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "41", "logs.max_queue_size", "41"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4", "logs.max_export_batch_size", "4"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "6", "logs.attribute_count_limit", "6"),
        ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "61", "logs.attribute_value_length_limit", "61"),
    ],
    &[
        ("OTEL_SDK_DISABLED", "true", "traces.enabled", "false"),
    ],
];

#[test]
fn every_variable_is_taken_by_a_module_in_haproxy() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    for turn in TURNS {
        let mut config =
            traced(Door::ZeroLines, &upstream).env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint());
        for (variable, text, ..) in *turn {
            config = config.env(variable, text);
        }
        let haproxy = config.start();
        let shown = haproxy.cli("show vitals config");
        for (variable, text, key, value) in *turn {
            let line = shown.lines().find(|line| line.split(" = ").next().is_some_and(|name| name.trim() == *key));
            let line = line.unwrap_or_else(|| panic!("no {key}:\n{shown}"));
            let taken = line.contains(&format!("= {value} ")) && line.ends_with(&format!("# environment {variable}"));
            assert!(taken, "{variable}={text}: {line}");
        }
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        haproxy.finish();
    }
}

#[test]
fn prometheus_variables_open_a_listener() {
    let (upstream, receiver, port) = (Upstream::start(), OtlpReceiver::start(), Port::reserve());
    let haproxy = vitals::zero_lines("", "")
        .upstream(&upstream)
        .export_http(&receiver)
        .env("OTEL_METRICS_EXPORTER", "prometheus")
        .env("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
        .env("OTEL_EXPORTER_PROMETHEUS_PORT", port.number())
        .start();
    client::get(haproxy.addr("http"), "/", &[]);
    vitals::wait_exported(&haproxy, &receiver, 1);
    let metrics = client::get(port.addr(), "/metrics", &[]);
    assert_eq!(metrics.status, 200);
    assert!(String::from_utf8_lossy(&metrics.body).contains("http_server_request_duration_seconds_count"));
    haproxy.finish();
}
