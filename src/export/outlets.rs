//! All the ways out of one signal: a collector's queue, and local sinks beside it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Batch, QueueHandle, Signal, Sink};
use crate::stats::{DropReason, ExportStats};

/// The way out of a signal. What it has no room for it counts itself.
pub trait Outlet: fmt::Debug + Send + Sync {
    /// Takes one encoded OTLP export request with so many items in it. Never waits.
    fn ship(&self, bytes: Bytes, items: u64);
}

/// Where a signal's requests go. Each way out has its own bound and its own counters.
#[derive(Debug)]
pub struct Outlets {
    signal: Signal,
    /// Counts what the queue has no room for.
    stats: &'static ExportStats,
    /// Absent where nothing is sent to a collector.
    queue: Option<Arc<QueueHandle>>,
    sinks: Vec<Sink>,
}

impl Outlets {
    /// The ways out of `signal`, whose queue counts in `stats`.
    pub fn new(signal: Signal, stats: &'static ExportStats, queue: Option<Arc<QueueHandle>>, sinks: Vec<Sink>) -> Self {
        Self { signal, stats, queue, sinks }
    }

    /// How many more items would be taken now.
    ///
    /// A queue alone says its room, so that what has none waits where it is. Beside a local sink there is always room: a
    /// collector that is down does not stop the sink, and the queue counts what it cannot take.
    pub fn room(&self) -> u64 {
        match &self.queue {
            Some(queue) if self.sinks.is_empty() => queue.room(),
            _ => u64::MAX,
        }
    }

    /// Whether `items` would be taken now.
    pub fn has_room(&self, items: u64) -> bool {
        match &self.queue {
            Some(queue) if self.sinks.is_empty() => queue.has_room(items),
            _ => true,
        }
    }

    /// Hands a request over to every way out. What finds no room there is counted there.
    pub fn ship(&self, bytes: Bytes, items: u64) {
        for sink in &self.sinks {
            sink.offer(self.signal, &bytes, items);
        }
        let Some(queue) = &self.queue else { return };
        if let Err(batch) = queue.push(Batch { bytes, items }) {
            self.stats.drop_spans(DropReason::QueueFull, batch.items);
        }
    }

    /// Sends and writes what is left until `deadline`, all ways out at once; the rest is dropped and counted.
    pub async fn finish(&self, deadline: Instant) {
        let queue = async {
            let Some(queue) = &self.queue else { return };
            queue.close();
            queue.flush(deadline).await;
            queue.abandon();
        };
        let sinks = async {
            for sink in &self.sinks {
                sink.finish(deadline).await;
            }
        };
        tokio::join!(queue, sinks);
    }
}

impl Outlet for Outlets {
    fn ship(&self, bytes: Bytes, items: u64) {
        Self::ship(self, bytes, items);
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
