//! What is made of finished requests beside spans: metrics, log records, and the memory of the last ones.

use std::sync::Arc;

use super::logs::LogBatch;
use super::metrics::Meter;
use super::recent::Recent;
use super::record::Record;

/// Each is absent where the settings do not ask for it. The loop that reads the rings owns them.
#[derive(Debug, Default)]
pub struct Observers {
    /// Measures.
    pub meter: Option<Arc<Meter>>,
    /// Writes log records.
    pub logs: Option<LogBatch>,
    /// Remembers.
    pub recent: Option<Arc<Recent>>,
}

impl Observers {
    /// Whether every request's end is wanted, sampled or not.
    pub const fn want_all(&self) -> bool {
        self.meter.is_some() || self.logs.is_some()
    }

    /// Whether finished requests are wanted at all.
    pub const fn want_any(&self) -> bool {
        self.want_all() || self.recent.is_some()
    }

    /// Shows one finished request to each. `payload` is what `record` was read from.
    pub fn observe(&mut self, record: &Record<'_>, payload: &[u8]) {
        if let Some(meter) = &self.meter {
            meter.observe(record);
        }
        if let Some(logs) = &mut self.logs {
            logs.add(record);
        }
        if let Some(recent) = &self.recent {
            recent.keep(record.end_unix_nanos, payload);
        }
    }

    /// Now and then: what is old enough leaves. `last`: everything.
    pub fn tick(&mut self, last: bool) {
        if let Some(logs) = &mut self.logs {
            logs.tick(last);
        }
    }
}
