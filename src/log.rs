//! Lines for the operator, on their way to HAProxy's own log.
//!
//! The runtime's threads may not call HAProxy, and standard error is gone under `-D`: lines wait here, bounded,
//! until a HAProxy thread takes them.

mod stamp;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use stamp::stamp;

/// How serious a line is. HAProxy's `core.log` knows all but [`Level::Trace`], which is its `debug`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What was asked for cannot be done.
    Error,
    /// Something is lost or wrong and an operator should look.
    Warning,
    /// A change of state worth one line.
    Notice,
    /// Detail.
    Info,
    /// Every request.
    Debug,
    /// Every step.
    Trace,
}

impl Level {
    /// The word that stands for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Topic {
    /// The process, and everything that has no topic of its own.
    Process,
    /// What the agent is asked, and about whom.
    Agent,
}

impl Topic {
    /// `target` of a line in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Process => "haproxy-vitals",
            Self::Agent => "haproxy-vitals::agent",
        }
    }
}

/// A fact of a line's, beside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Words.
    Text(String),
    /// A whole number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// As text behind `name=`: in quotes where it would not be one word.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) if text.is_empty() || text.contains(|c: char| c.is_whitespace() || "\"\\".contains(c)) => {
                write!(f, "{text:?}")
            }
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// Facts with their names.
pub type Facts = Vec<(&'static str, Fact)>;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How serious.
    pub level: Level,
    /// What about.
    pub topic: Topic,
    /// Text without a line break.
    pub text: String,
    /// What belongs to it.
    pub facts: Facts,
    /// When it was said.
    pub at: SystemTime,
}

impl Line {
    /// The text with its facts behind it.
    pub fn whole(&self) -> String {
        let facts = self.facts.iter().map(|(name, fact)| format!(" {name}={fact}"));
        std::iter::once(self.text.clone()).chain(facts).collect()
    }
}

/// Hands a line over. Never blocks for long, never fails: past the bound the oldest line goes and is counted.
pub fn say(level: Level, text: impl Into<String>) {
    say_with(level, text, Facts::new());
}

/// The same with facts that are there already.
pub fn say_with(level: Level, text: impl Into<String>, facts: Facts) {
    if is_said(Topic::Process, level) {
        wait(Line { level, topic: Topic::Process, text: text.into(), facts, at: SystemTime::now() });
    }
}

/// The same with facts, which are asked for only where the line is said: one that is not costs a load and a branch.
pub fn tell(topic: Topic, level: Level, text: &str, facts: impl FnOnce() -> Facts) {
    if is_said(topic, level) {
        wait(Line { level, topic, text: text.to_owned(), facts: facts(), at: SystemTime::now() });
    }
}

/// Whether lines of this kind are said.
pub fn is_said(topic: Topic, level: Level) -> bool {
    LEAST.get(topic as usize).is_some_and(|least| level as u8 <= least.load(Ordering::Relaxed))
}

/// From now on lines that are less serious than `level` are not said.
pub fn set_least(level: Level) {
    for least in &LEAST {
        least.store(level as u8, Ordering::Relaxed);
    }
}

/// The same for one topic.
pub fn set_least_of(topic: Topic, level: Level) {
    if let Some(least) = LEAST.get(topic as usize) {
        least.store(level as u8, Ordering::Relaxed);
    }
}

fn wait(mut line: Line) {
    tidy(&mut line.text);
    for (_, fact) in &mut line.facts {
        if let Fact::Text(text) = fact {
            tidy(text);
        }
    }
    let mut lines = LINES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if lines.len() >= MAX_LINES {
        lines.pop_front();
        LOST.fetch_add(1, Ordering::Relaxed);
    }
    lines.push_back(line);
}

/// One line, of bounded length.
fn tidy(text: &mut String) {
    text.retain(|c| c != '\n' && c != '\r');
    if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
        text.truncate(end);
    }
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

/// Characters of a line's text, and of each fact.
const MAX_TEXT: usize = 4096;

/// Lines that wait to be written, at most.
const MAX_LINES: usize = 1024;

static LINES: Mutex<VecDeque<Line>> = Mutex::new(VecDeque::new());
static LOST: AtomicU64 = AtomicU64::new(0);
/// By [`Topic`].
static LEAST: [AtomicU8; 2] = [const { AtomicU8::new(Level::Info as u8) }; 2];

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

    #[test]
    fn a_topic_has_a_level_of_its_own_and_facts_are_not_made_in_vain() {
        set_least_of(Topic::Agent, Level::Debug);
        let mut made = false;
        tell(Topic::Agent, Level::Trace, "silent", || {
            made = true;
            Vec::new()
        });
        assert!(!made && is_said(Topic::Agent, Level::Debug) && !is_said(Topic::Process, Level::Debug));
        tell(Topic::Agent, Level::Debug, "said", || vec![("backend", "a:1".into())]);
        let lines = take();
        let line = lines.iter().find(|line| line.topic == Topic::Agent).unwrap();
        assert_eq!((line.text.as_str(), &line.facts), ("said", &vec![("backend", Fact::Text("a:1".to_owned()))]));
        set_least_of(Topic::Agent, Level::Info);
    }
}
