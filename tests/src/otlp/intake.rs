//! Where both protocols meet: what was received, and what is answered.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use super::refusal::Refusal;
use super::signal::{Export, Signal, Taken};
use super::view::SpanView;
use super::{strict, strict_logs, strict_metrics};
use crate::server::header_list;

/// What the receiver does with a request.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// Takes it.
    #[default]
    Accept,
    /// Takes it after a while; a client that leaves earlier has sent nothing.
    Delay(Duration),
    /// Takes all but this many spans, and says so. Of metrics and log records it keeps all and says the same.
    Partial(usize),
    /// Refuses it.
    Refuse(Refusal),
    /// Never answers.
    Hang,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    Http,
    /// OTLP/HTTP with JSON.
    Json,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// How it came.
    pub protocol: Protocol,
    /// Its path.
    pub path: String,
    /// Its headers or metadata, in order; names in lower case.
    pub headers: Vec<(String, String)>,
    /// What it carries; `None` when its path does not tell.
    pub signal: Option<Signal>,
    /// How many spans were in it; 0 when it could not be read.
    pub spans: usize,
    /// How many spans, data points or log records were in it; 0 when it could not be read.
    pub items: usize,
    /// Bytes of its body as it came; 0 over gRPC.
    pub bytes: usize,
    /// Whether it came over TLS.
    pub tls: bool,
    /// When it was complete.
    pub at: Instant,
}

impl Received {
    pub(super) fn new(protocol: Protocol, signal: Option<Signal>, path: &str, headers: &http::HeaderMap) -> Self {
        let (path, headers, at) = (path.to_owned(), header_list(headers), Instant::now());
        Self { protocol, path, headers, signal, spans: 0, items: 0, bytes: 0, tls: false, at }
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }
}

#[derive(Default)]
pub(super) struct Intake {
    state: Mutex<State>,
}

/// Sees every request that is taken.
pub(super) type Tap = Box<dyn FnMut(&ExportTraceServiceRequest) + Send>;

#[derive(Default)]
pub(super) struct State {
    pub(super) behaviour: Behaviour,
    pub(super) once: VecDeque<Behaviour>,
    pub(super) spans: Vec<SpanView>,
    pub(super) metrics: Vec<ExportMetricsServiceRequest>,
    pub(super) logs: Vec<ExportLogsServiceRequest>,
    pub(super) requests: Vec<Received>,
    pub(super) violations: Vec<String>,
    pub(super) handshake_failures: Vec<String>,
    pub(super) tap: Option<Tap>,
    ids: HashSet<String>,
}

impl Intake {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a breach.
    pub(super) fn violation(&self, what: String) {
        self.lock().violations.push(what);
    }

    /// Notes a request, and does with it what the test asked for.
    pub(super) async fn admit(&self, export: Export, mut received: Received) -> Result<Taken, Refusal> {
        received.items = export.items();
        received.spans = if export.signal() == Signal::Traces { received.items } else { 0 };
        received.at = Instant::now();
        let behaviour = {
            let mut state = self.lock();
            state.requests.push(received);
            state.once.pop_front().unwrap_or_else(|| state.behaviour.clone())
        };
        match behaviour {
            Behaviour::Accept => Ok(self.keep(export, 0)),
            Behaviour::Partial(rejected) => Ok(self.keep(export, rejected)),
            Behaviour::Refuse(refusal) => Err(refusal),
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Delay(delay) => {
                tokio::time::sleep(delay).await;
                Ok(self.keep(export, 0))
            }
        }
    }

    fn keep(&self, export: Export, rejected: usize) -> Taken {
        let taken = Taken { signal: export.signal(), rejected };
        let state = &mut *self.lock();
        match export {
            Export::Traces(export) => state.keep_spans(&export, rejected),
            Export::Metrics(export) => {
                state.violations.extend(strict_metrics::breaches(&export));
                state.metrics.push(export);
            }
            Export::Logs(export) => {
                state.violations.extend(strict_logs::breaches(&export));
                state.logs.push(export);
            }
        }
        taken
    }
}

impl State {
    fn keep_spans(&mut self, export: &ExportTraceServiceRequest, rejected: usize) {
        self.violations.extend(strict::breaches(export));
        let mut spans = SpanView::flatten(export);
        spans.truncate(spans.len().saturating_sub(rejected));
        for span in &spans {
            if !self.ids.insert(format!("{}{}", span.trace_id, span.span_id)) {
                self.violations.push(format!("came twice: {span}"));
            }
        }
        self.spans.append(&mut spans);
        if let Some(tap) = &mut self.tap {
            tap(export);
        }
    }
}
