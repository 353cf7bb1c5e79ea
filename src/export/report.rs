//! What the operator is told: once when it breaks, at most once a minute while it stays so, once when it is over.

use std::time::Duration;

use tokio::time::Instant;

use super::exporter::Say;
use super::{SendError, Signal};
use crate::log::{Level, RateLimit};
use crate::stats::{DropReason, ExportStats};

/// Says how export goes.
pub(super) struct Report {
    target: String,
    signal: Signal,
    stats: &'static ExportStats,
    say: Say,
    outage: Option<Outage>,
    /// Across outages: a collector that comes and goes is not said each time.
    lost: Tally,
    refused: Tally,
    rejected: Tally,
    /// Partial successes without a rejected item.
    warned: RateLimit,
}

/// From the first failure to the next success.
struct Outage {
    since: Instant,
    /// Items lost before it.
    lost_before: u64,
    said: bool,
}

impl Report {
    pub(super) fn new(target: String, signal: Signal, stats: &'static ExportStats, say: Say) -> Self {
        let (lost, refused, rejected) = (Tally::new(), Tally::new(), Tally::new());
        Self { target, signal, stats, say, outage: None, lost, refused, rejected, warned: RateLimit::per(PERIOD) }
    }

    /// An attempt failed in a way that is retried.
    pub(super) fn failed(&mut self, error: &SendError, now: Instant) {
        let total = self.lost_items();
        let outage = self.outage.get_or_insert(Outage { since: now, lost_before: total, said: false });
        let Some(lost) = self.lost.pass(total, now) else { return };
        let (target, items) = (&self.target, self.signal.items());
        let text = if outage.said {
            let seconds = now.duration_since(outage.since).as_secs();
            format!(
                "collector {target} has not taken {items} for {seconds} s: {error}; dropped since it was last said: {lost} {items}"
            )
        } else {
            format!("collector {target} does not take {items}: {error}; they are kept up to the queue's bound")
        };
        outage.said = true;
        (self.say)(Level::Warning, text);
    }

    /// The collector took a batch, but for `rejected` of its items.
    pub(super) fn accepted(&mut self, rejected: u64, message: &str, now: Instant) {
        self.recovered(now);
        let (target, items) = (&self.target, self.signal.items());
        if rejected > 0 {
            let Some(rejected) = self.rejected.pass(self.stats.dropped(DropReason::Rejected), now) else { return };
            (self.say)(Level::Warning, format!("collector {target} rejected {rejected} {items}: {message}"));
        } else if !message.is_empty() && self.warned.pass(now.into()).is_some() {
            (self.say)(Level::Warning, format!("collector {target} took the {items} and warns: {message}"));
        }
    }

    /// The collector refused a batch for good; it is counted already.
    pub(super) fn refused(&mut self, error: &SendError, now: Instant) {
        let Some(refused) = self.refused.pass(self.stats.dropped(DropReason::Refused), now) else { return };
        let (target, items) = (&self.target, self.signal.items());
        (self.say)(Level::Warning, format!("collector {target} refused {refused} {items} for good: {error}"));
    }

    fn recovered(&mut self, now: Instant) {
        let Some(outage) = self.outage.take().filter(|outage| outage.said) else { return };
        let lost = self.lost_items() - outage.lost_before;
        let seconds = now.duration_since(outage.since).as_secs();
        let (target, items) = (&self.target, self.signal.items());
        (self.say)(
            Level::Notice,
            format!("collector {target} takes {items} again after {seconds} s; lost: {lost} {items}"),
        );
    }

    /// What an outage costs: batches that waited too long, and items that found the queue full.
    fn lost_items(&self) -> u64 {
        self.stats.dropped(DropReason::Timeout) + self.stats.dropped(DropReason::QueueFull)
    }
}

/// A counter's growth, told once per period.
struct Tally {
    limit: RateLimit,
    told: u64,
}

impl Tally {
    const fn new() -> Self {
        Self { limit: RateLimit::per(PERIOD), told: 0 }
    }

    /// How much `total` has grown since the last time it was told.
    fn pass(&mut self, total: u64, now: Instant) -> Option<u64> {
        self.limit.pass(now.into())?;
        Some(total - std::mem::replace(&mut self.told, total))
    }
}

const PERIOD: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Lines = Arc<Mutex<Vec<(Level, String)>>>;

    fn report() -> (Report, &'static ExportStats, Lines) {
        let lines = Lines::default();
        let log = Arc::clone(&lines);
        let stats: &'static ExportStats = Box::leak(Box::new(ExportStats::new()));
        let say: Say = Box::new(move |level, text| log.lock().unwrap().push((level, text)));
        (Report::new("c:1".to_owned(), Signal::Traces, stats, say), stats, lines)
    }

    fn taken(lines: &Lines) -> Vec<(Level, String)> {
        std::mem::take(&mut *lines.lock().unwrap())
    }

    #[test]
    fn outage_is_said_once_then_each_minute_then_its_end() {
        let (mut report, stats, lines) = report();
        let start = Instant::now();
        for second in 0..=61 {
            stats.drop_spans(DropReason::QueueFull, 1);
            report.failed(&SendError::NotGrpc, start + Duration::from_secs(second));
        }
        report.accepted(0, "", start + Duration::from_secs(70));
        report.accepted(0, "", start + Duration::from_secs(71));
        let texts = [
            (
                Level::Warning,
                "collector c:1 does not take spans: the answer is not gRPC; they are kept up to the queue's bound",
            ),
            (
                Level::Warning,
                "collector c:1 has not taken spans for 60 s: the answer is not gRPC; dropped since it was last said: 60 spans",
            ),
            (Level::Notice, "collector c:1 takes spans again after 70 s; lost: 61 spans"),
        ];
        assert_eq!(taken(&lines), texts.map(|(level, text)| (level, text.to_owned())));
    }

    #[test]
    fn collector_that_comes_and_goes_is_not_said_each_time() {
        let (mut report, _, lines) = report();
        let start = Instant::now();
        for second in 0..50 {
            report.failed(&SendError::NotGrpc, start + Duration::from_secs(second));
            report.accepted(0, "", start + Duration::from_secs(second));
        }
        assert_eq!(taken(&lines).len(), 2);
    }

    #[test]
    fn refusals_are_said_once_a_minute_with_their_spans() {
        let (mut report, stats, lines) = report();
        let start = Instant::now();
        for second in [0, 1, 2, 61] {
            stats.drop_spans(DropReason::Refused, 10);
            report.refused(&SendError::NotGrpc, start + Duration::from_secs(second));
        }
        let texts = taken(&lines).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(texts.len(), 2);
        assert!(texts[0].contains("refused 10 spans") && texts[1].contains("refused 30 spans"), "{texts:?}");
    }

    #[test]
    fn warning_without_a_rejected_span_is_said() {
        let (mut report, _, lines) = report();
        report.accepted(0, "deprecated", Instant::now());
        report.accepted(0, "deprecated", Instant::now());
        let warning = "collector c:1 took the spans and warns: deprecated".to_owned();
        assert_eq!(taken(&lines), [(Level::Warning, warning)]);
    }
}
