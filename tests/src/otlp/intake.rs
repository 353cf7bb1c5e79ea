//! Where both protocols meet: what was received, and what is answered.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};

use super::refusal::Refusal;
use super::strict;
use super::view::SpanView;

/// What the receiver does with a request.
#[derive(Clone, Debug, Default)]
pub enum Behaviour {
    /// Takes it.
    #[default]
    Accept,
    /// Takes it after a while; a client that leaves earlier has sent nothing.
    Delay(Duration),
    /// Takes all but this many spans, and says so.
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
    /// How many spans were in it; 0 when it could not be read.
    pub spans: usize,
    /// When it was complete.
    pub at: Instant,
}

impl Received {
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
    pub(super) requests: Vec<Received>,
    pub(super) violations: Vec<String>,
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
    pub(super) async fn admit(
        &self,
        export: ExportTraceServiceRequest,
        mut received: Received,
    ) -> Result<ExportTraceServiceResponse, Refusal> {
        received.spans = export.resource_spans.iter().flat_map(|r| &r.scope_spans).map(|s| s.spans.len()).sum();
        received.at = Instant::now();
        let behaviour = {
            let mut state = self.lock();
            state.requests.push(received);
            state.once.pop_front().unwrap_or_else(|| state.behaviour.clone())
        };
        match behaviour {
            Behaviour::Accept => Ok(self.keep(&export, 0)),
            Behaviour::Partial(rejected) => Ok(self.keep(&export, rejected)),
            Behaviour::Refuse(refusal) => Err(refusal),
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Delay(delay) => {
                tokio::time::sleep(delay).await;
                Ok(self.keep(&export, 0))
            }
        }
    }

    fn keep(&self, export: &ExportTraceServiceRequest, rejected: usize) -> ExportTraceServiceResponse {
        let state = &mut *self.lock();
        state.violations.extend(strict::breaches(export));
        let mut spans = SpanView::flatten(export);
        spans.truncate(spans.len().saturating_sub(rejected));
        for span in &spans {
            if !state.ids.insert(format!("{}{}", span.trace_id, span.span_id)) {
                state.violations.push(format!("came twice: {span}"));
            }
        }
        state.spans.append(&mut spans);
        if let Some(tap) = &mut state.tap {
            tap(export);
        }
        let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: i64::try_from(rejected).unwrap(),
            error_message: "rejected as the test asked".to_owned(),
        });
        ExportTraceServiceResponse { partial_success }
    }
}
