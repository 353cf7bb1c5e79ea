//! The receiver's metrics, logs, JSON and TLS.

use haproxy_vitals_tests::client::{self, Response, block_on};
use haproxy_vitals_tests::otlp::{ExportLogsServiceRequest, ExportMetricsServiceRequest, Protocol, Signal};
use haproxy_vitals_tests::pki::{Pki, Tls};
use haproxy_vitals_tests::{Behaviour, OtlpReceiver, SOON, poll};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use prost::Message;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

#[test]
fn metrics_and_log_records_are_kept_whole() {
    let receiver = OtlpReceiver::start();
    block_on(async {
        let mut client = MetricsServiceClient::connect(receiver.grpc_endpoint()).await.unwrap();
        client.export(metrics()).await.unwrap();
        let mut client = LogsServiceClient::connect(receiver.grpc_endpoint()).await.unwrap();
        client.export(logs()).await.unwrap();
    });
    assert_eq!(post(&receiver, "/v1/metrics", PROTOBUF, &metrics().encode_to_vec()).status, 200);
    assert_eq!(post(&receiver, "/v1/logs", PROTOBUF, &logs().encode_to_vec()).status, 200);
    assert_eq!(post(&receiver, "/v1/metrics", JSON, metrics_json().to_string().as_bytes()).status, 200);
    assert_eq!(post(&receiver, "/v1/logs", JSON, logs_json().to_string().as_bytes()).status, 200);
    assert_eq!(receiver.wait_metrics(SOON, |all| all.len() == 3), vec![metrics(); 3]);
    assert_eq!(receiver.wait_logs(SOON, |all| all.len() == 3), vec![logs(); 3]);
    let seen: Vec<_> = receiver.requests().iter().map(|r| (r.protocol, r.signal.unwrap(), r.items, r.spans)).collect();
    let (by_metrics, by_logs) = (Signal::Metrics, Signal::Logs);
    let expected = [Protocol::Grpc, Protocol::Http, Protocol::Json]
        .into_iter()
        .flat_map(|protocol| [(protocol, by_metrics, 1, 0), (protocol, by_logs, 1, 0)]);
    assert_eq!(seen, expected.collect::<Vec<_>>());
    receiver.assert_clean();
}

#[test]
fn partial_success_names_the_signals_own_items() {
    let receiver = OtlpReceiver::start();
    receiver.behave(Behaviour::Partial(1));
    let answer = post(&receiver, "/v1/metrics", JSON, metrics_json().to_string().as_bytes());
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedDataPoints"], "1");
    let answer = block_on(async {
        let mut client = LogsServiceClient::connect(receiver.grpc_endpoint()).await.unwrap();
        client.export(logs()).await.unwrap().into_inner()
    });
    assert_eq!(answer.partial_success.unwrap().rejected_log_records, 1);
}

#[test]
fn zstd_is_understood() {
    let receiver = OtlpReceiver::start();
    let body = zstd::encode_all(metrics().encode_to_vec().as_slice(), 0).unwrap();
    let headers = [("content-type", PROTOBUF), ("content-encoding", "zstd")];
    assert_eq!(client::request(receiver.http_addr(), "POST", "/v1/metrics", &headers, &body).status, 200);
    assert_eq!(receiver.metrics(), [metrics()]);
    receiver.assert_clean();
}

#[test]
fn breaches_of_metrics_and_logs_are_noted() {
    let broken = |pointer: &str, change: Value| {
        let (path, mut request) = if pointer.starts_with("/resourceLogs") {
            ("/v1/logs", logs_json())
        } else {
            ("/v1/metrics", metrics_json())
        };
        *request.pointer_mut(pointer).unwrap() = change;
        let receiver = OtlpReceiver::start();
        assert_eq!(post(&receiver, path, JSON, request.to_string().as_bytes()).status, 200, "{pointer}");
        assert!(!receiver.violations().is_empty(), "{pointer}");
    };
    let metric = "/resourceMetrics/0/scopeMetrics/0/metrics/0";
    broken(&format!("{metric}/name"), json!(""));
    broken(&format!("{metric}/sum/aggregationTemporality"), json!(0));
    broken(&format!("{metric}/sum/dataPoints"), json!([]));
    broken(&format!("{metric}/sum/dataPoints/0/timeUnixNano"), json!("0"));
    broken("/resourceMetrics/0/resource/attributes", json!([]));
    let record = "/resourceLogs/0/scopeLogs/0/logRecords/0";
    broken(&format!("{record}/timeUnixNano"), json!("0"));
    broken(&format!("{record}/traceId"), json!("00"));
    broken(&format!("{record}/severityNumber"), json!(25));
}

#[test]
fn json_with_protobufs_names_is_refused() {
    let receiver = OtlpReceiver::start();
    assert_eq!(post(&receiver, "/v1/logs", JSON, br#"{"resource_logs":[]}"#).status, 400);
    assert_eq!(receiver.violations().len(), 1);
}

#[test]
fn a_client_without_a_certificate_is_turned_away_where_both_sides_must_show_one() {
    let pki = Pki::new();
    for (tls, taken) in [(Tls::Server, true), (Tls::Mutual, false), (Tls::Expired, false), (Tls::OtherName, false)] {
        let receiver = OtlpReceiver::start_tls(&pki, tls);
        let config = ClientConfig::builder_with_provider(tokio_rustls::rustls::crypto::ring::default_provider().into());
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(pki.roots()).with_no_client_auth();
        let address = receiver.http_addr();
        let shaken = block_on(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await?;
            // With TLS 1.3 a client learns of its refusal when it reads.
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
            tokio::io::AsyncReadExt::read_u8(&mut stream).await
        });
        assert_eq!(shaken.is_ok(), taken, "{tls:?}: {shaken:?}");
        poll::until(SOON, "the server's word about it", || receiver.handshake_failures().is_empty() == taken);
    }
}

fn post(receiver: &OtlpReceiver, path: &str, content_type: &str, body: &[u8]) -> Response {
    client::request(receiver.http_addr(), "POST", path, &[("content-type", content_type)], body)
}

fn metrics() -> ExportMetricsServiceRequest {
    serde_json::from_value(metrics_json()).unwrap()
}

fn logs() -> ExportLogsServiceRequest {
    serde_json::from_value(logs_json()).unwrap()
}

fn resource() -> Value {
    json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": "test" } }] })
}

fn metrics_json() -> Value {
    let points = json!([{ "startTimeUnixNano": "1", "timeUnixNano": "2", "asInt": "3" }]);
    let sum = json!({ "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": points });
    let scope = json!({ "scope": { "name": "cases" }, "metrics": [{ "name": "requests", "sum": sum }] });
    json!({ "resourceMetrics": [{ "resource": resource(), "scopeMetrics": [scope] }] })
}

fn logs_json() -> Value {
    let record = json!({
        "timeUnixNano": "1", "severityNumber": 9, "body": { "stringValue": "hello" },
        "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
    });
    json!({ "resourceLogs": [{ "resource": resource(), "scopeLogs": [{ "scope": { "name": "cases" }, "logRecords": [record] }] }] })
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
