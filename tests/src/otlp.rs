//! A strict OTLP receiver of every signal: gRPC on one port, HTTP with protobuf or JSON on another, plain or over TLS.

mod attributes;
mod grpc;
mod http;
mod intake;
mod refusal;
mod signal;
mod strict;
mod strict_logs;
mod strict_metrics;
mod view;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use attributes::{Attributes, Value};
pub use intake::{Behaviour, Protocol, Received};
pub use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
pub use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
pub use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
pub use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
pub use refusal::Refusal;
pub use signal::Signal;
pub use view::{EventView, LinkView, SpanView};

use crate::pki::{Pki, Tls};
use crate::poll;
use crate::server::{Serve, Server, serve_http};
use intake::Intake;
use tokio_rustls::TlsAcceptor;

/// A collector for tests. It keeps every span that it accepts and notes every breach of the protocol.
pub struct OtlpReceiver {
    intake: Arc<Intake>,
    grpc: Server,
    http: Server,
    scheme: &'static str,
}

impl OtlpReceiver {
    /// Starts on two free ports and accepts everything.
    pub fn start() -> Self {
        Self::start_with(None, None, "http")
    }

    /// The same over TLS.
    pub fn start_tls(pki: &Pki, tls: Tls) -> Self {
        let acceptor = |alpn| Some(TlsAcceptor::from(pki.server(tls, &[alpn])));
        Self::start_with(acceptor("h2"), acceptor("http/1.1"), "https")
    }

    fn start_with(grpc: Option<TlsAcceptor>, http: Option<TlsAcceptor>, scheme: &'static str) -> Self {
        let intake = Arc::new(Intake::default());
        let (grpc, http) = (serve(&intake, grpc, Port::Grpc), serve(&intake, http, Port::Http));
        Self { grpc: Server::start(grpc), http: Server::start(http), intake, scheme }
    }

