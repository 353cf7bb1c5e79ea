//! The way out of the process, and its last steps.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use nix::poll::{self, PollFd, PollFlags, PollTimeout};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;

use crate::export::Outlets;
use crate::metrics::Published;
use crate::runtime::Closer;
use crate::stats::{self, DropReason, SinkDrop};

/// Whoever has asked by now gets an answer. The listeners bound the time.
pub(super) async fn ended(doors: &[Closer]) {
    for door in doors {
        door.ended().await;
    }
}

async fn finish(outlets: Option<&Arc<Outlets>>, deadline: Instant) {
    if let Some(outlets) = outlets {
        outlets.finish(deadline).await;
    }
}

/// The way out of the process.
pub(super) struct Export {
    /// Absent where no spans are exported.
    pub(super) spans: Option<Arc<Outlets>>,
    /// Pushed for the last time.
    pub(super) metrics: Option<Arc<Published>>,
    pub(super) logs: Option<Arc<Outlets>>,
    /// Ends when every ring is read to its end; it must have been told to stop. Absent where there are no rings.
    pub(super) drain: Option<AsyncMutex<JoinHandle<()>>>,
}

impl Export {
    /// Sends what is left until `deadline`, counts the rest as dropped, and says so.
    pub(super) async fn finish(&self, deadline: Instant) {
        if let Some(drain) = &self.drain {
            let mut drain = drain.lock().await;
            if !drain.is_finished() {
                let _ = tokio::time::timeout_at(deadline.into(), &mut *drain).await;
            }
        }
        if let Some(listener) = self.metrics.as_ref().and_then(|metrics| metrics.listener.as_ref()) {
            listener.ended().await;
        }
        if let Some(reader) = self.metrics.as_ref().and_then(|metrics| metrics.reader.as_ref()) {
            reader.push();
        }
        let metrics = self.metrics.as_ref().and_then(|metrics| metrics.outlets.as_ref());
        let (spans, logs) = (self.spans.as_ref(), self.logs.as_ref());
        tokio::join!(finish(spans, deadline), finish(metrics, deadline), finish(logs, deadline));
        last_words();
    }
}

/// Says on standard error what did not arrive: no log can be reached any more. Not where that would wait for a reader.
fn last_words() {
    let stderr = std::io::stderr();
    let mut poll = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if !poll::poll(&mut poll, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        return;
    }
    let exports =
        [("spans", &stats::EXPORT), ("data points", &stats::METRICS_EXPORT), ("log records", &stats::LOGS_EXPORT)];
    for (what, export) in exports {
        let lost = export.dropped(DropReason::Shutdown);
        if lost > 0 {
            let _ = writeln!(&stderr, "haproxy-vitals: {lost} {what} did not reach the collector before the end");
        }
    }
    for (name, sink) in [("console", &stats::CONSOLE), ("file", &stats::FILE)] {
        let lost = sink.dropped(SinkDrop::Shutdown);
        if lost > 0 {
            let _ = writeln!(&stderr, "haproxy-vitals: exporter {name}: {lost} not written before the end");
        }
    }
}
