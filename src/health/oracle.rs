//! What listeners answer: the checker's last word about a server, never a check of their own for one that is configured.

use std::collections::HashSet;
use std::sync::Arc;

use super::{CheckResult, Checker, Outcome, ServerState, ServerStatus, TargetSpec};
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
        self.checker.status(backend, server).map(|status| self.verdict(backend, status))
    }

    /// By its address, as HAProxy prints it: the first server that has it. None: it is not checked.
    pub(crate) fn address(&self, address: &str) -> Option<Verdict> {
        let (backend, status) = self.checker.status_at(address)?;
        Some(self.verdict(&backend, status))
    }

    /// By a check of its own, which others who ask for the same share.
    pub(crate) async fn once(&self, spec: TargetSpec) -> Verdict {
        let CheckResult { outcome, text, .. } = self.checker.once(spec).await;
        match outcome {
            Outcome::Pass => Verdict::Up { drains: false },
            Outcome::Drain(_) => Verdict::Drain,
            Outcome::HardFail(_) | Outcome::SoftFail(_) => Verdict::Down(text),
            Outcome::Hold(_) => Verdict::Unsure(text),
        }
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