    /// Address for OTLP over gRPC.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc.addr()
    }

    /// Address for OTLP over HTTP.
    pub fn http_addr(&self) -> SocketAddr {
        self.http.addr()
    }

    /// `OTEL_EXPORTER_OTLP_ENDPOINT` for the protocol `grpc`.
    pub fn grpc_endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.grpc_addr())
    }

    /// `OTEL_EXPORTER_OTLP_ENDPOINT` for the protocols `http/protobuf` and `http/json`.
    pub fn http_endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.http_addr())
    }

    /// What happens to the requests from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.intake.lock().behaviour = behaviour;
    }

    /// What happens to the next request only. Several calls stand in a queue.
    pub fn behave_once(&self, behaviour: Behaviour) {
        self.intake.lock().once.push_back(behaviour);
    }

    /// Shows every request that is taken to `tap` too, whole as it came. It must not block, nor ask this receiver.
    pub fn tap(&self, tap: impl FnMut(&ExportTraceServiceRequest) + Send + 'static) {
        self.intake.lock().tap = Some(Box::new(tap));
    }

    /// The collector dies: connections break, and new ones are refused.
    pub fn stop(&self) {
        self.grpc.stop();
        self.http.stop();
    }

    /// The collector is back, on the same ports.
    pub fn restart(&self) {
        self.grpc.restart();
        self.http.restart();
    }

    /// Forgets spans, metrics, log records, requests and breaches. Span ids stay known: one that comes again is still a breach.
    pub fn clear(&self) {
        let mut state = self.intake.lock();
        state.spans.clear();
        state.metrics.clear();
        state.logs.clear();
        state.handshake_failures.clear();
        state.requests.clear();
        state.violations.clear();
    }

    /// Every span accepted so far, in the order of their arrival.
    pub fn spans(&self) -> Vec<SpanView> {
        self.intake.lock().spans.clone()
    }

    /// The same, and forgets them and the requests that they came in. Span ids stay known: one that comes again is still a breach.
    pub fn take_spans(&self) -> Vec<SpanView> {
        let mut state = self.intake.lock();
        state.requests.clear();
        std::mem::take(&mut state.spans)
    }

    /// How many spans were accepted so far.
    pub fn span_count(&self) -> usize {
        self.intake.lock().spans.len()
    }

    /// Every metrics request accepted so far, whole, in the order of their arrival.
    pub fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.intake.lock().metrics.clone()
    }

    /// Every logs request accepted so far, whole, in the order of their arrival.
    pub fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        self.intake.lock().logs.clone()
    }

    /// Waits until `enough` holds for the metrics requests, and returns them.
    #[track_caller]
    pub fn wait_metrics(
        &self,
        within: Duration,
        enough: impl Fn(&[ExportMetricsServiceRequest]) -> bool,
    ) -> Vec<ExportMetricsServiceRequest> {
        poll::until_some(within, "the metrics awaited", || Some(self.metrics()).filter(|metrics| enough(metrics)))
    }

    /// Waits until `enough` holds for the logs requests, and returns them.
    #[track_caller]
    pub fn wait_logs(
        &self,
        within: Duration,
        enough: impl Fn(&[ExportLogsServiceRequest]) -> bool,
    ) -> Vec<ExportLogsServiceRequest> {
        poll::until_some(within, "the log records awaited", || Some(self.logs()).filter(|logs| enough(logs)))
    }

    /// TLS handshakes that failed so far, in the server's words.
    pub fn handshake_failures(&self) -> Vec<String> {
        self.intake.lock().handshake_failures.clone()
    }

    /// Every request received so far, the refused ones too.
    pub fn requests(&self) -> Vec<Received> {
        self.intake.lock().requests.clone()
    }

    /// The spans of kind SERVER.
    pub fn server_spans(&self) -> Vec<SpanView> {
        self.spans().into_iter().filter(|span| span.kind == SpanKind::Server).collect()
    }

    /// The spans whose parent is this one.
    pub fn children_of(&self, parent: &SpanView) -> Vec<SpanView> {
        let spans = self.spans().into_iter();
        spans.filter(|span| span.trace_id == parent.trace_id && span.parent_id == parent.span_id).collect()
    }

    /// The CLIENT span under a SERVER span. Panics when there are several.
    #[track_caller]
    pub fn client_span_of(&self, server: &SpanView) -> Option<SpanView> {
        let mut clients = self.children_of(server);
        clients.retain(|span| span.kind == SpanKind::Client);
        assert!(clients.len() < 2, "{} CLIENT spans under one SERVER span: {clients:#?}", clients.len());
        clients.pop()
    }

    /// Waits until `enough` holds for the spans, and returns them.
    #[track_caller]
    pub fn wait_for(&self, within: Duration, enough: impl Fn(&[SpanView]) -> bool) -> Vec<SpanView> {
        let found = poll::try_until(within, || Some(self.spans()).filter(|spans| enough(spans)));
        found.unwrap_or_else(|| panic!("not the spans awaited within {within:?}: {}", self.account()))
    }

    /// Waits until at least `count` spans have come, and returns all.
    #[track_caller]
    pub fn wait_spans(&self, count: usize, within: Duration) -> Vec<SpanView> {
        let found = poll::try_until(within, || (self.span_count() >= count).then(|| self.spans()));
        found.unwrap_or_else(|| panic!("not {count} spans within {within:?}: {}", self.account()))
    }

    /// Breaches of the protocol and of the data model so far.
    pub fn violations(&self) -> Vec<String> {
        self.intake.lock().violations.clone()
    }

    /// Panics when anything received was not as OTLP wants it.
    #[track_caller]
    pub fn assert_clean(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{} breaches of OTLP:\n{}", violations.len(), violations.join("\n"));
    }

    fn account(&self) -> String {
        const SHOWN: usize = 20;
        let spans = self.spans();
        let shown: Vec<String> = spans.iter().take(SHOWN).map(ToString::to_string).collect();
        let requests = self.requests().len();
        format!("{} spans in {requests} requests came, the first {SHOWN}:\n{}", spans.len(), shown.join("\n"))
    }
}

#[derive(Clone, Copy)]
enum Port {
    Grpc,
    Http,
}

fn serve(intake: &Arc<Intake>, tls: Option<TlsAcceptor>, port: Port) -> Serve {
    let intake = intake.clone();
    Arc::new(move |stream| {
        let (intake, tls) = (intake.clone(), tls.clone());
        Box::pin(async move {
            let Some(acceptor) = tls else {
                return match port {
                    Port::Grpc => serve_http(stream, |request| grpc::answer(intake.clone(), false, request)).await,
                    Port::Http => serve_http(stream, |request| http::answer(intake.clone(), false, request)).await,
                };
            };
            match acceptor.accept(stream).await {
                Ok(stream) => match port {
                    Port::Grpc => serve_http(stream, |request| grpc::answer(intake.clone(), true, request)).await,
                    Port::Http => serve_http(stream, |request| http::answer(intake.clone(), true, request)).await,
                },
                Err(error) => intake.lock().handshake_failures.push(error.to_string()),
            }
        })
    })
}
