//! What listeners answer: the checker's last word about a server, never a check of their own for one that is configured.

use std::collections::HashMap;
use std::sync::Arc;

use super::{CheckResult, Checker, Outcome, ServerState, ServerStatus, TargetSpec};
use crate::config::{BackendConfig, HealthConfig, InitState};

/// Answers for every configured backend. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Oracle {
    checker: Checker,
    backends: Arc<HashMap<String, Manner>>,
}

/// What of a backend's settings an answer needs.
#[derive(Debug, Clone, Copy)]
struct Manner {
    init: InitState,
    drains: bool,
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
        let manner = |backend: &BackendConfig| Manner { init: backend.init, drains: backend.may_drain() };
        let backends = config.backends.iter().map(|backend| (backend.name.clone(), manner(backend))).collect();
        Self { checker, backends: Arc::new(backends) }
    }

    /// By its names in HAProxy's configuration. None: it is not checked.
    pub(crate) fn server(&self, backend: &str, server: &str) -> Option<Verdict> {
        let manner = *self.backends.get(backend)?;
        self.checker.status(backend, server).map(|status| manner.verdict(status))
    }

    /// By its address, as HAProxy prints it: the first server that has it. None: it is not checked.
    pub(crate) fn address(&self, address: &str) -> Option<Verdict> {
        let (backend, status) = self.checker.status_at(address)?;
        Some(self.backends.get(&backend)?.verdict(status))
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
}

impl Manner {
    fn verdict(self, status: ServerStatus) -> Verdict {
        match (status.state, self.init) {
            (ServerState::Up, _) | (ServerState::Unknown, InitState::Up) => Verdict::Up { drains: self.drains },
            (ServerState::Drain, _) => Verdict::Drain,
            (ServerState::Down, _) | (ServerState::Unknown, InitState::Down) => Verdict::Down(status.reason),
            (ServerState::Unknown, InitState::Hold) => Verdict::Unsure(status.reason),
        }
    }
}
