//! The OTLP receiver, with the clients that OpenTelemetry and HTTP give.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{self, Session, block_on};
use haproxy_vitals_tests::otlp::{Protocol, SpanKind, Value};
use haproxy_vitals_tests::{Behaviour, OtlpReceiver, Refusal, SOON};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};

#[test]
fn a_span_sent_by_grpc_can_be_read() {
    let receiver = OtlpReceiver::start();
    export(&receiver, request(&[server(1), client_of(2, 1)])).unwrap();
    let spans = receiver.wait_spans(2, SOON);
    let server = &receiver.server_spans()[0];
    assert_eq!(server, &spans[0]);
    assert_eq!((server.str("http.request.method"), server.int("http.response.status_code")), (Some("GET"), Some(200)));
    assert_eq!((server.str("http.response.status_code"), server.int("absent")), (None, None));
    assert_eq!(server.strs("http.request.header.accept"), Some(vec!["a", "b"]));
    assert_eq!(server.resource.0["service.name"], Value::Str("test".to_owned()));
    assert_eq!((server.duration(), server.is_root()), (Duration::from_nanos(5), true));
    assert_eq!(receiver.client_span_of(server).unwrap().span_id, "0000000000000002");
    let requests = receiver.requests();
    assert_eq!(
        (requests[0].protocol, requests[0].spans, requests[0].header("te")),
        (Protocol::Grpc, 2, Some("trailers"))
    );
    receiver.assert_clean();
}

#[test]
fn a_span_sent_by_http_can_be_read() {
    let receiver = OtlpReceiver::start();
    let response = post(&receiver, "application/x-protobuf", &request(&[server(1)]).encode_to_vec());
    assert_eq!((response.status, response.header("content-type")), (200, Some("application/x-protobuf")));
    assert_eq!(receiver.wait_spans(1, SOON)[0].name, "GET");
    assert_eq!(receiver.requests()[0].protocol, Protocol::Http);
    receiver.assert_clean();
}

#[test]
fn compressed_requests_are_understood() {
    use std::io::Write;
    let receiver = OtlpReceiver::start();
    let answer = block_on(async {
        let client = TraceServiceClient::connect(receiver.grpc_endpoint()).await.unwrap();
        client.send_compressed(CompressionEncoding::Gzip).export(request(&[server(1)])).await
    });
    answer.unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&request(&[server(2)]).encode_to_vec()).unwrap();
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    let response = client::request(receiver.http_addr(), "POST", "/v1/traces", &headers, &gzip.finish().unwrap());
    assert_eq!(response.status, 200);
    receiver.wait_spans(2, SOON);
    receiver.assert_clean();
}

#[test]
fn refuses_when_told_and_says_when_to_come_again() {
    let receiver = OtlpReceiver::start();
    let refusal = Refusal::http(429).retry_after(Duration::from_secs(7)).header("x-why", "full");
    receiver.behave(Behaviour::Refuse(refusal));
    let status = export(&receiver, request(&[server(1)])).unwrap_err();
    assert_eq!((status.code(), status.details().is_empty()), (Code::Unavailable, false));
    assert_eq!(status.metadata().get("x-why").unwrap(), "full");
    let response = post(&receiver, "application/x-protobuf", &request(&[server(1)]).encode_to_vec());
    assert_eq!((response.status, response.header("retry-after")), (429, Some("7")));
    assert_eq!((receiver.span_count(), receiver.requests().len()), (0, 2));
    receiver.behave(Behaviour::Accept);
    receiver.behave_once(Behaviour::Refuse(Refusal::grpc(Code::InvalidArgument)));
    assert_eq!(export(&receiver, request(&[server(1)])).unwrap_err().code(), Code::InvalidArgument);
    export(&receiver, request(&[server(1)])).unwrap();
    receiver.assert_clean();
}

#[test]
fn takes_a_part_when_told() {
    let receiver = OtlpReceiver::start();
    receiver.behave_once(Behaviour::Partial(2));
    let answer = export(&receiver, request(&[server(1), server(2), server(3)])).unwrap();
    assert_eq!((answer.partial_success.unwrap().rejected_spans, receiver.span_count()), (2, 1));
}

#[test]
fn delays_and_hangs_when_told() {
    let receiver = OtlpReceiver::start();
    let begin = Instant::now();
    receiver.behave_once(Behaviour::Delay(Duration::from_millis(50)));
    export(&receiver, request(&[server(1)])).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(50));
    receiver.behave_once(Behaviour::Hang);
    let hung = block_on(async { timeout(Duration::from_millis(100), send(&receiver, request(&[server(2)]))).await });
    hung.unwrap_err();
    assert_eq!((receiver.span_count(), receiver.requests().len()), (1, 2));
}

