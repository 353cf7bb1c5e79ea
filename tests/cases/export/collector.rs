//! A collector that others wrote understands every signal in every protocol.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use haproxy_vitals_tests::{Collector, OtlpReceiver, SOON, Upstream, client, vitals};

#[test]
fn every_signal_is_understood_in_every_protocol() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let collector = Collector::start(&receiver);
        let endpoint = if protocol == "grpc" { collector.grpc_endpoint() } else { collector.http_endpoint() };
        let haproxy = vitals::zero_lines("", "")
            .upstream(&upstream)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_METRICS_EXPORTER", "otlp")
            .env("OTEL_METRIC_EXPORT_INTERVAL", 100)
            .env("OTEL_LOGS_EXPORTER", "otlp")
            .env("OTEL_BSP_SCHEDULE_DELAY", 20)
            .env("OTEL_BLRP_SCHEDULE_DELAY", 20)
            .start();
        let answer = client::get(haproxy.addr("http"), "/path?q=1", &[("user-agent", "t\u{e4}st")]);
        assert_eq!(answer.status, 200);
        let spans = receiver.wait_for(SOON, |spans| spans.len() >= 2);
        let [server] = &receiver.server_spans()[..] else { panic!("{protocol}: {spans:?}\n{}", collector.log()) };
        let client = receiver.client_span_of(server).unwrap();
        assert_eq!((&client.trace_id, &client.parent_id), (&server.trace_id, &server.span_id));
        assert_eq!((server.str("url.path"), server.int("http.response.status_code")), (Some("/path"), Some(200)));
        assert_eq!(server.str("user_agent.original"), Some("t\u{e4}st"), "{protocol}");
        receiver.wait_metrics(SOON, has_durations);
        let logs = receiver.wait_logs(SOON, |logs| !logs.is_empty());
        let records = logs.iter().flat_map(|log| &log.resource_logs).flat_map(|of| &of.scope_logs);
        assert_eq!(records.flat_map(|of| &of.log_records).count(), 1, "{protocol}");
        haproxy.finish();
        for lost in ["traces.dropped", "rejected", "ERROR"] {
            assert!(!collector.log().contains(lost), "{protocol}: {}", collector.log());
        }
    }
}

fn has_durations(requests: &[ExportMetricsServiceRequest]) -> bool {
    let metrics = requests.iter().flat_map(|request| &request.resource_metrics).flat_map(|of| &of.scope_metrics);
    metrics.flat_map(|of| &of.metrics).any(|metric| metric.name == "http.server.request.duration")
}
