//! Every export protocol carries the same spans.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::otlp::Protocol;
use haproxy_vitals_tests::vitals;
use haproxy_vitals_tests::{OtlpReceiver, SOON, SpanView, Upstream};

#[test]
fn every_protocol_gives_the_same_spans() {
    let by_http = spans(Protocol::Http);
    assert_eq!(by_http.len(), 5);
    assert_eq!(by_http, spans(Protocol::Grpc));
    assert_eq!(by_http, spans(Protocol::Json));
}

fn spans(protocol: Protocol) -> Vec<String> {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::zero_lines("  http-request deny if { path /denied }\n", "").upstream(&upstream);
    let haproxy = match protocol {
        Protocol::Http => config.export_http(&receiver).start(),
        Protocol::Json => config.export_json(&receiver).start(),
        Protocol::Grpc => config.export_grpc(&receiver).start(),
    };
    for (n, path) in (0..).zip(["/a?b=c", "/denied", "/status/500"]) {
        let traceparent = vitals::traceparent(n);
        let headers = [("traceparent", &*traceparent), ("tracestate", "a=1"), ("user-agent", "same"), ("host", "same")];
        client::get(haproxy.addr("http"), path, &headers);
    }
    let mut spans = receiver.wait_spans(5, SOON);
    spans.sort_by_key(|span| (span.trace_id.clone(), span.kind as i32));
    assert!(receiver.requests().iter().all(|request| request.protocol == protocol));
    receiver.assert_clean();
    haproxy.finish();
    spans.into_iter().map(comparable).collect()
}

/// Without what differs from run to run: ids, times, ports, the process.
fn comparable(mut span: SpanView) -> String {
    let varies = |key: &str| key.contains("timer") || key.contains(".port") || key == "haproxy.connection.reused";
    span.attributes.0.retain(|key, _| !varies(key));
    span.resource.0.retain(|key, _| key != "process.pid" && key != "service.instance.id");
    (span.span_id, span.start_ns, span.end_ns) = (String::new(), 0, 0);
    if span.kind == haproxy_vitals_tests::otlp::SpanKind::Client {
        span.parent_id.clear();
    }
    format!("{span:#?}")
}
