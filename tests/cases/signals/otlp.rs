//! Metrics and log records on their way to a collector.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::otlp::Protocol;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream, poll};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;

const SETTINGS: &str =
    "[metrics]\nenabled = true\ninterval = '100ms'\n[logs]\nenabled = true\nschedule_delay = '100ms'\n";

#[test]
fn metrics_and_log_records_reach_the_collector_beside_the_spans() {
    const REQUESTS: u64 = 20;
    type Export = fn(Builder, &OtlpReceiver) -> Builder;
    let protocols: [(Protocol, Export); 3] = [
        (Protocol::Grpc, |config, receiver| config.export_grpc(receiver)),
        (Protocol::Http, |config, receiver| config.export_http(receiver)),
        (Protocol::Json, |config, receiver| config.export_json(receiver)),
    ];
    for (protocol, export) in protocols {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(Door::ZeroLines, "", "").upstream(&upstream).settings(SETTINGS);
        let haproxy = export(config, &receiver).start();
        for n in 0..REQUESTS {
            let headers = [("traceparent", &*vitals::traceparent(n))];
            assert_eq!(client::get(haproxy.addr("http"), "/", &headers).status, 200);
        }
        vitals::wait_exported(&haproxy, &receiver, REQUESTS);
        poll::until(SOON, "every request in the histogram", || measured(&receiver) == REQUESTS);
        poll::until(SOON, "a log record of every request", || logged(&receiver).len() as u64 == REQUESTS);
        let mut traces = logged(&receiver);
        traces.sort();
        let expected: Vec<_> = (0..REQUESTS).map(vitals::trace_id).collect();
        assert_eq!(traces, expected, "{protocol:?}");
        poll::until(SOON, "both counted", || {
            let counters = vitals::counters(&haproxy);
            counters.get("logs.exported") == Some(&REQUESTS) && counters.get("metrics.exported") > Some(&0)
        });
        assert!(receiver.requests().iter().all(|received| received.protocol == protocol));
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn bad_certificates_of_any_signal_that_is_used_are_refused() {
    for (signal, refused) in [("metrics", true), ("logs", false)] {
        let settings = format!(
            "[metrics]\nenabled = true\n[export.{signal}]\nendpoint = 'https://127.0.0.1:1'\ncertificate = '/nowhere.pem'\n"
        );
        let check = vitals::zero_lines("", "").set("upstream", "127.0.0.1:1").settings(&settings).check();
        assert_eq!(!check.ok && check.output.contains("/nowhere.pem"), refused, "{signal}: {}", check.output);
    }
}

/// Requests in the newest `http.server.request.duration`.
fn measured(receiver: &OtlpReceiver) -> u64 {
    let Some(newest) = receiver.metrics().pop() else { return 0 };
    let scopes = newest.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| scope.metrics);
    let durations = metrics.filter(|metric| metric.name == "http.server.request.duration");
    let points = durations.flat_map(|metric| match metric.data {
        Some(Data::Histogram(histogram)) => histogram.data_points,
        other => panic!("{other:?}"),
    });
    points.map(|point| point.count).sum()
}

/// Trace ids of the log records.
fn logged(receiver: &OtlpReceiver) -> Vec<String> {
    let resources = receiver.logs().into_iter().flat_map(|request| request.resource_logs);
    let records = resources.flat_map(|resource| resource.scope_logs).flat_map(|scope| scope.log_records);
    records.map(|record| format!("{:032x}", u128::from_be_bytes(record.trace_id.try_into().unwrap()))).collect()
}
