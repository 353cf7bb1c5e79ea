//! The text for the operator: a summary, then one line per server.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::Instant;

use super::group::Group;
use super::outcome::{Class, Outcome};
use super::state::Health;
use super::target::{Book, Target};

/// Collects the lines and what they add up to.
#[derive(Default)]
pub(crate) struct Report {
    lines: String,
    up: usize,
    drain: usize,
    down: usize,
    pending: usize,
    skipped: usize,
    checks: u64,
    overdue: u64,
    panics: String,
}

impl Report {
    /// Adds a backend in panic.
    pub(crate) fn group(&mut self, backend: &str, group: &Group) {
        if let Some(kept) = group.panic() {
            let _ = write!(self.panics, ", panic: {backend} keeps {kept}");
        }
    }

    /// Adds a checked server, with what is told of it elsewhere.
    pub(crate) fn target(&mut self, target: &Target, stopped: bool, told: &str) {
        let wanted = target.wanted();
        let book = target.book();
        let health = book.machine.health();
        *match health {
            Health::Pending => &mut self.pending,
            Health::Up => &mut self.up,
            Health::Drain => &mut self.drain,
            Health::Down => &mut self.down,
        } += 1;
        let held = if is_held(&book, stopped) { ",held" } else { "" };
        let watched = if book.watched { ",watched" } else { "" };
        // The operator or the panic threshold wants something else.
        let kept = if wanted == health { String::new() } else { format!(",kept-{}", wanted.word()) };
        self.checks += book.checks;
        self.overdue += book.overdue;
        self.line(target, &book, &format!("{}{held}{watched}{kept}", health.word()), told);
    }

    /// Adds a server that is not checked, and why.
    pub(crate) fn skipped(&mut self, backend: &str, server: &str, address: &str, reason: &str) {
        self.skipped += 1;
        let _ = writeln!(self.lines, "{backend}/{server} {} skipped: {reason}", shown(address));
    }

    /// The whole text. `under_way` counts checks; `notes` end the summary.
    pub(crate) fn finish(self, notes: &str, under_way: usize, stopped: bool) -> String {
        let Self { lines, up, drain, down, pending, skipped, checks, overdue, panics } = self;
        let servers = up + drain + down + pending;
        let stopped = if stopped { "; stopped: every server keeps its last state" } else { "" };
        format!(
            "servers: {servers}, up: {up}, drain: {drain}, down: {down}, pending: {pending}, skipped: {skipped}, \
             checks: {checks}, under way: {under_way}, overdue: {overdue}{panics}{notes}{stopped}\n{lines}"
        )
    }

    fn line(&mut self, target: &Target, book: &Book, state: &str, told: &str) {
        let (name, server, address) = (&target.profile.config.name, &target.server, shown(&target.address));
        let (passes, rise) = book.machine.rising();
        let (failures, fall) = book.machine.falling();
        let (text, class, took) = match &book.last {
            // A server's own words must not end the field.
            Some((result, took)) => (result.text.replace('"', "'"), result.class().map_or("ok", Class::word), *took),
            None => ("none".to_owned(), "none", Duration::ZERO),
        };
        let weight = target.meter.as_ref().and_then(|meter| meter.wanted());
        let weight = weight.map(|percent| format!(" weight={percent}%")).unwrap_or_default();
        let _ = writeln!(
            self.lines,
            "{name}/{server} {address} {state} since={}s last=\"{text}\" class={class} rise={passes}/{rise} \
             fall={failures}/{fall} checks={} overdue={} took={}ms next={}ms{weight}{told}",
            book.since.elapsed().as_secs(),
            book.checks,
            book.overdue,
            took.as_millis(),
            book.next.saturating_duration_since(Instant::now()).as_millis(),
        );
    }
}

/// The state is kept for want of an answer, or by an operator.
fn is_held(book: &Book, stopped: bool) -> bool {
    stopped
        || book.held.is_some()
        || matches!(&book.last, Some((result, _)) if matches!(result.outcome, Outcome::Hold(_)))
}

/// An address as one word.
fn shown(address: &str) -> &str {
    if address.is_empty() { "-" } else { address }
}
