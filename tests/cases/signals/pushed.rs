//! Metrics and log records as they are pushed: read from the files that the exporter `file` writes.

use std::path::Path;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{Haproxy, SOON, Upstream, poll};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tempfile::TempDir;

const REQUESTS: u64 = 200;

fn start(door: Door, upstream: &Upstream, folder: &TempDir) -> Haproxy {
    vitals::config(door, "", "")
        .upstream(upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("OTEL_TRACES_SAMPLER", "traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", "0.5")
        .env("OTEL_METRICS_EXPORTER", "file")
        .env("OTEL_LOGS_EXPORTER", "file")
        .env("OTEL_BLRP_SCHEDULE_DELAY", 50)
        .env("OTEL_SERVICE_NAME", "edge")
        .env("HAPROXY_VITALS_EXPORT_FILE_PATH", folder.path().join("otlp.jsonl").display())
        .start()
}

#[test]
fn the_last_push_at_a_soft_stop_counts_every_request() {
    for door in Door::ENGINES {
        let (upstream, folder) = (Upstream::start(), tempfile::tempdir().unwrap());
        let haproxy = start(door, &upstream, &folder);
        let report = client::load(haproxy.addr("http"), Load::new(4, Until::Count(REQUESTS), "/status/404"));
        assert_eq!(report.total(), REQUESTS, "{report:?}");
        haproxy.soft_stop();
        haproxy.wait_exit(SOON);
        let pushes: Vec<ExportMetricsServiceRequest> =
            lines(&folder.path().join("otlp.metrics.jsonl"), |line| serde_json::from_str(line));
        assert_eq!(pushes.len(), 1, "one interval is a minute");
        let resource = &pushes[0].resource_metrics[0];
        assert_eq!(resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
        let metrics = &resource.scope_metrics[0].metrics;
        let duration = metrics.iter().find(|metric| metric.name == "http.server.request.duration").unwrap();
        let Some(Data::Histogram(histogram)) = &duration.data else { panic!("{duration:?}") };
        assert_eq!(histogram.data_points.iter().map(|point| point.count).sum::<u64>(), REQUESTS, "{door:?}");

        let records = records(&folder);
        assert_eq!(records.len() as u64, REQUESTS, "{door:?}");
        let sampled = records.iter().filter(|record| record.flags & 1 == 1).count();
        assert!(sampled > 0 && (sampled as u64) < REQUESTS, "{sampled}");
        haproxy.finish();
    }
}

#[test]
fn log_records_name_the_trace_and_say_what_happened() {
    let (upstream, folder) = (Upstream::start(), tempfile::tempdir().unwrap());
    let haproxy = start(Door::ZeroLines, &upstream, &folder);
    client::get(haproxy.addr("http"), "/status/503?sig=secret", &[("traceparent", &vitals::traceparent(3))]);
    poll::until(SOON, "the record in the file", || records(&folder).len() == 1);
    let record = records(&folder).remove(0);
    let id = record.trace_id.iter().fold(0, |id: u128, byte| id << 8 | u128::from(*byte));
    assert_eq!((format!("{id:032x}"), record.severity_text.as_str()), (vitals::trace_id(3), "ERROR"));
    assert_eq!(record.event_name, "haproxy.request");
    let Some(Value::StringValue(line)) = record.body.and_then(|body| body.value) else { panic!("no line") };
    assert!(line.contains(" front back/one ") && line.contains(" 503 -- "), "{line}");
    assert!(line.ends_with("\"GET /status/503?sig=REDACTED HTTP/1.1\""), "{line}");
    haproxy.finish();
}

fn records(folder: &TempDir) -> Vec<LogRecord> {
    let requests: Vec<ExportLogsServiceRequest> =
        lines(&folder.path().join("otlp.logs.jsonl"), |line| serde_json::from_str(line));
    let resources = requests.into_iter().flat_map(|request| request.resource_logs);
    resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records).collect()
}

/// The requests in a file; a line that is being written is left out.
fn lines<T>(path: &Path, parse: fn(&str) -> serde_json::Result<T>) -> Vec<T> {
    let text = std::fs::read_to_string(path).unwrap();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| parse(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}
