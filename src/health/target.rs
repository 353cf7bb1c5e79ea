//! One checked server: its state, its figures, and what the operator is told about it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::group::Group;
use super::load::Meter;
use super::observe::{Figures, Seen, ServerFigures, SpanIds};
use super::outcome::{CheckResult, Class, Outcome};
use super::profile::Profile;
use super::state::{Health, Machine, Pace, Weight};
use super::status::ServerState;
use super::voice::Voice;
use crate::log::{Level, RateLimit};

/// A server under check. Its task writes, the checker reads; nobody keeps the lock across I/O.
pub(crate) struct Target {
    /// The settings of its backend.
    pub(crate) profile: Arc<Profile>,
    /// The servers of its backend together.
    pub(crate) group: Arc<Group>,
    /// Its name within the backend.
    pub(crate) server: String,
    /// As HAProxy prints it.
    pub(crate) address: String,
    /// What it says about its load; absent where that is not asked.
    pub(crate) meter: Option<Arc<Meter>>,
    /// What its checks came to.
    pub(crate) figures: Arc<Figures>,
    voice: Arc<Voice>,
    book: Mutex<Book>,
    now: Notify,
}

/// What is known about a server.
#[expect(clippy::struct_excessive_bools, reason = "each is said by somebody else, whatever the others are")]
pub(crate) struct Book {
    /// Rise and fall.
    pub(crate) machine: Machine,
    /// The last check's result, and how long it took.
    pub(crate) last: Option<(CheckResult, Duration)>,
    /// When the health last changed.
    pub(crate) since: Instant,
    /// The result that made the health what it is.
    pub(crate) reason: String,
    /// Checks made; an uncounted retry is part of its check. With `watch`: messages and Checks.
    pub(crate) checks: u64,
    /// Checks not made, because they found no room before the next one was due.
    pub(crate) overdue: u64,
    /// When the next check is due.
    pub(crate) next: Instant,
    /// An operator keeps it so.
    pub(crate) held: Option<Health>,
    /// The server told its state by itself: it is being watched.
    pub(crate) watched: bool,
    /// No longer checked: what comes late does not count.
    retired: bool,
    /// Before its first verdict it counts as healthy: it gets requests.
    trusted: bool,
    /// In maintenance: it does not count among its backend's servers.
    away: bool,
    /// Lines about failures that change nothing.
    repeated: RateLimit,
    /// Classes that were warned of, by [`Class::bit`].
    warned: u32,
}

impl Book {
    /// As what it counts among its backend's servers.
    fn standing(&self) -> Health {
        match self.machine.health() {
            Health::Pending if self.trusted => Health::Up,
            health => health,
        }
    }

    /// What is most often a matter of configuration is warned of once.
    fn is_first_warning(&mut self, class: Option<Class>) -> bool {
        let Some(class) = class.filter(|class| class.hint().is_some() || *class == Class::Fault) else { return false };
        let first = self.warned & class.bit() == 0;
        self.warned |= class.bit();
        first
    }
}

impl Target {
    /// A server about which nothing is known yet, first checked at `next`. `figures`: those of the same server, if it was
    /// checked before at another address.
    pub(crate) fn new(
        profile: Arc<Profile>,
        group: Arc<Group>,
        server: String,
        address: String,
        voice: Arc<Voice>,
        next: Instant,
        figures: Arc<Figures>,
    ) -> Self {
        let book = Book {
            machine: Machine::new(profile.config.rise, profile.config.fall),
            last: None,
            since: Instant::now(),
            reason: "not checked yet".to_owned(),
            checks: 0,
            overdue: 0,
            next,
            held: None,
            watched: false,
            retired: false,
            trusted: false,
            away: false,
            repeated: RateLimit::per(REPEAT),
            warned: 0,
        };
        let meter = Meter::of(&profile.config.weight, &profile.config.name, &server, &voice);
        Self { profile, group, server, address, meter, figures, voice, book: Mutex::new(book), now: Notify::new() }
    }

    /// What is known now.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What HAProxy is to do: the checks' verdict, unless an operator or the panic threshold keeps another.
    pub(crate) fn wanted(&self) -> Health {
        self.wanted_by(&self.book())
    }

    /// A check that was `due` begins now.
    pub(crate) fn begin(&self, due: Instant) {
        self.voice.lateness.note(due.elapsed());
    }

    /// Takes in the result of a check that took `took`.
    pub(crate) fn record(&self, result: CheckResult, took: Duration, weight: Weight) {
        let mut book = self.book();
        if book.retired {
            return;
        }
        let (was_wanted, before, stood) = (self.wanted_by(&book), book.machine.health(), book.standing());
        let changed = book.machine.feed(result.outcome, weight);
        if result.outcome == Outcome::Hold(Class::Overdue) {
            book.overdue += 1;
        } else {
            book.checks += 1;
        }
        if changed {
            book.since = Instant::now();
            book.reason = self.reason(&result);
            if !book.away {
                self.group.moved(&self.server, stood, book.standing());
            }
        }
        let line = self.line(&mut book, &result, changed);
        let wanted = self.wanted_by(&book);
        let after = book.machine.health();
        let span = self.observe(&result, took, weight, changed.then_some((before, after)));
        book.last = Some((result, took));
        drop(book);

        if let Some((level, text)) = line {
            self.voice.say_with(level, text, span.map(SpanIds::facts).unwrap_or_default());
        }
        if was_wanted != wanted {
            self.note_change();
        }
    }

