//! All the ways out of one signal: a collector's queue, and local sinks beside it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{Batch, QueueHandle, Sender, SetupError, Signal, Sink, SinkError};
use crate::config::{Config, ExportConfig, ExporterKind};
use crate::runtime::Tasks;
use crate::stats::{self, DropReason, ExportStats};

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

    /// The ways out of a signal that the settings ask for: a collector's queue with the task that empties it, and local sinks.
    /// Nothing where there are none.
    pub fn open(config: &Config, signal: Signal, tasks: &Tasks) -> Result<Option<Arc<Self>>, OpenError> {
        let export = for_signal(config, signal);
        let sinks = Sink::open_all(&export, &[signal])?;
        let queue = if export.has(ExporterKind::Otlp) {
            let (queue, exporter) = super::queue(&export, Sender::new(&export, signal)?);
            tasks.spawn("export", exporter.run(tasks.stop()));
            Some(Arc::new(queue))
        } else {
            None
        };
        let some = queue.is_some() || !sinks.is_empty();
        Ok(some.then(|| Arc::new(Self::new(signal, stats_of(signal), queue, sinks))))
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

const fn stats_of(signal: Signal) -> &'static ExportStats {
    match signal {
        Signal::Traces => &stats::EXPORT,
        Signal::Metrics => &stats::METRICS_EXPORT,
        Signal::Logs => &stats::LOGS_EXPORT,
    }
}

/// `[export]` with what a signal has of its own: exporters, bounds and times.
fn for_signal(config: &Config, signal: Signal) -> ExportConfig {
    let mut export = config.export.clone();
    match signal {
        Signal::Traces => {}
        Signal::Metrics => {
            export.exporters.clone_from(&config.metrics.exporters);
            export.export_timeout = config.metrics.timeout;
        }
        Signal::Logs => {
            export.exporters.clone_from(&config.logs.exporters);
            export.export_timeout = config.logs.export_timeout;
            export.max_queue_size = config.logs.max_queue_size;
        }
    }
    export
}

/// Why a signal has no way out.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// To a collector.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// To a local sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
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
