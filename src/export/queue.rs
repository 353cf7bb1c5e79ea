//! Batches that wait, counted in spans; and the promise that each is counted once, whoever gives up first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::exporter::{Exporter, Say};
use super::{Batch, Sender};
use crate::config::ExportConfig;
use crate::log;
use crate::stats::{self, DropReason, ExportStats};

/// A queue of at most `max_queue_size` spans, and the task that empties it: the caller runs [`Exporter::run`].
pub fn queue(config: &ExportConfig, sender: Sender) -> (QueueHandle, Exporter) {
    queue_with(config, sender, &stats::EXPORT, Box::new(log::say))
}

/// The same with other counters and another log.
pub(super) fn queue_with(
    config: &ExportConfig,
    sender: Sender,
    stats: &'static ExportStats,
    say: Say,
) -> (QueueHandle, Exporter) {
    let queue = Arc::new(Queue {
        bound: config.max_queue_size as u64,
        stats,
        state: Mutex::default(),
        arrived: Notify::new(),
        flushes: watch::Sender::new(0),
        abandoned: watch::Sender::new(false),
        left: watch::Sender::new(0),
    });
    let exporter = Exporter::new(config, Arc::clone(&queue), sender, say);
    (QueueHandle(queue), exporter)
}

/// The end where batches go in. Dropping it closes the queue.
///
/// Bounded: the queue and the request under way hold at most `max_queue_size` spans together; a batch beyond that comes
/// back from [`push`](Self::push).
#[derive(Debug)]
pub struct QueueHandle(Arc<Queue>);

impl QueueHandle {
    /// Whether a batch of `spans` would be taken now.
    pub fn has_room(&self, spans: u64) -> bool {
        let state = self.0.state();
        !state.closed && self.0.fits(&state, spans)
    }

    /// How many more spans would be taken now.
    pub fn room(&self) -> u64 {
        let state = self.0.state();
        if state.closed { 0 } else { self.0.bound.saturating_sub(state.queued()) }
    }

    /// Takes `batch`, or gives it back uncounted when there is no room or the queue is closed.
    pub fn push(&self, batch: Batch) -> Result<(), Batch> {
        self.0.push(batch)
    }

    /// No more batches: the exporter sends what is left and ends.
    pub fn close(&self) {
        self.0.close();
    }

    /// Asks for everything queued now to be sent, without waiting for a backoff that is under way, and waits until it
    /// has been sent or dropped. `false` when `deadline` came first.
    pub async fn flush(&self, deadline: Instant) -> bool {
        let goal = self.0.state().taken;
        self.0.flushes.send_modify(|flushes| *flushes += 1);
        let mut left = self.0.left.subscribe();
        let done = left.wait_for(|left| *left >= goal);
        matches!(tokio::time::timeout_at(deadline.into(), done).await, Ok(Ok(_)))
    }

    /// Gives up: closes the queue and drops what is left, the request under way included, as
    /// [`DropReason::Shutdown`]. Returns how many spans that were; a second call finds none.
    pub fn abandon(&self) -> u64 {
        self.0.close();
        let dropped = self.0.drop_all();
        self.0.abandoned.send_replace(true);
        dropped
    }

    /// Spans in the queue and in the request under way.
    pub fn queued(&self) -> u64 {
        self.0.state().queued()
    }
}

impl Drop for QueueHandle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the handle and the exporter share.
#[derive(Debug)]
pub(super) struct Queue {
    bound: u64,
    pub(super) stats: &'static ExportStats,
    state: Mutex<State>,
    arrived: Notify,
    /// How often a flush was asked for.
    flushes: watch::Sender<u64>,
    abandoned: watch::Sender<bool>,
    /// Spans that have left: sent or dropped.
    left: watch::Sender<u64>,
}

/// The spans of a batch are in `waiting` or in `in_flight` until they are counted elsewhere, under one lock.
#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    waiting: u64,
    in_flight: u64,
    /// Spans taken since the start.
    taken: u64,
    closed: bool,
}

impl State {
    fn queued(&self) -> u64 {
        self.waiting + self.in_flight
    }

