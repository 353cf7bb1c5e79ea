//! What the agent's log says of targets that are not configured: each change once, a failure that goes on once per minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::health::Class;
use crate::health::oracle::Verdict;
use crate::health::outcome::printable;
use crate::log::{self, Facts, Level, RateLimit, Topic};

/// Knows what was said.
pub(super) struct Herald {
    /// Bound: as many as targets are known at once; beyond that the one that was not asked for the longest is forgotten.
    known: Mutex<HashMap<String, Known>>,
    most: usize,
    refused: Mutex<RateLimit>,
}

struct Known {
    up: bool,
    used: Instant,
    repeated: RateLimit,
}

impl Herald {
    /// Nothing said yet.
    pub(super) fn new(most: usize) -> Self {
        Self { known: Mutex::default(), most, refused: Mutex::new(RateLimit::per(MINUTE)) }
    }

    /// A request has come.
    pub(super) fn asked(backend: &str, tls: bool, peer: Option<IpAddr>) {
        log::tell(Topic::Agent, Level::Debug, "Processing health check request", || {
            let mut facts: Facts = vec![("backend", backend.into()), ("ssl", tls.into())];
            facts.extend(peer.map(|peer| ("peer", peer.to_string().into())));
            facts
        });
    }

    /// It was answered.
    pub(super) fn answered(&self, backend: &str, tls: bool, verdict: &Verdict, class: Option<Class>) {
        let facts = || {
            let (status, reason) = match verdict {
                Verdict::Up { .. } => ("up", None),
                Verdict::Drain => ("drain", None),
                Verdict::Down(reason) => ("down", Some(reason)),
                Verdict::Unsure(reason) => ("unknown", Some(reason)),
            };
            let mut facts: Facts = vec![("backend", backend.into()), ("ssl", tls.into()), ("status", status.into())];
            facts.extend(reason.map(|reason| ("error", reason.as_str().into())));
            facts.extend(class.map(|class| ("error_type", class.word().into())));
            facts
        };
        log::tell(Topic::Agent, Level::Debug, "Health check completed", facts);
        let up = match verdict {
            Verdict::Up { .. } => true,
            Verdict::Down(_) | Verdict::Drain => false,
            Verdict::Unsure(_) => return,
        };
        match self.news(backend, tls, up, Instant::now()) {
            News::Changed => log::tell(Topic::Agent, Level::Info, "Health check status changed", facts),
            News::Repeated(more) => log::tell(Topic::Agent, Level::Warning, "Health check failed", || {
                facts().into_iter().chain([("more", more.into())]).collect()
            }),
            News::Nothing => {}
        }
    }

    /// It could not be answered. `line`: what was asked, without its end.
    pub(super) fn refused(&self, problem: &str, line: &[u8], peer: Option<IpAddr>) {
        if !log::is_said(Topic::Agent, Level::Warning) {
            return;
        }
        let pass = self.refused.lock().unwrap_or_else(PoisonError::into_inner).pass(Instant::now());
        let Some(more) = pass else { return };
        log::tell(Topic::Agent, Level::Warning, "Protocol violation", || {
            let input = printable(&String::from_utf8_lossy(line));
            let mut facts: Facts = vec![("error", problem.into()), ("input", input.into()), ("more", more.into())];
            facts.extend(peer.map(|peer| ("peer", peer.to_string().into())));
            facts
        });
    }

    fn news(&self, backend: &str, tls: bool, up: bool, now: Instant) -> News {
        let name = format!("{backend} {tls}");
        let mut known = self.known();
        if let Some(entry) = known.get_mut(&name) {
            entry.used = now;
            if entry.up != up {
                entry.up = up;
                entry.repeated.reset();
                let _ = entry.repeated.pass(now);
                return News::Changed;
            }
            return if up { News::Nothing } else { entry.repeated.pass(now).map_or(News::Nothing, News::Repeated) };
        }
        if known.len() >= self.most {
            let oldest = known.iter().min_by_key(|(_, entry)| entry.used).map(|(name, _)| name.clone());
            oldest.and_then(|name| known.remove(&name));
        }
        let mut repeated = RateLimit::per(MINUTE);
        let _ = repeated.pass(now);
        known.insert(name, Known { up, used: now, repeated });
        News::Changed
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, PartialEq)]
enum News {
    /// The first verdict, or another one.
    Changed,
    /// Still down; so many more times since it was last said.
    Repeated(u64),
    Nothing,
}

const MINUTE: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_said_and_failures_once_per_minute() {
        let herald = Herald::new(2);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(herald.news("a:1", false, true, at(0)), News::Changed);
        assert_eq!(herald.news("a:1", false, true, at(1)), News::Nothing);
        assert_eq!(herald.news("a:1", false, false, at(2)), News::Changed);
        assert_eq!(herald.news("a:1", false, false, at(3)), News::Nothing);
        assert_eq!(herald.news("a:1", false, false, at(62)), News::Repeated(1));
        assert_eq!(herald.news("a:1", true, true, at(63)), News::Changed);
        // The first one is forgotten: there is room for two.
        assert_eq!(herald.news("b:1", true, true, at(64)), News::Changed);
        assert_eq!(herald.known().len(), 2);
        assert_eq!(herald.news("a:1", true, true, at(65)), News::Nothing);
    }
}
