//! The task that empties the queue: one request at a time, retries within a bound, every end counted.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::circuit::Circuit;
use super::payload::Payload;
use super::queue::{Outcome, Queue};
use super::report::Report;
use super::retry::Retry;
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
    circuit: Circuit,
    /// Bound on one batch.
    export_timeout: Duration,
    /// What the last failure asks for, also of the batches that follow.
    not_before: Instant,
    flushes: watch::Receiver<u64>,
    stopping: bool,
}

impl Exporter {
    pub(super) fn new(config: &ExportConfig, queue: Arc<Queue>, sender: Sender, say: Say) -> Self {
        Self {
            report: Report::new(sender.target().to_owned(), sender.signal(), queue.stats, say),
            circuit: Circuit::new(config.export_timeout, queue.stats),
            flushes: queue.flushes(),
            queue,
            sender,
            export_timeout: config.export_timeout,
            not_before: Instant::now(),
            stopping: false,
        }
    }

    /// Sends batches until the queue is closed and empty, or abandoned.
    ///
    /// A batch that fails is sent again, as the failure allows, until `export_timeout` after its first attempt; then it is
    /// dropped. The time that it waits before its first attempt, because those before it failed, does not count. Once `stop`
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
        let payload = match self.sender.encode(batch) {
            Ok(payload) => payload,
            Err(error) => return self.refused(&error),
        };
        self.send(batch, &payload, stop).await;
    }

    async fn send(&mut self, batch: &Batch, payload: &Payload, stop: &mut Stop) {
        let mut deadline = None;
        loop {
            self.pause(deadline, stop).await;
            let now = Instant::now();
            let left = deadline.get_or_insert(now + self.export_timeout).saturating_duration_since(now);
            if left.is_zero() {
                return self.queue.settle(Outcome::Dropped(DropReason::Timeout));
            }
            let last = self.stopping || stop.is_stopping();
            self.flushes.mark_unchanged();
            self.circuit.attempt();
            let error = match self.sender.send(payload, left.min(self.sender.timeout())).await {
                Ok(accepted) => return self.accepted(batch, &accepted),
                Err(error) => error,
            };
            if error.retry() == Retry::Never {
                self.circuit.answered();
                return self.refused(&error);
            }
            self.queue.stats.set_last_error(&error.to_string());
            let interval = self.circuit.failed(error.retry());
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
    async fn pause(&mut self, deadline: Option<Instant>, stop: &mut Stop) {
        let until = deadline.map_or(self.not_before, |deadline| deadline.min(self.not_before));
        tokio::select! {
            () = sleep_until(until) => {}
            () = stop.wait() => self.stopping = true,
            _ = self.flushes.changed() => {}
        }
    }

    fn accepted(&mut self, batch: &Batch, accepted: &Accepted) {
        let stats = self.queue.stats;
        self.circuit.answered();
        self.queue.settle(Outcome::Accepted { rejected: accepted.rejected });
        stats.last_success.set(unix_millis());
        stats.set_last_error(&match accepted.rejected {
            0 => String::new(),
            rejected => {
                format!("the collector rejected {rejected} {}: {}", self.sender.signal().items(), accepted.message)
            }
        });
        self.report.accepted(accepted.rejected.min(batch.items), &accepted.message, Instant::now());
    }

    fn refused(&mut self, error: &SendError) {
        self.queue.stats.set_last_error(&error.to_string());
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