    fn start_next(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.waiting -= batch.spans;
        self.in_flight = batch.spans;
        Some(batch)
    }
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The collector took it, but for so many of its spans.
    Accepted { rejected: u64 },
    /// It will not arrive.
    Dropped(DropReason),
}

impl Queue {
    /// The next batch, now under way; `None` when the queue is closed and empty.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            {
                let mut state = self.state();
                if let Some(batch) = state.start_next() {
                    return Some(batch);
                }
                if state.closed {
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Counts the batch under way. Nothing when [`QueueHandle::abandon`] has counted it.
    pub(super) fn settle(&self, outcome: Outcome) {
        let mut state = self.state();
        let spans = std::mem::take(&mut state.in_flight);
        match outcome {
            Outcome::Accepted { rejected } => {
                let rejected = rejected.min(spans);
                self.stats.exported.add(spans - rejected);
                self.stats.drop_spans(DropReason::Rejected, rejected);
            }
            Outcome::Dropped(reason) => self.stats.drop_spans(reason, spans),
        }
        self.leave(&state, spans);
    }

    /// Drops everything, the batch under way included, as [`DropReason::Shutdown`]; returns how many spans.
    pub(super) fn drop_all(&self) -> u64 {
        let mut state = self.state();
        let spans = state.queued();
        state.batches.clear();
        (state.waiting, state.in_flight) = (0, 0);
        self.stats.drop_spans(DropReason::Shutdown, spans);
        self.leave(&state, spans);
        spans
    }

    /// Turns with every flush.
    pub(super) fn flushes(&self) -> watch::Receiver<u64> {
        self.flushes.subscribe()
    }

    /// Turns true when the handle has given up.
    pub(super) fn abandoned(&self) -> watch::Receiver<bool> {
        self.abandoned.subscribe()
    }

    fn push(&self, batch: Batch) -> Result<(), Batch> {
        let mut state = self.state();
        if state.closed || !self.fits(&state, batch.spans) {
            return Err(batch);
        }
        state.waiting += batch.spans;
        state.taken += batch.spans;
        state.batches.push_back(batch);
        self.stats.queued.set(state.queued());
        self.arrived.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    fn fits(&self, state: &State, spans: u64) -> bool {
        state.queued().saturating_add(spans) <= self.bound
    }

    fn leave(&self, state: &State, spans: u64) {
        self.stats.queued.set(state.queued());
        self.left.send_modify(|left| *left += spans);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle() -> (QueueHandle, Exporter) {
        let stats = Box::leak(Box::new(ExportStats::new()));
        let config = ExportConfig { max_queue_size: 10, ..ExportConfig::default() };
        queue_with(&config, Sender::new(&config).unwrap(), stats, Box::new(|_, _| ()))
    }

    fn batch(spans: u64) -> Batch {
        Batch { bytes: bytes::Bytes::new(), spans }
    }

    #[tokio::test]
    async fn late_success_of_an_abandoned_batch_counts_nothing() {
        let (handle, _exporter) = idle();
        handle.push(batch(4)).unwrap();
        handle.push(batch(5)).unwrap();
        handle.0.next().await.unwrap();
        assert_eq!(handle.abandon(), 9);
        handle.0.settle(Outcome::Accepted { rejected: 1 });
        let stats = handle.0.stats;
        assert_eq!((stats.exported.value(), stats.dropped(DropReason::Rejected)), (0, 0));
        assert_eq!((stats.dropped(DropReason::Shutdown), stats.queued.value()), (9, 0));
        assert!(handle.0.next().await.is_none());
    }

    #[tokio::test]
    async fn batch_under_way_takes_room_until_it_is_counted() {
        let (handle, _exporter) = idle();
        handle.push(batch(10)).unwrap();
        handle.0.next().await.unwrap();
        assert!(!handle.has_room(1));
        assert_eq!(handle.room(), 0);
        handle.0.settle(Outcome::Accepted { rejected: 0 });
        assert!(handle.has_room(10) && !handle.has_room(11));
        assert_eq!(handle.room(), 10);
    }
}
