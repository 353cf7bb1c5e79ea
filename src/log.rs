//! Lines for the operator, on their way to HAProxy's own log.
//!
//! The runtime's threads may not call HAProxy, and standard error is gone under `-D`: lines wait here, bounded,
//! until a HAProxy thread takes them.

mod stamp;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use stamp::stamp;

/// How serious a line is: HAProxy's `core.log` levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something is lost or wrong and an operator should look.
    Warning,
    /// A change of state worth one line.
    Notice,
    /// Detail.
    Info,
}

impl Level {
    /// The word that stands for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How serious.
    pub level: Level,
    /// Text without a line break.
    pub text: String,
    /// When it was said.
    pub at: SystemTime,
}

/// Hands a line over. Never blocks for long, never fails: past the bound the oldest line goes and is counted.
pub fn say(level: Level, text: impl Into<String>) {
    if level as u8 > LEAST.load(Ordering::Relaxed) {
        return;
    }
    let mut lines = LINES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if lines.len() >= MAX_LINES {
        lines.pop_front();
        LOST.fetch_add(1, Ordering::Relaxed);
    }
    let mut text: String = text.into();
    text.retain(|c| c != '\n' && c != '\r');
    lines.push_back(Line { level, text, at: SystemTime::now() });
}

/// From now on lines that are less serious than `level` are not said.
pub fn set_least(level: Level) {
    LEAST.store(level as u8, Ordering::Relaxed);
}

/// Counts lines that could not be written.
pub fn lose(lines: u64) {
    LOST.fetch_add(lines, Ordering::Relaxed);
}

/// Takes every waiting line, oldest first.
pub fn take() -> Vec<Line> {
    let mut lines = LINES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    lines.drain(..).collect()
}

/// Lines that were pushed out unread, or could not be written.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Lets one event through per period, and counts those in between.
#[derive(Debug)]
pub struct RateLimit {
    period: Duration,
    last: Option<Instant>,
    suppressed: u64,
}

impl RateLimit {
    /// One event per `period`.
    pub const fn per(period: Duration) -> Self {
        Self { period, last: None, suppressed: 0 }
    }

    /// `Some(events held back since the last one let through)` when this one may pass.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < self.period) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }

    /// Forgets the past: the next event passes.
    pub fn reset(&mut self) {
        self.last = None;
        self.suppressed = 0;
    }
}

/// Lines that wait for a HAProxy thread at most.
const MAX_LINES: usize = 256;

static LINES: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());
static LOST: AtomicU64 = AtomicU64::new(0);
static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_limit_lets_one_through_per_period_and_counts_the_rest() {
        let start = Instant::now();
        let mut limit = RateLimit::per(Duration::from_mins(1));
        assert_eq!(limit.pass(start), Some(0));
        assert_eq!(limit.pass(start + Duration::from_secs(59)), None);
        assert_eq!(limit.pass(start + Duration::from_mins(1)), Some(1));
    }

    #[test]
    fn lines_are_bounded_and_the_oldest_goes_first() {
        for n in 0..=MAX_LINES {
            say(Level::Info, format!("line\n{n}"));
        }
        let lines = take();
        assert_eq!(lines.len(), MAX_LINES);
        assert_eq!(lines[0].text, "line1");
        assert_eq!(lost(), 1);
    }
}
