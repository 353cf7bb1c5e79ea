//! The way out of the checks, shared by all targets: lines for the operator, and who has changed.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::lateness::Lateness;
use super::observe::Watcher;
use crate::log::{Facts, Level, RateLimit};

/// Where lines go.
pub(crate) type Say = Box<dyn Fn(Level, String, Facts) + Send + Sync>;

/// What the targets tell the outside.
pub(crate) struct Voice {
    say: Say,
    /// Backend and server. Bound: one entry per name, however often it changes.
    changed: Mutex<BTreeSet<(String, String)>>,
    /// Counts changes.
    version: watch::Sender<u64>,
    overdue: Mutex<RateLimit>,
    /// Of every target's checks.
    pub(crate) lateness: Lateness,
    /// For messages.
    max_concurrent: usize,
    /// Hears of checks that are worth a span.
    watcher: Option<Watcher>,
}

impl Voice {
    /// Hands lines to `say`, which must not block.
    pub(crate) fn new(say: Say, max_concurrent: usize) -> Self {
        let overdue = Mutex::new(RateLimit::per(Duration::from_mins(1)));
        let (version, _) = watch::channel(0);
        let lateness = Lateness::default();
        Self { say, changed: Mutex::default(), version, overdue, lateness, max_concurrent, watcher: None }
    }

    /// The same, with somebody who hears of checks.
    pub(crate) fn with_watcher(self, watcher: Option<Watcher>) -> Self {
        Self { watcher, ..self }
    }

    /// Who hears of checks.
    pub(crate) fn watcher(&self) -> Option<&Watcher> {
        self.watcher.as_ref()
    }

    /// Tells the operator.
    pub(crate) fn say(&self, level: Level, text: String) {
        self.say_with(level, text, Facts::new());
    }

    /// The same, with what belongs to it.
    pub(crate) fn say_with(&self, level: Level, text: String, facts: Facts) {
        (self.say)(level, text, facts);
    }

    /// Notes that a server's wanted state changed.
    pub(crate) fn note_change(&self, backend: &str, server: &str) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.insert((backend.to_owned(), server.to_owned()));
        drop(changed);
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Who changed since the last call.
    pub(crate) fn take_changes(&self) -> BTreeSet<(String, String)> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Is told of each change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The line about a check that found no room: at most one per minute for all targets together.
    pub(crate) fn overdue(&self, now: Instant) -> Option<(Level, String)> {
        let more = self.overdue.lock().unwrap_or_else(PoisonError::into_inner).pass(now)?;
        let text = format!(
            "health checks are overdue ({more} more since it was last said): {} are under way at once \
             (`health.max_concurrent`); the servers concerned keep their state",
            self.max_concurrent
        );
        Some((Level::Warning, text))
    }
}
