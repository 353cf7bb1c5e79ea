//! Checks as spans, beside those of requests.

use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::otlp::{SpanKind, SpanView};
use haproxy_vitals_tests::{OtlpReceiver, SOON};
use tonic::Code;

use super::{SETTINGS, proxy_of, wait_down, wait_up};

fn settings(spans: &str) -> String {
    let backend = SETTINGS.split_once("[[").unwrap().1;
    format!("[health]\nspans = {spans}\n[[{backend}fall = 2\n")
}

fn wait(receiver: &OtlpReceiver, found: impl Fn(&SpanView) -> bool) -> SpanView {
    let spans = receiver.wait_for(SOON, |spans| spans.iter().any(&found));
    spans.into_iter().find(found).unwrap()
}

#[test]
fn changes_and_failures_are_spans_with_what_happened() {
    let (backend, receiver) = (GrpcBackend::start(), OtlpReceiver::start());
    let haproxy = proxy_of(&backend).settings(&settings("\"failures\"")).export_http(&receiver).start();
    wait_up(&haproxy, "s", SOON);
    let up = wait(&receiver, |span| span.event("haproxy.health.state_change").is_some());
    assert_eq!((up.name.as_str(), up.kind), ("grpc.health.v1.Health/Check", SpanKind::Client));
    assert_eq!(up.str("rpc.system.name"), Some("grpc"));
    assert_eq!(up.str("rpc.method"), Some("grpc.health.v1.Health/Check"));
    assert_eq!(up.str("rpc.response.status_code"), Some("OK"));
    assert_eq!((up.str("haproxy.backend.name"), up.str("haproxy.server.name")), (Some("b"), Some("s")));
    assert_eq!(
        (up.str("network.peer.address"), up.int("network.peer.port")),
        (Some("127.0.0.1"), Some(backend.addr().port().into()))
    );
    assert!(up.is_root() && !up.has("error.type") && !up.duration().is_zero());
    let change = up.event("haproxy.health.state_change").unwrap();
    assert_eq!(
        (change.attributes.str("haproxy.health.state.from"), change.attributes.str("haproxy.health.state.to")),
        (Some("unknown"), Some("up"))
    );
    let ids = format!("trace_id={} span_id={}", up.trace_id, up.span_id);
    haproxy.wait_log(&format!("b/s is UP: SERVING (service \"\") {ids}"), SOON);
    backend.answer(Answer::Fail(Code::Unavailable));
    wait_down(&haproxy, "s", SOON);
    let failed = wait(&receiver, |span| span.has("error.type"));
    assert_eq!(
        (failed.str("error.type"), failed.str("rpc.response.status_code")),
        (Some("UNAVAILABLE"), Some("UNAVAILABLE"))
    );
    assert_eq!(
        (failed.str("haproxy.health.result"), failed.str("haproxy.health.class")),
        (Some("fail"), Some("rpc_error"))
    );
    backend.stop();
    let refused = wait(&receiver, |span| span.str("error.type") == Some("connect"));
    assert!(!refused.has("rpc.response.status_code"));
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn what_a_server_says_of_itself_is_no_error_of_the_call() {
    let (backend, receiver) = (GrpcBackend::start(), OtlpReceiver::start());
    let haproxy = proxy_of(&backend).settings(&settings("\"changes\"")).export_grpc(&receiver).start();
    wait_up(&haproxy, "s", SOON);
    backend.set_not_serving("");
    let down = wait(&receiver, |span| span.str("haproxy.health.class") == Some("not_serving"));
    assert_eq!(down.str("rpc.response.status_code"), Some("OK"));
    assert!(!down.has("error.type"));
    assert_eq!(receiver.span_count(), 2);
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn no_check_is_a_span_by_default() {
    let (backend, receiver) = (GrpcBackend::start(), OtlpReceiver::start());
    let settings = settings("\"off\"").replace("spans = \"off\"\n", "");
    let haproxy = proxy_of(&backend).settings(&settings).export_http(&receiver).start();
    wait_up(&haproxy, "s", SOON);
    backend.stop();
    wait_down(&haproxy, "s", SOON);
    haproxy.finish();
    assert_eq!(receiver.span_count(), 0);
}
