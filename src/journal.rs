//! This library's own lines, where they do not go to HAProxy's log: standard error, or a file of bounded size.
//!
//! A thread of its own writes, so that a slow disk or a full pipe holds up nobody. Lines wait in [`log`], bounded.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use crate::config::{LogConfig, LogFormat, LogTarget};
use crate::log::{self, Line, stamp};
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
    /// None where lines go to HAProxy. Opens the file and starts the thread: to be called at HAProxy's init, before the chroot.
    pub fn open(config: &LogConfig) -> Result<Option<Self>, JournalError> {
        let mut target = match config.to {
            LogTarget::Haproxy => return Ok(None),
            LogTarget::Stderr => Target::Stderr,
            LogTarget::File => {
                let file = &config.file;
                Target::File(RotatingFile::open(Path::new(&file.path), file.max_bytes, file.max_files)?)
            }
        };
        let shared = Arc::new(Shared::default());
        let (ours, format) = (Arc::clone(&shared), config.format);
        runtime::thread("log", move || ours.run(&mut |line| target.write(&shown(line, format))))?;
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
    File(RotatingFile),
}

impl Target {
    fn write(&mut self, line: &str) -> Result<(), AppendError> {
        match self {
            Self::Stderr => Ok(io::stderr().write_all(line.as_bytes())?),
            Self::File(file) => file.append(line.as_bytes()),
        }
    }
}

/// One line with its line break, at most some [`MAX_TEXT`] characters.
fn shown(line: &Line, format: LogFormat) -> String {
    let mut moment = String::new();
    stamp(&mut moment, nanos(line.at));
    let (level, pid) = (line.level.word(), std::process::id());
    let text: String = line.text.chars().take(MAX_TEXT).collect();
    match format {
        LogFormat::Plain => format!("{moment} {level} haproxy-vitals[{pid}]: {text}\n"),
        LogFormat::Json => {
            let object = json!({
                "timestamp": moment, "level": level, "target": "haproxy-vitals", "pid": pid, "message": text,
            });
            format!("{object}\n")
        }
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Between two looks for lines.
const TICK: Duration = Duration::from_millis(100);
/// Characters of one line's text.
const MAX_TEXT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;

    fn line() -> Line {
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        Line { level: Level::Warning, text: "b/s is \"DOWN\"".to_owned(), at }
    }

    #[test]
    fn a_line_is_plain_or_an_object() {
        let pid = std::process::id();
        let plain = format!("2023-11-14T22:13:20.123456Z warning haproxy-vitals[{pid}]: b/s is \"DOWN\"\n");
        assert_eq!(shown(&line(), LogFormat::Plain), plain);
        let object: serde_json::Value = serde_json::from_str(&shown(&line(), LogFormat::Json)).unwrap();
        assert_eq!(object["timestamp"], "2023-11-14T22:13:20.123456Z");
        assert_eq!((&object["level"], &object["message"]), (&"warning".into(), &"b/s is \"DOWN\"".into()));
    }

    #[test]
    fn a_very_long_line_is_cut() {
        let long = Line { text: "x".repeat(100_000), ..line() };
        assert!(shown(&long, LogFormat::Json).len() < 5000);
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
        assert_eq!(objects[99]["message"], "line 99");
        config.file.path = "/nowhere/vitals.log".to_owned();
        let error = Journal::open(&config).unwrap_err().to_string();
        assert!(error.starts_with("`log.file.path`: cannot open /nowhere: "), "{error}");
    }
}
