//! Checks become spans: OTLP, through the same ways out as requests' spans.
//!
//! Semantic conventions 1.44.0, "RPC client spans" and "gRPC".

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as ResourceMessage;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use tokio::sync::mpsc::Receiver;

use crate::export::Outlets;
use crate::export::envelope::{SCHEMA_URL, SCOPE};
use crate::health::observe::CheckEvent;
use crate::resource::Resource;
use crate::runtime::Stop;
use crate::stats::EXPORT;
use crate::trace::wording::STATUSES;

/// Makes spans of `events` and ships them, until the process stops; then of those that are left.
pub(super) async fn run(mut events: Receiver<CheckEvent>, resource: Resource, outlets: Arc<Outlets>, mut stop: Stop) {
    let resource = resource.to_proto();
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while !stop.is_stopping() {
        tokio::select! {
            _ = events.recv_many(&mut batch, MAX_BATCH) => {}
            () = stop.wait() => {}
        }
        ship(&mut batch, &resource, &outlets);
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.wait() => {}
        }
    }
    while let Ok(event) = events.try_recv() {
        batch.push(event);
    }
    ship(&mut batch, &resource, &outlets);
}

fn ship(batch: &mut Vec<CheckEvent>, resource: &ResourceMessage, outlets: &Outlets) {
    let spans: Vec<_> = batch.drain(..).map(|event| span(&event)).collect();
    if spans.is_empty() {
        return;
    }
    let items = spans.len() as u64;
    let scope =
        InstrumentationScope { name: SCOPE.to_owned(), version: crate::VERSION.to_owned(), ..Default::default() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA_URL.to_owned() };
    let resource_spans = ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scope_spans],
        schema_url: SCHEMA_URL.to_owned(),
    };
    let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
    EXPORT.created.add(items);
    outlets.ship(Bytes::from(request.encode_to_vec()), items);
}

/// One CLIENT span, the root of a trace of its own: nobody waits for a check.
fn span(event: &CheckEvent) -> Span {
    let end = nanos(event.ended);
    let took = u64::try_from(event.took.as_nanos()).unwrap_or(u64::MAX);
    let error = error_type(event);
    Span {
        trace_id: event.ids.trace.to_be_bytes().to_vec(),
        span_id: event.ids.span.to_be_bytes().to_vec(),
        // W3C's flag "sampled"; 0x100 says that it is known whether the parent is remote.
        flags: 0x101,
        name: format!("{HEALTH}/{}", event.method),
        kind: SpanKind::Client.into(),
        start_time_unix_nano: end.saturating_sub(took),
        end_time_unix_nano: end,
        attributes: attributes(event, error.as_deref()),
        events: event.change.map(|(from, to)| change(event, end, from.word(), to.word())).into_iter().collect(),
        status: error.is_some().then(|| Status { code: StatusCode::Error.into(), message: event.text.clone() }),
        ..Span::default()
    }
}

fn attributes(event: &CheckEvent, error: Option<&str>) -> Vec<KeyValue> {
    let mut found = vec![
        text("rpc.system.name", "grpc"),
        text("rpc.method", &format!("{HEALTH}/{}", event.method)),
        text("haproxy.backend.name", &event.backend),
        text("haproxy.server.name", &event.server),
        text("haproxy.health.result", event.result),
    ];
    found.extend(event.class.map(|class| text("haproxy.health.class", class.word())));
    let services = event.services.iter().map(|service| any(Value::StringValue(service.clone()))).collect();
    found.push(pair("haproxy.health.services", Value::ArrayValue(ArrayValue { values: services })));
    found.extend(event.code.map(|code| text("rpc.response.status_code", &code_name(code))));
    found.extend(error.map(|error| text("error.type", error)));
    let (host, port) = split(event.authority.as_deref().unwrap_or(&event.address));
    found.push(text("server.address", &host));
    found.extend(port.map(|port| pair("server.port", Value::IntValue(port.into()))));
    let (peer, port) = split(&event.address);
    found.push(text("network.peer.address", &peer));
    found.extend(port.map(|port| pair("network.peer.port", Value::IntValue(port.into()))));
    found
}

fn change(event: &CheckEvent, at: u64, from: &str, to: &str) -> Event {
    let attributes = vec![
        text("haproxy.health.state.from", from),
        text("haproxy.health.state.to", to),
        text("haproxy.health.reason", &event.text),
    ];
    Event { time_unix_nano: at, name: "haproxy.health.state_change".to_owned(), attributes, ..Event::default() }
}

/// "RPC": every gRPC status but `OK` is a client's error. An answer is none, whatever it says of the server's health.
fn error_type(event: &CheckEvent) -> Option<String> {
    match (event.code, event.class) {
        (Some(0), _) | (None, None) => None,
        (Some(code), _) => Some(code_name(code)),
        (None, Some(class)) => Some(class.word().to_owned()),
    }
}

/// Host and port; a path has none. HAProxy prints IPv6 without brackets: the last colon divides.
fn split(address: &str) -> (String, Option<u16>) {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return (address.ip().to_string(), Some(address.port()));
    }
    let divided = address.rsplit_once(':').filter(|_| !address.starts_with('/'));
    match divided.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), Some(port)),
        None => (address.to_owned(), None),
    }
}

/// gRPC, "Status codes and their use in gRPC"; a number that is none of them stays a number.
fn code_name(code: i32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| STATUSES.get(code));
    name.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

const HEALTH: &str = "grpc.health.v1.Health";

/// Checks in one request.
const MAX_BATCH: usize = 256;
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(500);