    /// Counts a check, and tells it to whoever makes spans of checks; the answer is its span.
    fn observe(
        &self,
        result: &CheckResult,
        took: Duration,
        weight: Weight,
        change: Option<(Health, Health)>,
    ) -> Option<SpanIds> {
        self.figures.check(result.outcome, took);
        if let Some((_, to)) = change {
            self.figures.moved(to);
        }
        let watcher = self.voice.watcher()?;
        let told = weight == Weight::Decisive && took.is_zero();
        let change = change.map(|(from, to)| (ServerState::of(from), ServerState::of(to)));
        watcher.tell(self, &Seen { result, took, told, change }, rand::random())
    }

    /// Freezes the state, or lets it follow the checks again.
    pub(crate) fn hold(&self, held: bool) {
        let mut book = self.book();
        let before = self.wanted_by(&book);
        book.held = held.then_some(before);
        let changed = before != self.wanted_by(&book);
        drop(book);
        if changed {
            self.note_change();
        }
    }

    /// Another task checks it from now on, first at `next`.
    pub(crate) fn begin_anew(&self, next: Instant) {
        let mut book = self.book();
        (book.next, book.watched) = (next, false);
    }

    /// Its figures now.
    pub(crate) fn observed(&self) -> ServerFigures {
        let state = ServerState::of(self.wanted());
        ServerFigures {
            backend: self.profile.config.name.clone(),
            server: self.server.clone(),
            state,
            last_move: self.figures.last_move(),
            weight: self.meter.as_ref().and_then(|meter| meter.wanted()),
            tally: self.figures.tally(),
            moves: self.figures.moves(),
        }
    }

    /// Its task checks at once.
    pub(crate) fn check_now(&self) {
        self.now.notify_one();
    }

    /// Returns when somebody wants a check at once.
    pub(crate) async fn wanted_now(&self) {
        self.now.notified().await;
    }

    /// It is no longer checked.
    pub(crate) fn retire(&self) {
        let mut book = self.book();
        if !std::mem::replace(&mut book.retired, true) && !book.away {
            self.group.left(&self.server, book.standing());
        }
    }

    /// It gets requests before its first verdict: those that do when the process starts are the last good ones.
    pub(crate) fn trust(&self) {
        let mut book = self.book();
        if book.machine.health() == Health::Pending && !std::mem::replace(&mut book.trusted, true) && !book.away {
            self.group.joined(book.standing());
        }
    }

    /// Whether it is in maintenance. Its checks go on.
    pub(crate) fn set_away(&self, away: bool) {
        let mut book = self.book();
        if book.retired || std::mem::replace(&mut book.away, away) == away {
            return;
        }
        if away {
            self.group.left(&self.server, book.standing());
        } else {
            self.group.joined(book.standing());
        }
    }

    /// Start to start, until the next check.
    pub(crate) fn interval(&self) -> Duration {
        let config = &self.profile.config;
        match self.book().machine.pace() {
            Pace::Normal => config.interval,
            Pace::Fast => config.fast_interval,
            Pace::Down => config.down_interval,
        }
    }

    fn wanted_by(&self, book: &Book) -> Health {
        let health = book.machine.health();
        match book.held {
            Some(held) => held,
            None if health != Health::Up && self.group.keeps(&self.server) => Health::Up,
            None => health,
        }
    }

    fn note_change(&self) {
        self.voice.note_change(&self.profile.config.name, &self.server);
    }

    fn line(&self, book: &mut Book, result: &CheckResult, changed: bool) -> Option<(Level, String)> {
        let now = Instant::now().into_std();
        let name = format!("{}/{}", self.profile.config.name, self.server);
        let class = result.class();
        if class == Some(Class::Overdue) {
            return self.voice.overdue(now);
        }
        let level = if book.is_first_warning(class) { Level::Warning } else { Level::Info };
        if changed {
            book.repeated.reset();
            book.repeated.pass(now);
            let state = book.machine.health().word().to_uppercase();
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

    /// The result's text with the service and what to look at first.
    fn reason(&self, result: &CheckResult) -> String {
        let hint = result.class().and_then(Class::hint).map(|hint| format!("; {hint}")).unwrap_or_default();
        let services = match &result.service {
            Some(service) => format!("service \"{service}\""),
            None => match self.profile.config.services.as_slice() {
                [service] => format!("service \"{service}\""),
                several => format!("{} services", several.len()),
            },
        };
        format!("{} ({services}){hint}", result.text)
    }
}

/// A failure that changes nothing is said at most this often for one server.
const REPEAT: Duration = Duration::from_mins(1);
