//! What is made of finished requests beside spans: metrics, log records, and the memory of the last ones.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::logs::LogBatch;
use super::metrics::Meter;
use super::recent::Recent;
use super::record::Record;
use crate::export::Outlets;

/// The way out of a signal. What it has no room for it counts itself.
pub trait Outlet: fmt::Debug + Send + Sync {
    /// Takes one encoded OTLP export request with so many items in it. Never waits.
    fn ship(&self, bytes: Bytes, items: u64);
}

impl Outlet for Outlets {
    fn ship(&self, bytes: Bytes, items: u64) {
        Self::ship(self, bytes, items);
    }
}

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

/// An outlet that keeps what it gets.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Kept(std::sync::Mutex<Vec<(Bytes, u64)>>);

#[cfg(test)]
impl Kept {
    pub(crate) fn take(&self) -> Vec<(Bytes, u64)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[cfg(test)]
impl Outlet for Kept {
    fn ship(&self, bytes: Bytes, items: u64) {
        self.0.lock().unwrap().push((bytes, items));
    }
}
