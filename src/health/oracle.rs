//! What listeners answer: the checker's last word about a server, never a check of their own for one that is configured.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::registry::Asked;
use super::{CheckResult, Checker, Class, Outcome, ServerState, ServerStatus, TargetSpec};
use crate::config::HealthConfig;

/// Answers for every configured backend. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Oracle {
    checker: Checker,
    /// The backends whose servers may drain.
    draining: Arc<HashSet<String>>,
}

/// What is known about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Gets requests. `drains`: it could have been draining, and so may have to be told that it no longer is.
    Up {
        /// Whether its backend's settings let servers drain.
        drains: bool,
    },
    /// No new clients.
    Drain,
    /// No requests, and why.
    Down(String),
    /// Nothing that should change its state, and why.
    Unsure(String),
}

impl Oracle {
    /// Over `checker`'s servers.
    pub(crate) fn new(checker: Checker, config: &HealthConfig) -> Self {
        let draining = config.backends.iter().filter(|backend| backend.may_drain());
        let draining = draining.map(|backend| backend.name.clone()).collect();
        Self { checker, draining: Arc::new(draining) }
    }

    /// By its names in HAProxy's configuration. None: it is not checked.
    pub(crate) fn server(&self, backend: &str, server: &str) -> Option<Verdict> {
        let known = self.checker.status(backend, server).map(|status| self.verdict(backend, status));
        known.or_else(|| self.too_early())
    }

    /// The same, waiting up to `bound` for the first result, for those to whom no answer is a failure.
    pub(crate) async fn server_soon(&self, backend: &str, server: &str, bound: Duration) -> Option<Verdict> {
        let mut changes = self.checker.subscribe();
        let deadline = Instant::now() + bound;
        loop {
            changes.mark_unchanged();
            let verdict = self.server(backend, server);
            let is_early = verdict.as_ref().is_some_and(|verdict| matches!(verdict, Verdict::Unsure(_)));
            if !is_early || !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                return verdict;
            }
        }
    }

    /// By its address. None: it is not checked.
    pub(crate) fn address(&self, asked: Asked<'_>) -> Option<Verdict> {
        let known = self.checker.status_of(asked).map(|(backend, status)| self.verdict(&backend, status));
        known.or_else(|| self.too_early())
    }

    /// By a check of its own, which others who ask for the same share, within `bound`; and why it is not up.
    pub(crate) async fn once(&self, spec: TargetSpec, bound: Duration) -> (Verdict, Option<Class>) {
        let CheckResult { outcome, text, .. } = self.checker.once_within(spec, bound).await;
        let verdict = match outcome {
            Outcome::Pass => Verdict::Up { drains: false },
            Outcome::Drain(_) => Verdict::Drain,
            Outcome::HardFail(_) | Outcome::SoftFail(_) => Verdict::Down(text),
            Outcome::Hold(_) => Verdict::Unsure(text),
        };
        (verdict, outcome.class())
    }

    /// A worker that a reload brought is asked before HAProxy has shown it any server.
    fn too_early(&self) -> Option<Verdict> {
        self.checker.is_new().then(|| Verdict::Unsure("not checked yet".to_owned()))
    }

    /// Before the first result HAProxy's own `init-state` holds, and so a reload changes nothing.
    fn verdict(&self, backend: &str, status: ServerStatus) -> Verdict {
        match status.state {
            ServerState::Up => Verdict::Up { drains: self.draining.contains(backend) },
            ServerState::Drain => Verdict::Drain,
            ServerState::Down => Verdict::Down(status.reason),
            ServerState::Unknown => Verdict::Unsure(status.reason),
        }
    }
}

/// A reason as HAProxy's log shows it unchanged: printable ASCII without double quotes, at most [`MAX_REASON`] bytes.
pub(crate) fn phrase(reason: &str) -> String {
    let shown = |c: char| match c {
        '"' => '\'',
        c if c == ' ' || c.is_ascii_graphic() => c,
        _ => '?',
    };
    reason.chars().map(shown).take(MAX_REASON).collect()
}

/// Of a reason, in bytes.
pub(crate) const MAX_REASON: usize = 200;
