//! One server's state, for those who ask.

use std::time::Instant;

use super::outcome::Class;
use super::state::Health;
use super::target::Target;

/// What a server may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// Requests.
    Up,
    /// No new clients.
    Drain,
    /// No requests.
    Down,
    /// No verdict yet.
    Unknown,
}

impl ServerState {
    /// The word that stands for it in metrics and spans.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Drain => "drain",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    pub(super) const fn of(health: Health) -> Self {
        match health {
            Health::Pending => Self::Unknown,
            Health::Up => Self::Up,
            Health::Drain => Self::Drain,
            Health::Down => Self::Down,
        }
    }
}

/// One server's state and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStatus {
    /// What it may get.
    pub state: ServerState,
    /// Since when its checks say what they say.
    pub since: Instant,
    /// Why: one line, at most some 300 characters.
    pub reason: String,
    /// Why the last check did not pass; absent when it passed, and before the first.
    pub class: Option<Class>,
    /// As HAProxy prints it.
    pub address: String,
    /// Its weight from its load, in percent of its own, 0 to 100; absent while no load is known.
    pub weight: Option<u8>,
}

impl ServerStatus {
    pub(super) fn of(target: &Target) -> Self {
        let state = ServerState::of(target.wanted());
        let book = target.book();
        Self {
            state,
            since: book.since.into_std(),
            reason: book.reason.clone(),
            class: book.last.as_ref().and_then(|(result, _)| result.class()),
            address: target.address.clone(),
            weight: target.meter.as_ref().and_then(|meter| meter.wanted()),
        }
    }
}
