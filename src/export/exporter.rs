//! The task that empties the queue: one request at a time, retries within a bound, every end counted.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::queue::{Outcome, Queue};
use super::report::Report;
use super::retry::{Backoff, Retry};
use super::{Accepted, Batch, SendError, Sender};
use crate::config::ExportConfig;
use crate::log::Level;
use crate::runtime::Stop;
use crate::stats::DropReason;

/// Where lines for the operator go.
pub(super) type Say = Box<dyn Fn(Level, String) + Send + Sync>;

/// Takes batches from the queue and sends them.
pub struct Exporter {
    queue: Arc<Queue>,
    sender: Sender,
    report: Report,
    /// Bound on one attempt.
    timeout: Duration,
    /// Bound on one batch.
    export_timeout: Duration,
    /// The last failure's wish, also for the batches that follow.
    not_before: Instant,
    flushes: watch::Receiver<u64>,
    stopping: bool,
}

impl Exporter {
    pub(super) fn new(config: &ExportConfig, queue: Arc<Queue>, sender: Sender, say: Say) -> Self {
        Self {
            report: Report::new(sender.target().to_owned(), queue.stats, say),
            flushes: queue.flushes(),
            queue,
            sender,
            timeout: config.timeout,
            export_timeout: config.export_timeout,
            not_before: Instant::now(),
            stopping: false,
        }
    }

    /// Sends batches until the queue is closed and empty, or abandoned.
    ///
    /// A batch that fails is sent again, as the failure allows, until `export_timeout`; then it is dropped. Once `stop`
    /// tells, a wait is cut short for one attempt more, and a failure that would be retried drops everything queued.
    pub async fn run(mut self, mut stop: Stop) {
        let queue = Arc::clone(&self.queue);
        let mut abandoned = queue.abandoned();
        while let Some(batch) = queue.next().await {
            tokio::select! {
                () = self.deliver(&batch, &mut stop) => {}
                () = turned(&mut abandoned) => return,
            }
        }
    }

    /// Brings one batch to its end and counts it.
    async fn deliver(&mut self, batch: &Batch, stop: &mut Stop) {
        let deadline = Instant::now() + self.export_timeout;
        let mut backoff = Backoff::new();
        loop {
            self.pause(deadline, stop).await;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.queue.settle(Outcome::Dropped(DropReason::Timeout));
            }
            let last = self.stopping || stop.is_stopping();
            self.flushes.mark_unchanged();
            let error = match self.sender.send(batch, left.min(self.timeout)).await {
                Ok(accepted) => return self.accepted(batch, &accepted),
                Err(error) => error,
            };
            self.queue.stats.set_last_error(&error.to_string());
            let interval = match error.retry() {
                Retry::Never => return self.refused(&error),
                Retry::Backoff => backoff.interval(),
                Retry::After(delay) => delay.max(backoff.interval()),
            };
            self.report.failed(&error, Instant::now());
            if last {
                self.queue.drop_all();
                return;
            }
            self.not_before = Instant::now() + interval;
            self.queue.stats.retries.add(1);
        }
    }

    /// Waits until the next attempt may be made, at most until `deadline`; a stop or a flush ends the wait.
    async fn pause(&mut self, deadline: Instant, stop: &mut Stop) {
        tokio::select! {
            () = sleep_until(self.not_before.min(deadline)) => {}
            () = stop.wait() => self.stopping = true,
            _ = self.flushes.changed() => {}
        }
    }

    fn accepted(&mut self, batch: &Batch, accepted: &Accepted) {
        let stats = self.queue.stats;
        self.queue.settle(Outcome::Accepted { rejected: accepted.rejected });
        stats.last_success.set(unix_millis());
        stats.set_last_error(&match accepted.rejected {
            0 => String::new(),
            rejected => format!("the collector rejected {rejected} spans: {}", accepted.message),
        });
        self.report.accepted(accepted.rejected.min(batch.spans), &accepted.message, Instant::now());
    }

    fn refused(&mut self, error: &SendError) {
        self.queue.settle(Outcome::Dropped(DropReason::Refused));
        self.report.refused(error, Instant::now());
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("target", &self.sender.target()).finish_non_exhaustive()
    }
}

async fn turned(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|flag| *flag).await;
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