#[test]
fn dies_and_recovers_on_the_same_port() {
    let receiver = OtlpReceiver::start();
    let ports = (receiver.grpc_addr(), receiver.http_addr());
    export(&receiver, request(&[server(1)])).unwrap();
    let mut open = Session::connect(receiver.http_addr());
    receiver.stop();
    assert!(open.is_closed());
    for addr in [receiver.grpc_addr(), receiver.http_addr()] {
        assert_eq!(Session::try_connect(addr).err().unwrap().kind(), ErrorKind::ConnectionRefused);
    }
    receiver.restart();
    assert_eq!((receiver.grpc_addr(), receiver.http_addr()), ports);
    export(&receiver, request(&[server(2)])).unwrap();
    receiver.wait_spans(2, SOON);
    receiver.assert_clean();
}

#[test]
fn breaches_are_noted() {
    let receiver = OtlpReceiver::start();
    let breach = |span: Span, what: &str| {
        receiver.clear();
        export(&receiver, request(&[span])).unwrap();
        let violations = receiver.violations();
        assert!(violations.iter().any(|text| text.contains(what)), "{what}: {violations:?}");
    };
    breach(Span { trace_id: vec![0; 16], ..server(1) }, "trace id");
    breach(Span { span_id: vec![1; 7], ..server(2) }, "span id");
    breach(Span { end_time_unix_nano: 1, ..server(3) }, "ends before it starts");
    breach(Span { kind: 0, ..server(4) }, "no kind");
    breach(Span { attributes: vec![text("a", "1"), text("a", "2")], ..server(5) }, "attribute `a` twice");
    breach(server(5), "came twice");

    receiver.clear();
    let mut nameless = request(&[server(6)]);
    nameless.resource_spans[0].resource = None;
    export(&receiver, nameless).unwrap();
    assert_eq!(receiver.violations(), ["resource without service.name"]);
}

#[test]
fn wrong_requests_are_noted() {
    let receiver = OtlpReceiver::start();
    assert_eq!(post(&receiver, "text/plain", b"{}").status, 415);
    assert_eq!(post(&receiver, "application/x-protobuf", b"\xff\xff").status, 400);
    let grpc = client::h2_get(receiver.grpc_addr(), "/elsewhere", &[]);
    assert_eq!(grpc.header("grpc-status"), Some("12"));
    let violations = receiver.violations().join("\n");
    for what in ["text/plain", "undecodable body", "gRPC content-type", "te: trailers", "/elsewhere"] {
        assert!(violations.contains(what), "{what}: {violations}");
    }
}

fn export(receiver: &OtlpReceiver, request: ExportTraceServiceRequest) -> Result<ExportTraceServiceResponse, Status> {
    block_on(send(receiver, request))
}

async fn send(
    receiver: &OtlpReceiver,
    request: ExportTraceServiceRequest,
) -> Result<ExportTraceServiceResponse, Status> {
    let mut client = TraceServiceClient::connect(receiver.grpc_endpoint()).await.unwrap();
    client.export(request).await.map(tonic::Response::into_inner)
}

fn post(receiver: &OtlpReceiver, content_type: &str, body: &[u8]) -> client::Response {
    client::request(receiver.http_addr(), "POST", "/v1/traces", &[("content-type", content_type)], body)
}

fn request(spans: &[Span]) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope { name: "test".to_owned(), ..Default::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: spans.to_vec(), ..Default::default() };
    let resource = Resource { attributes: vec![text("service.name", "test")], ..Default::default() };
    let resource_spans =
        ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans], ..Default::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

fn server(id: u64) -> Span {
    let list = ["a", "b"].map(|text| AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
    Span {
        trace_id: vec![7; 16],
        span_id: id.to_be_bytes().to_vec(),
        name: "GET".to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: 10,
        end_time_unix_nano: 15,
        attributes: vec![
            text("http.request.method", "GET"),
            pair("http.response.status_code", any_value::Value::IntValue(200)),
            pair("http.request.header.accept", any_value::Value::ArrayValue(ArrayValue { values: list.to_vec() })),
        ],
        ..Default::default()
    }
}

fn client_of(id: u64, parent: u64) -> Span {
    Span { parent_span_id: parent.to_be_bytes().to_vec(), kind: SpanKind::Client.into(), ..server(id) }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.to_owned()))
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
