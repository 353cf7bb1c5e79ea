//! `[runtime]`: the settings, typed.

use std::time::Duration;

/// `[runtime]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeConfig {
    /// Worker threads, 1 to 64.
    pub workers: usize,
    /// How long a soft stop or a reload may wait for queued spans. At most 60 s.
    pub stop_timeout: Duration,
    /// How long `SIGTERM` and `SIGINT` may wait for queued spans. At most 10 s.
    pub term_timeout: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self { workers: 2, stop_timeout: Duration::from_secs(2), term_timeout: Duration::from_millis(500) }
    }
}
