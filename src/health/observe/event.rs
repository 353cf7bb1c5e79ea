//! One check, told once it is over.

use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use super::super::outcome::{CheckResult, Class};
use super::super::status::ServerState;
use super::super::target::Target;
use crate::config::CheckSpans;
use crate::log::Facts;
use crate::stats;

/// A span's identifiers. Trace Context, 3.2.2.3 and 3.2.2.4: neither is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    /// Of a trace of its own: nobody waits for a check.
    pub trace: u128,
    /// Of the span.
    pub span: u64,
}

impl SpanIds {
    fn random() -> Self {
        Self { trace: rand::random::<u128>().max(1), span: rand::random::<u64>().max(1) }
    }

    /// As log lines bear them.
    pub(crate) fn facts(self) -> Facts {
        let Self { trace, span } = self;
        vec![("trace_id", format!("{trace:032x}").into()), ("span_id", format!("{span:016x}").into())]
    }
}

/// A check that is worth a span.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckEvent {
    /// Of the span that it becomes.
    pub ids: SpanIds,
    /// The backend's name.
    pub backend: String,
    /// The server's name.
    pub server: String,
    /// As HAProxy prints it.
    pub address: String,
    /// The configured `:authority`, if any.
    pub authority: Option<String>,
    /// The services asked for; empty text is the whole server.
    pub services: Vec<String>,
    /// `Check`, or `Watch` where the server told it by itself.
    pub method: &'static str,
    /// When it was over.
    pub ended: SystemTime,
    /// How long it took, the retry included; zero for what a server told by itself.
    pub took: Duration,
    /// `pass`, `fail`, `drain` or `hold`.
    pub result: &'static str,
    /// Why it did not pass.
    pub class: Option<Class>,
    /// The gRPC status, where there was one.
    pub code: Option<i32>,
    /// For the operator: one line.
    pub text: String,
    /// The state that it changed, before and after.
    pub change: Option<(ServerState, ServerState)>,
}

/// Picks the checks that are worth a span and hands them over. Bound: [`MAX_EVENTS`] that wait.
#[derive(Debug)]
pub(crate) struct Watcher {
    spans: CheckSpans,
    events: Sender<CheckEvent>,
}

impl Watcher {
    /// None when no check is worth a span.
    pub(crate) fn new(spans: CheckSpans) -> Option<(Self, Receiver<CheckEvent>)> {
        let (events, receiver) = mpsc::channel(MAX_EVENTS);
        (spans != CheckSpans::Off).then_some((Self { spans, events }, receiver))
    }

    /// Tells a check, if it is wanted; then the answer is its span. `random` is 0 to 1.
    pub(crate) fn tell(&self, target: &Target, check: &Seen<'_>, random: f64) -> Option<SpanIds> {
        let failed = check.result.class().is_some();
        let wanted = match self.spans {
            CheckSpans::Off => false,
            CheckSpans::Changes => check.change.is_some(),
            CheckSpans::Failures => check.change.is_some() || failed,
            CheckSpans::Share(share) => check.change.is_some() || failed || random < share,
        };
        if !wanted || check.result.class() == Some(Class::Overdue) {
            return None;
        }
        let (ids, config) = (SpanIds::random(), &target.profile.config);
        let event = CheckEvent {
            ids,
            backend: config.name.clone(),
            server: target.server.clone(),
            address: target.address.clone(),
            authority: config.authority.clone(),
            services: config.services.clone(),
            method: if check.told { "Watch" } else { "Check" },
            ended: SystemTime::now(),
            took: check.took,
            result: super::result_word(check.result.outcome),
            class: check.result.class(),
            code: check.result.code,
            text: check.result.text.clone(),
            change: check.change,
        };
        // Nobody listens where nothing is exported: that is no loss.
        let told = self.events.try_send(event);
        if let Err(TrySendError::Full(_)) = told {
            stats::HEALTH_EVENTS_DROPPED.add(1);
        }
        told.is_ok().then_some(ids)
    }
}

/// A check as its server's book has it.
pub(crate) struct Seen<'a> {
    pub(crate) result: &'a CheckResult,
    pub(crate) took: Duration,
    /// The server told it by itself.
    pub(crate) told: bool,
    pub(crate) change: Option<(ServerState, ServerState)>,
}

/// Checks that wait to become spans; beyond that they are dropped and counted.
const MAX_EVENTS: usize = 1024;
