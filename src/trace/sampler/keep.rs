//! Requests that were not sampled and are exported all the same, for how they ended. Cold half.

use crate::config::SamplingConfig;
use crate::trace::outcome;
use crate::trace::record::Record;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    errors: bool,
    /// Nanoseconds.
    slower_than: Option<u64>,
}

/// Why a request was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The SERVER span has an `error.type`.
    Error,
    /// It took longer than `traces.keep.slower_than`.
    Slow,
}

impl Keep {
    /// By the settings.
    pub fn new(config: &SamplingConfig) -> Self {
        let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { errors: config.keep_errors, slower_than: config.keep_slower_than.map(nanos) }
    }

    /// Anything is.
    pub fn is_on(self) -> bool {
        self.errors || self.slower_than.is_some()
    }

    /// Why this request is, if it is.
    pub fn why(self, record: &Record<'_>) -> Option<Kept> {
        let outcome = || if record.is_connection { outcome::connection } else { outcome::server }(&record.ending());
        if self.errors && outcome().error.is_some() {
            return Some(Kept::Error);
        }
        let took = record.end_unix_nanos.saturating_sub(record.start_unix_nanos);
        self.slower_than.is_some_and(|bound| took > bound).then_some(Kept::Slow)
    }
}

impl Kept {
    /// As it stands in `haproxy.sampling.kept`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Slow => "slow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::sample::Sample;
    use std::time::Duration;

    #[test]
    fn errors_and_slow_requests_are_kept_as_the_settings_say() {
        let kept = |keep: Keep, millis: u64, state: &str| {
            let payload = Sample::ended(state).payload();
            let start = Record::parse(&payload, 0).unwrap().start_unix_nanos;
            keep.why(&Record::parse(&payload, start + millis * 1_000_000).unwrap())
        };
        let bound = Some(Duration::from_millis(500));
        for (keep_errors, keep_slower_than, millis, state, expected) in [
            (false, None, 900, "SD", None),
            (true, None, 900, "--", None),
            (true, None, 1, "SD", Some(Kept::Error)),
            (false, bound, 500, "--", None),
            (false, bound, 501, "--", Some(Kept::Slow)),
            (false, bound, 1, "SD", None),
            (true, bound, 900, "SD", Some(Kept::Error)),
        ] {
            let keep = Keep::new(&SamplingConfig { keep_errors, keep_slower_than, ..SamplingConfig::default() });
            assert_eq!(kept(keep, millis, state), expected, "{keep:?} {millis} {state:?}");
            assert_eq!(keep.is_on(), keep_errors || keep_slower_than.is_some());
        }
    }
}
