//! One checked server: its state, its figures, and what the operator is told about it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{CheckResult, Class, Outcome};
use super::state::{Health, Machine, Pace};
use super::voice::Voice;
use crate::config::BackendConfig;
use crate::log::{Level, RateLimit};

/// A server under check. Its task writes, the checker reads; nobody keeps the lock across I/O.
pub(crate) struct Target {
    /// The settings of its backend.
    pub(crate) config: Arc<BackendConfig>,
    /// Its name within the backend.
    pub(crate) server: String,
    /// As HAProxy prints it.
    pub(crate) address: String,
    voice: Arc<Voice>,
    book: Mutex<Book>,
}

/// What is known about a server.
pub(crate) struct Book {
    /// Rise and fall.
    pub(crate) machine: Machine,
    /// The last check's result, and how long it took.
    pub(crate) last: Option<(CheckResult, Duration)>,
    /// When the health last changed.
    pub(crate) since: Instant,
    /// The result that made the health what it is.
    pub(crate) reason: String,
    /// Checks made; an uncounted retry is part of its check.
    pub(crate) checks: u64,
    /// Checks not made, because they found no room before the next one was due.
    pub(crate) overdue: u64,
    /// When the next check is due.
    pub(crate) next: Instant,
    /// Lines about failures that change nothing.
    repeated: RateLimit,
}

impl Target {
    /// A server about which nothing is known yet, first checked at `next`.
    pub(crate) fn new(
        config: Arc<BackendConfig>,
        server: String,
        address: String,
        voice: Arc<Voice>,
        next: Instant,
    ) -> Self {
        let book = Book {
            machine: Machine::new(config.rise, config.fall),
            last: None,
            since: Instant::now(),
            reason: "not checked yet".to_owned(),
            checks: 0,
            overdue: 0,
            next,
            repeated: RateLimit::per(REPEAT),
        };
        Self { config, server, address, voice, book: Mutex::new(book) }
    }

    /// What is known now.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the result of a check that took `took`.
    pub(crate) fn record(&self, result: CheckResult, took: Duration) {
        let mut book = self.book();
        let was_up = book.machine.health() == Health::Up;
        let changed = book.machine.feed(result.outcome);
        if result.outcome == Outcome::Hold(Class::Overdue) {
            book.overdue += 1;
        } else {
            book.checks += 1;
        }
        if changed {
            book.since = Instant::now();
            book.reason = self.reason(&result);
        }
        let line = self.line(&mut book, &result, changed);
        let is_up = book.machine.health() == Health::Up;
        book.last = Some((result, took));
        drop(book);

        if let Some((level, text)) = line {
            self.voice.say(level, text);
        }
        if was_up != is_up {
            self.voice.note_change(&self.config.name, &self.server);
        }
    }

    /// Start to start, until the next check.
    pub(crate) fn interval(&self) -> Duration {
        match self.book().machine.pace() {
            Pace::Normal => self.config.interval,
            Pace::Fast => self.config.fast_interval,
            Pace::Down => self.config.down_interval,
        }
    }

    fn line(&self, book: &mut Book, result: &CheckResult, changed: bool) -> Option<(Level, String)> {
        let now = Instant::now().into_std();
        let name = format!("{}/{}", self.config.name, self.server);
        let class = result.class();
        if class == Some(Class::Overdue) {
            return self.voice.overdue(now);
        }
        let level =
            if class == Some(Class::Auth) || class == Some(Class::Fault) { Level::Warning } else { Level::Info };
        if changed {
            book.repeated.reset();
            book.repeated.pass(now);
            let state = if book.machine.health() == Health::Up { "UP" } else { "DOWN" };
            let level = if level == Level::Warning { level } else { Level::Notice };
            return Some((level, format!("{name} is {state}: {}", book.reason)));
        }
        class?;
        let more = match book.repeated.pass(now)? {
            0 => String::new(),
            more => format!(", {more} more times since it was last said"),
        };
        Some((level, format!("{name} fails its check: {}{more}", self.reason(result))))
    }

    fn reason(&self, result: &CheckResult) -> String {
        let hint = result.class().and_then(Class::hint).map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{} (service \"{}\"){hint}", result.text, self.config.service)
    }
}

/// A failure that changes nothing is said at most this often for one server.
const REPEAT: Duration = Duration::from_mins(1);
