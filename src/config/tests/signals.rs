//! `[metrics]` and `[logs]`, and the variables that turn them on.

use std::time::Duration;

use super::{arguments, loaded, variables};
use crate::config::{
    Config, ExemplarFilter, ExporterKind, HistogramKind, LogsConfig, MetricAttribute, MetricsConfig, Temporality,
};

fn quiet(names: &[(&str, &str)]) -> Config {
    let loaded = loaded(variables(names)).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    loaded.config
}

#[test]
fn metrics_and_logs_are_off_until_an_exporter_is_named() {
    for names in [&[][..], &[("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")]] {
        let config = quiet(names);
        assert!(!config.metrics.enabled && !config.logs.enabled, "{names:?}");
    }
    let config = quiet(&[("OTEL_METRICS_EXPORTER", "otlp"), ("OTEL_LOGS_EXPORTER", "OTLP")]);
    assert!(config.metrics.enabled && config.logs.enabled);
    assert_eq!((config.metrics.listen, config.metrics.exporters), (None, vec![ExporterKind::Otlp]));
}

#[test]
fn a_disabled_sdk_leaves_the_metrics_that_settings_ask_for() {
    let by_variable = [("OTEL_SDK_DISABLED", "true"), ("OTEL_METRICS_EXPORTER", "prometheus")];
    assert!(!quiet(&by_variable).metrics.enabled);
    let by_setting = [("OTEL_SDK_DISABLED", "true"), ("HAPROXY_VITALS_METRICS_ENABLED", "true")];
    assert!(quiet(&by_setting).metrics.enabled);
    let overruled = [by_variable[0], by_variable[1], ("HAPROXY_VITALS_TRACES_ENABLED", "true")];
    assert!(quiet(&overruled).metrics.enabled);
}

#[test]
fn prometheus_is_a_listener() {
    let config = quiet(&[("OTEL_METRICS_EXPORTER", "prometheus")]).metrics;
    assert_eq!(config.listen, Some("127.0.0.1:9464".parse().unwrap()));
    assert_eq!((config.enabled, config.exporters), (true, vec![ExporterKind::None]));
    let config = quiet(&[
        ("OTEL_METRICS_EXPORTER", "otlp, Prometheus"),
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "::1"),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "9000"),
    ]);
    assert_eq!(config.metrics.listen, Some("[::1]:9000".parse().unwrap()));
    assert_eq!(config.metrics.exporters, [ExporterKind::Otlp]);
}

#[test]
fn an_unknown_exporter_is_a_warning_and_turns_nothing_on() {
    for (name, key) in [("OTEL_METRICS_EXPORTER", "metrics.exporter"), ("OTEL_LOGS_EXPORTER", "logs.exporter")] {
        let loaded = loaded(variables(&[(name, "statsd")])).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.warnings.len() == 1 && loaded.warnings[0].contains(key), "{:?}", loaded.warnings);
    }
    let loaded = loaded(variables(&[("OTEL_LOGS_EXPORTER", "prometheus")])).unwrap();
    assert!(!loaded.config.logs.enabled && loaded.warnings.len() == 1);
}

#[test]
fn every_variable_of_metrics_and_logs_is_read() {
    let config = quiet(&[
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "500"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "ALWAYS_ON"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "base2_exponential_bucket_histogram"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "20"),
        ("OTEL_BLRP_EXPORT_TIMEOUT", "30"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "40"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "5"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "50"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "60"),
    ]);
    let metrics = MetricsConfig {
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        exemplars: ExemplarFilter::AlwaysOn,
        temporality: Temporality::Delta,
        histogram: HistogramKind::Exponential,
        ..MetricsConfig::default()
    };
    let logs = LogsConfig {
        schedule_delay: Duration::from_millis(20),
        export_timeout: Duration::from_millis(30),
        max_queue_size: 40,
        max_export_batch_size: 4,
        attribute_count_limit: 5,
        attribute_value_length_limit: 60,
        ..LogsConfig::default()
    };
    assert_eq!((config.metrics, config.logs), (metrics, logs));
}

#[test]
fn keys_take_lists_and_addresses_and_refuse_the_rest() {
    let config = loaded(arguments(&[
        "metrics.enabled=true",
        "metrics.attributes=haproxy.backend.name, server.address",
        "metrics.listen=localhost:1234",
    ]));
    let metrics = config.unwrap().config.metrics;
    assert_eq!(metrics.attributes, [MetricAttribute::Backend, MetricAttribute::ServerAddress]);
    assert_eq!(metrics.listen, Some("127.0.0.1:1234".parse().unwrap()));
    for (wrong, expected) in [
        ("metrics.listen=9464", "an address and a port"),
        ("metrics.attributes=url.path", "haproxy.frontend.name or"),
        ("metrics.cardinality_limit=1", "2 to 50000"),
        ("traces.recent=10001", "0 to 10000"),
    ] {
        let error = loaded(arguments(&[wrong])).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
