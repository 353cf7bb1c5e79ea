//! This library's own lines, where they do not go to HAProxy's log: standard output or error, or a file of bounded size.
//!
//! A thread of its own writes, so that a slow disk or a full pipe holds up nobody. Lines wait in [`log`], bounded.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};

use crate::config::{LogConfig, LogFormat, LogTarget, Rotation};
use crate::log::{self, Fact, Level, Line, Topic, stamp};
use crate::rotate::{AppendError, OpenError, RotatingFile};
use crate::runtime::{self, StartError};

/// The lines' way out. Ends with [`Journal::finish`].
#[derive(Debug)]
pub struct Journal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Everything is written.
    done: bool,
}

/// Why lines cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file.
    #[error("`log.file.path`: {0}")]
    File(#[from] OpenError),
    /// No thread for it.
    #[error(transparent)]
    Thread(#[from] StartError),
}

impl Journal {
    /// Sets what is said at all. None where lines go to HAProxy. Opens the file and starts the thread: to be called at HAProxy's init, before the chroot.
    pub fn open(config: &LogConfig) -> Result<Option<Self>, JournalError> {
        log::set_least(config.level);
        log::set_least_of(Topic::Agent, config.agent_level.unwrap_or(config.level));
        let mut target = match config.to {
            LogTarget::Haproxy => return Ok(None),
            LogTarget::Stderr => Target::Stderr,
            LogTarget::Stdout => Target::Stdout,
            LogTarget::File => Target::File(Pages::open(config)?),
        };
        let shared = Arc::new(Shared::default());
        let (ours, format) = (Arc::clone(&shared), config.format);
        runtime::thread("log", move || ours.run(&mut |line| target.write(&shown(line, format), line.at)))?;
        Ok(Some(Self(shared)))
    }

    /// Writes what waits and ends, within `bound`. Blocks. Lines that are said afterwards are lost.
    pub fn finish(&self, bound: Duration) {
        let end = Instant::now() + bound;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        self.0.changed.notify_all();
        while !state.done {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn run(&self, write: &mut dyn FnMut(&Line) -> Result<(), AppendError>) {
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(state, TICK, |state| !state.closed);
            let closed = waited.unwrap_or_else(PoisonError::into_inner).0.closed;
            for line in log::take() {
                if write(&line).is_err() {
                    log::lose(1);
                }
            }
            if closed {
                self.state.lock().unwrap_or_else(PoisonError::into_inner).done = true;
                self.changed.notify_all();
                return;
            }
        }
    }
}

enum Target {
    Stderr,
    Stdout,
    File(Pages),
}

impl Target {
    fn write(&mut self, line: &str, at: SystemTime) -> Result<(), AppendError> {
        match self {
            Self::Stderr => Ok(io::stderr().write_all(line.as_bytes())?),
            Self::Stdout => {
                let mut out = io::stdout();
                out.write_all(line.as_bytes())?;
                Ok(out.flush()?)
            }
            Self::File(pages) => pages.write(line, at),
        }
    }
}

/// A file, and when the next one begins.
struct Pages {
    file: RotatingFile,
    /// Absent where size alone decides.
    period: Option<Duration>,
    /// The number of the period that the last line was of, counted from 1970 in UTC.
    page: u64,
}

impl Pages {
    fn open(config: &LogConfig) -> Result<Self, OpenError> {
        let path = Path::new(&config.file.path);
        let (most, period) = match config.rotation {
            Rotation::Size => (config.file.max_bytes, None),
            Rotation::Hourly => (config.file.max_bytes, Some(HOUR)),
            Rotation::Daily => (config.file.max_bytes, Some(DAY)),
            Rotation::Never => (u64::MAX, None),
        };
        // The file of a process that went before is of its own period.
        let last = std::fs::metadata(path).and_then(|file| file.modified()).unwrap_or_else(|_| SystemTime::now());
        let file = RotatingFile::open(path, most, config.file.max_files)?;
        Ok(Self { file, period, page: page(last, period) })
    }

    fn write(&mut self, line: &str, at: SystemTime) -> Result<(), AppendError> {
        let page = page(at, self.period);
        if page > self.page {
            self.page = page;
            self.file.begin_another()?;
        }
        self.file.append(line.as_bytes())
    }
}

fn page(at: SystemTime, period: Option<Duration>) -> u64 {
    period.map_or(0, |period| nanos(at) / 1_000_000_000 / period.as_secs().max(1))
}

/// One line with its line break.
fn shown(line: &Line, format: LogFormat) -> String {
    let mut moment = String::new();
    stamp(&mut moment, nanos(line.at));
    match format {
        LogFormat::Plain => {
            let (level, topic, pid) = (line.level.word(), line.topic.word(), std::process::id());
            format!("{moment} {level} {topic}[{pid}]: {}\n", line.whole())
        }
        LogFormat::Json => {
            let facts = line.facts.iter().map(|(name, fact)| ((*name).to_owned(), json(fact)));
            let fields: Map<_, _> =
                std::iter::once(("message".to_owned(), line.text.clone().into())).chain(facts).collect();
            let object = serde_json::json!({
                "timestamp": moment, "level": capital(line.level), "fields": fields, "target": line.topic.word(),
                "pid": std::process::id(),
            });
            format!("{object}\n")
        }
    }
}

/// As the `tracing` crate's JSON has them, which log pipelines of haproxy-grpc-agent read; `NOTICE` is ours.
fn capital(level: Level) -> &'static str {
    match level {
        Level::Error => "ERROR",
        Level::Warning => "WARN",
        Level::Notice => "NOTICE",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
        Level::Trace => "TRACE",
    }
}

fn json(fact: &Fact) -> Value {
    match fact {
        Fact::Text(text) => text.as_str().into(),
        Fact::Number(number) => (*number).into(),
        Fact::Flag(flag) => (*flag).into(),
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Between two looks for lines.
const TICK: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;
    fn line() -> Line {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        let facts = vec![("backend", "10.0.0.1:1".into()), ("error", "timed out".into()), ("ssl", false.into())];
        Line { level: Level::Warning, topic: Topic::Agent, text: "it is \"DOWN\"".to_owned(), facts, at }
    }

    #[test]
    fn a_line_is_plain_or_an_object() {
        let pid = std::process::id();
        let begin = format!("2023-11-14T22:13:20.123456Z warning haproxy-vitals::agent[{pid}]: it is \"DOWN\"");
        let plain = format!("{begin} backend=10.0.0.1:1 error=\"timed out\" ssl=false\n");
        assert_eq!(shown(&line(), LogFormat::Plain), plain);
        let object: Value = serde_json::from_str(&shown(&line(), LogFormat::Json)).unwrap();
        assert_eq!(object["timestamp"], "2023-11-14T22:13:20.123456Z");
        assert_eq!((&object["level"], &object["target"]), (&"WARN".into(), &"haproxy-vitals::agent".into()));
        assert_eq!(object["fields"]["message"], "it is \"DOWN\"");
        assert_eq!((&object["fields"]["error"], &object["fields"]["ssl"]), (&"timed out".into(), &false.into()));
    }

    #[test]
    fn an_hour_or_a_day_begins_another_file() {
        for (rotation, period) in [(Rotation::Hourly, HOUR), (Rotation::Daily, DAY)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("vitals.log");
            let mut config = LogConfig { rotation, ..LogConfig::default() };
            config.file.path = path.display().to_string();
            let mut pages = Pages::open(&config).unwrap();
            let now = SystemTime::now();
            for (text, at) in [("now\n", now), ("then\n", now + period), ("then too\n", now + period)] {
                pages.write(text, at).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "then\nthen too\n");
            assert_eq!(std::fs::read_to_string(folder.path().join("vitals.log.1")).unwrap(), "now\n");
        }
    }

    #[test]
    fn a_very_long_line_is_cut() {
        log::say(Level::Info, "x".repeat(100_000));
        let line = log::take().pop().unwrap();
        assert!(shown(&line, LogFormat::Json).len() < 5000);
    }

    #[test]
    fn what_is_said_before_the_end_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vitals.log");
        let mut config = LogConfig { to: LogTarget::File, format: LogFormat::Json, ..LogConfig::default() };
        config.file.path = path.display().to_string();
        let journal = Journal::open(&config).unwrap().unwrap();
        for n in 0..100 {
            log::say(Level::Info, format!("line {n}"));
        }
        journal.finish(Duration::from_secs(10));
        let text = std::fs::read_to_string(&path).unwrap();
        let objects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 100);
        assert_eq!(objects[99]["fields"]["message"], "line 99");
        config.file.path = "/nowhere/vitals.log".to_owned();
        let error = Journal::open(&config).unwrap_err().to_string();
        assert!(error.starts_with("`log.file.path`: cannot open /nowhere: "), "{error}");
    }
}
