//! One check, told once it is over.

use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use super::super::outcome::{CheckResult, Class};
use super::super::status::ServerState;
use super::super::target::Target;
use crate::config::CheckSpans;
use crate::stats;

/// A check that is worth a span.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckEvent {
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

    /// Tells a check, if it is wanted. `random` is 0 to 1.
    pub(crate) fn tell(&self, target: &Target, check: &Seen<'_>, random: f64) {
        let failed = check.result.class().is_some();
        let wanted = match self.spans {
            CheckSpans::Off => false,
            CheckSpans::Changes => check.change.is_some(),
            CheckSpans::Failures => check.change.is_some() || failed,
            CheckSpans::Share(share) => check.change.is_some() || failed || random < share,
        };
        if !wanted || check.result.class() == Some(Class::Overdue) {
            return;
        }
        let config = &target.profile.config;
        let event = CheckEvent {
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
        if let Err(TrySendError::Full(_)) = self.events.try_send(event) {
            stats::HEALTH_EVENTS_DROPPED.add(1);
        }
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
