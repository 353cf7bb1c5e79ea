//! Batches that wait, counted in items and in bytes; and the promise that each is counted once, whoever gives up first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::exporter::{Exporter, Say};
use super::{Batch, Sender, Signal};
use crate::config::ExportConfig;
use crate::log;
use crate::stats::{self, DropReason, ExportStats};

/// A queue of at most `max_queue_size` items and `max_queue_bytes` bytes, and the task that empties it: the caller runs
/// [`Exporter::run`]. What happens is counted for the sender's signal.
pub fn queue(config: &ExportConfig, sender: Sender) -> (QueueHandle, Exporter) {
    let stats = match sender.signal() {
        Signal::Traces => &stats::EXPORT,
        Signal::Metrics => &stats::METRICS_EXPORT,
        Signal::Logs => &stats::LOGS_EXPORT,
    };
    queue_with(config, sender, stats, Box::new(log::say))
}

/// The same with other counters and another log.
pub(super) fn queue_with(
    config: &ExportConfig,
    sender: Sender,
    stats: &'static ExportStats,
    say: Say,
) -> (QueueHandle, Exporter) {
    let queue = Arc::new(Queue {
        max_items: config.max_queue_size as u64,
        max_bytes: config.max_queue_bytes as u64,
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
/// Bounded: the queue and the request under way hold at most `max_queue_size` items and `max_queue_bytes` encoded bytes
/// together; a batch beyond that comes back from [`push`](Self::push).
#[derive(Debug)]
pub struct QueueHandle(Arc<Queue>);

impl QueueHandle {
    /// Whether a batch of `items` would be taken now, if it is no longer than the longest so far.
    pub fn has_room(&self, items: u64) -> bool {
        let state = self.0.state();
        // One that is longer than the whole queue must not stop the others.
        let bytes = state.longest.min(self.0.max_bytes);
        !state.closed && self.0.fits(&state, Size { items, bytes })
    }

    /// How many more items would be taken now.
    pub fn room(&self) -> u64 {
        let state = self.0.state();
        if state.closed { 0 } else { self.0.max_items.saturating_sub(state.queued().items) }
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
    /// [`DropReason::Shutdown`]. Returns how many items that were; a second call finds none.
    pub fn abandon(&self) -> u64 {
        self.0.close();
        let dropped = self.0.drop_all();
        self.0.abandoned.send_replace(true);
        dropped
    }

    /// Items in the queue and in the request under way.
    pub fn queued(&self) -> u64 {
        self.0.state().queued().items
    }

    /// Encoded bytes in the queue and in the request under way.
    pub fn queued_bytes(&self) -> u64 {
        self.0.state().queued().bytes
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
    max_items: u64,
    max_bytes: u64,
    pub(super) stats: &'static ExportStats,
    state: Mutex<State>,
    arrived: Notify,
    /// How often a flush was asked for.
    flushes: watch::Sender<u64>,
    abandoned: watch::Sender<bool>,
    /// Items that have left: sent or dropped.
    left: watch::Sender<u64>,
}

/// How much a batch, or all of them, take.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Size {
    items: u64,
    bytes: u64,
}

impl Size {
    fn of(batch: &Batch) -> Self {
        Self { items: batch.items, bytes: batch.bytes.len() as u64 }
    }

    fn plus(self, other: Self) -> Self {
        Self { items: self.items.saturating_add(other.items), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn minus(self, other: Self) -> Self {
        Self { items: self.items.saturating_sub(other.items), bytes: self.bytes.saturating_sub(other.bytes) }
    }
}

/// The items of a batch are in `waiting` or in `in_flight` until they are counted elsewhere, under one lock.
#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    waiting: Size,
    in_flight: Size,
    /// Items taken since the start.
    taken: u64,
    /// Bytes of the longest batch that was offered.
    longest: u64,
    closed: bool,
}

impl State {
    fn queued(&self) -> Size {
        self.waiting.plus(self.in_flight)
    }

    fn start_next(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.in_flight = Size::of(&batch);
        self.waiting = self.waiting.minus(self.in_flight);
        Some(batch)
    }
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The collector took it, but for so many of its items.
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
        let items = std::mem::take(&mut state.in_flight).items;
        match outcome {
            Outcome::Accepted { rejected } => {
                let rejected = rejected.min(items);
                self.stats.exported.add(items - rejected);
                self.stats.drop_spans(DropReason::Rejected, rejected);
            }
            Outcome::Dropped(reason) => self.stats.drop_spans(reason, items),
        }
        self.leave(&state, items);
    }

    /// Drops everything, the batch under way included, as [`DropReason::Shutdown`]; returns how many items.
    pub(super) fn drop_all(&self) -> u64 {
        let mut state = self.state();
        let items = state.queued().items;
        state.batches.clear();
        (state.waiting, state.in_flight) = (Size::default(), Size::default());
        self.stats.drop_spans(DropReason::Shutdown, items);
        self.leave(&state, items);
        items
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
        let size = Size::of(&batch);
        state.longest = state.longest.max(size.bytes);
        if state.closed || !self.fits(&state, size) {
            return Err(batch);
        }
        state.waiting = state.waiting.plus(size);
        state.taken += size.items;
        state.batches.push_back(batch);
        self.show(&state);
        self.arrived.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    fn fits(&self, state: &State, size: Size) -> bool {
        let then = state.queued().plus(size);
        then.items <= self.max_items && then.bytes <= self.max_bytes
    }

    fn leave(&self, state: &State, items: u64) {
        self.show(state);
        self.left.send_modify(|left| *left += items);
    }

    fn show(&self, state: &State) {
        let Size { items, bytes } = state.queued();
        self.stats.queued.set(items);
        self.stats.queued_bytes.set(bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of at most 10 items and 100 bytes.
    fn idle() -> (QueueHandle, Exporter) {
        let stats = Box::leak(Box::new(ExportStats::new()));
        let config = ExportConfig { max_queue_size: 10, max_queue_bytes: 100, ..ExportConfig::default() };
        let sender = Sender::new(&config, Signal::Traces).unwrap();
        queue_with(&config, sender, stats, Box::new(|_, _| ()))
    }

    fn batch(items: u64) -> Batch {
        long(items, 0)
    }

    fn long(items: u64, bytes: usize) -> Batch {
        Batch { bytes: vec![0; bytes].into(), items }
    }

    #[tokio::test]
    async fn bytes_are_bounded_like_items() {
        let (handle, _exporter) = idle();
        handle.push(long(1, 60)).unwrap();
        assert!(!handle.has_room(1), "another one as long finds no room");
        assert_eq!(handle.push(long(1, 41)).unwrap_err().bytes.len(), 41);
        handle.push(long(1, 40)).unwrap();
        assert_eq!((handle.queued_bytes(), handle.0.stats.queued_bytes.value()), (100, 100));
    }

    #[tokio::test]
    async fn batch_longer_than_the_queue_does_not_stop_the_others() {
        let (handle, _exporter) = idle();
        assert!(handle.push(long(1, 101)).is_err());
        assert!(handle.has_room(10));
        handle.push(long(1, 100)).unwrap();
    }

    proptest! {
        #[test]
        fn queue_is_never_above_its_bounds(steps in prop::collection::vec((0..4_u8, 0..6_u64, 0..60_usize), 0..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _inside = runtime.enter();
            let (handle, _exporter) = idle();
            let (mut taken, mut lost, mut under_way) = (0, 0, false);
            for (step, items, bytes) in steps {
                match step {
                    0 | 1 => match handle.push(long(items, bytes)) {
                        Ok(()) => taken += items,
                        Err(batch) => lost += batch.items,
                    },
                    2 if !under_way => under_way = handle.0.state().start_next().is_some(),
                    3 if under_way => {
                        handle.0.settle(Outcome::Accepted { rejected: items });
                        under_way = false;
                    }
                    _ => {}
                }
                prop_assert!(handle.queued() <= 10 && handle.queued_bytes() <= 100);
                let stats = handle.0.stats;
                let left = stats.exported.value() + stats.dropped(DropReason::Rejected);
                prop_assert_eq!(left + handle.queued(), taken, "{} came back", lost);
            }
        }
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
