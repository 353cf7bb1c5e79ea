//! Jaeger's page over the spans of the last minutes, in this process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use axum::http::{StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use otlp_embedded::proto::collector::trace::v1::ExportTraceServiceRequest;
use otlp_embedded::proto::common::v1::{AnyValue, KeyValue, any_value::Value};
use otlp_embedded::proto::trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus};
use otlp_embedded::{Config, State, TraceService, TraceServiceImpl, ui_app};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::stage::SERVICE;

/// The page. It ends when it is dropped.
pub(crate) struct Page {
    addr: SocketAddr,
    feed: Sender<Vec<u8>>,
    /// Last: its tasks use the rest.
    _runtime: Runtime,
}

impl Page {
    /// Serves on Jaeger's usual port, or on a free one.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("page").enable_all().build()?;
        let inside = runtime.enter();
        let listener = [USUAL_PORT, 0].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        let [usual, free] = listener;
        let listener = usual.or(free)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;

        let state = State::new(Config { max_length: TRACES, max_memory_usage: BYTES });
        let app = ui_app(state.clone(), "/").layer(map_response(as_page));
        let (feed, batches) = mpsc::channel(BATCHES);
        runtime.spawn(async move { axum::serve(listener, app).await });
        runtime.spawn(ingest(TraceServiceImpl::new(state), batches));
        drop(inside);
        Ok(Self { addr, feed, _runtime: runtime })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its search for the newest traces of the demo. Without a limit the search answers with an error.
    pub(crate) fn link(&self) -> String {
        format!("http://{}/search?service={SERVICE}&limit={SHOWN}&lookback=1h", self.addr)
    }

    /// Takes bodies of OTLP requests.
    pub(crate) fn feed(&self) -> Sender<Vec<u8>> {
        self.feed.clone()
    }
}

async fn ingest(service: TraceServiceImpl, mut batches: Receiver<Vec<u8>>) {
    while let Some(batch) = batches.recv().await {
        let Ok(mut export) = ExportTraceServiceRequest::decode(batch.as_slice()) else { continue };
        let scopes = export.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
        scopes.flat_map(|scope| &mut scope.spans).for_each(say_in_jaegers_words);
        // It answers with nothing, always.
        let _ = service.export(tonic::Request::new(export)).await;
    }
}

/// Kind and status are tags there. OpenTelemetry specification, Jaeger transformation.
///
/// The search leaves traces out whose root is missing. The parent of a SERVER span is the client's and never comes here:
/// it becomes a tag too.
fn say_in_jaegers_words(span: &mut Span) {
    let kind = match span.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        _ => "internal",
    };
    span.attributes.push(tag("span.kind", Value::StringValue(kind.to_owned())));
    if let (SpanKind::Server, Ok(parent)) = (span.kind(), span.parent_span_id.as_slice().try_into()) {
        let parent = format!("{:016x}", u64::from_be_bytes(parent));
        span.attributes.push(tag("parent_span_id", Value::StringValue(parent)));
        span.parent_span_id.clear();
    }
    if span.status.as_ref().is_some_and(|status| status.code() == SpanStatus::Error) {
        span.attributes.push(tag("error", Value::BoolValue(true)));
    }
}

fn tag(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// The page's own addresses come with a redirect's status that leads nowhere. Browsers show them; other clients do not.
async fn as_page(mut response: Response) -> Response {
    if response.status().is_redirection() && !response.headers().contains_key(header::LOCATION) {
        *response.status_mut() = StatusCode::OK;
    }
    response
}

const USUAL_PORT: u16 = 16686;
/// Traces that the search lists at first.
const SHOWN: u32 = 100;
/// The oldest traces go beyond so many, or so many bytes.
const TRACES: u32 = 1000;
const BYTES: usize = 64 << 20;
/// Batches that wait for the page; beyond, they are left out of it.
const BATCHES: usize = 256;
