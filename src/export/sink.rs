//! Places beside a collector that requests go to: standard error, files. Each has a thread and a bounded queue of its own, so
//! that a slow one holds up nothing else.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::console::Console;
use super::file::JsonFiles;
use super::{Signal, json};
use crate::config::{ExportConfig, ExporterKind};
use crate::log::{self, Level, RateLimit};
use crate::rotate::{AppendError, OpenError};
use crate::runtime::{self, StartError};
use crate::stats::{self, SinkDrop, SinkStats};

/// The end where requests go in. Cheap to clone; every signal may use the same one.
///
/// Bounded: at most `export.max_queue_size` items and `MAX_BYTES` wait or are being written. What is beyond that is
/// dropped and counted as `queue_full`.
#[derive(Debug, Clone)]
pub struct Sink(Arc<Shared>);

impl Sink {
    /// The sinks that `config` names, for these signals. Opens files and starts threads: to be called at HAProxy's init,
    /// before the chroot.
    pub fn open_all(config: &ExportConfig, signals: &[Signal]) -> Result<Vec<Self>, SinkError> {
        let mut sinks = Vec::new();
        if config.has(ExporterKind::Console) {
            sinks.push(Self::start("console", config.max_queue_size, &stats::CONSOLE, Box::new(Console))?);
        }
        if config.has(ExporterKind::File) {
            let files = JsonFiles::open(&config.file, signals)?;
            sinks.push(Self::start("file", config.max_queue_size, &stats::FILE, Box::new(files))?);
        }
        Ok(sinks)
    }

    /// A sink and the thread that writes.
    pub(super) fn start(
        name: &'static str,
        bound: usize,
        stats: &'static SinkStats,
        writer: Box<dyn Writer>,
    ) -> Result<Self, StartError> {
        let shared = Arc::new(Shared {
            name,
            bound: bound as u64,
            stats,
            state: Mutex::default(),
            arrived: Condvar::new(),
            left: watch::Sender::new(0),
        });
        let worker = Worker { shared: Arc::clone(&shared), writer, limit: RateLimit::per(SAY_EVERY) };
        runtime::thread(name, move || worker.run())?;
        Ok(Self(shared))
    }

    /// As `export.exporter` names it.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Its counters.
    pub fn stats(&self) -> &'static SinkStats {
        self.0.stats
    }

    /// Takes an encoded export request of `signal` with `items` spans, data points or log records, or counts them as
    /// dropped. Never blocks for long.
    pub fn offer(&self, signal: Signal, bytes: &Bytes, items: u64) {
        self.0.offer(Entry { signal, bytes: bytes.clone(), items });
    }

    /// Ends the sink: takes nothing more, waits until `deadline` for what it holds to be written, then drops the rest.
    /// A second call does nothing.
    pub async fn finish(&self, deadline: Instant) {
        let goal = self.0.close();
        let mut left = self.0.left.subscribe();
        let _ = tokio::time::timeout_at(deadline.into(), left.wait_for(|left| *left >= goal)).await;
        self.0.abandon();
    }
}

/// Why a sink could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// No thread for it.
    #[error(transparent)]
    Thread(#[from] StartError),
    /// A file of `export.file`.
    #[error("`export.file.path`: {0}")]
    File(#[from] OpenError),
}

/// Where a sink writes. Called on the sink's own thread: it may block.
pub(super) trait Writer: Send {
    /// Writes one export request.
    fn write(&mut self, signal: Signal, request: &[u8]) -> Result<(), WriteError>;
}

/// Why a request was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("no JSON form: {0}")]
    Json(#[from] json::JsonError),
    #[error("not a request of this signal: {0}")]
    Decode(#[from] prost::DecodeError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("standard error is closed or goes to /dev/null")]
    Nowhere,
    #[error("no file was opened for {}", .0.word())]
    NoFile(Signal),
    #[error(transparent)]
    Append(#[from] AppendError),
}

#[derive(Debug)]
struct Shared {
    name: &'static str,
    bound: u64,
    stats: &'static SinkStats,
    state: Mutex<State>,
    arrived: Condvar,
    /// Items that have left: written or dropped.
    left: watch::Sender<u64>,
}

#[derive(Debug)]
struct Entry {
    signal: Signal,
    bytes: Bytes,
    items: u64,
}

/// An entry is in `waiting` or in the `under_way` figures until it is counted elsewhere, under one lock.
#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Entry>,
    /// Items and bytes of all that waits and of what is being written.
    items: u64,
    bytes: usize,
    /// Of what is being written. Zero once somebody has given up on it.
    under_way: (u64, usize),
    /// Items taken since the start.
    taken: u64,
    closed: bool,
}

impl Shared {
    fn offer(&self, entry: Entry) {
        self.stats.offered.add(entry.items);
        let mut state = self.state();
        let (items, bytes) = (state.items.saturating_add(entry.items), state.bytes.saturating_add(entry.bytes.len()));
        if state.closed || items > self.bound || bytes > MAX_BYTES {
            let reason = if state.closed { SinkDrop::Shutdown } else { SinkDrop::QueueFull };
            return self.stats.drop_items(reason, entry.items);
        }
        (state.items, state.bytes) = (items, bytes);
        state.taken += entry.items;
        state.waiting.push_back(entry);
        self.stats.queued.set(items);
        self.arrived.notify_one();
    }

    /// The next entry, now under way; `None` when the sink is closed and empty.
    fn next(&self) -> Option<Entry> {
        let mut state = self.state();
        loop {
            if let Some(entry) = state.waiting.pop_front() {
                state.under_way = (entry.items, entry.bytes.len());
                return Some(entry);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts the entry under way. Nothing when it was given up.
    fn settle(&self, written: bool) {
        let mut state = self.state();
        let (items, bytes) = std::mem::take(&mut state.under_way);
        if written {
            self.stats.written.add(items);
        } else {
            self.stats.drop_items(SinkDrop::Failed, items);
        }
        state.items -= items;
        state.bytes -= bytes;
        self.leave(&state, items);
    }

    /// Takes nothing more; says how many items were taken.
    fn close(&self) -> u64 {
        let mut state = self.state();
        state.closed = true;
        self.arrived.notify_one();
        state.taken
    }

    /// Drops everything, what is under way included.
    fn abandon(&self) {
        let mut state = self.state();
        let items = std::mem::take(&mut state.items);
        state.waiting.clear();
        (state.bytes, state.under_way) = (0, (0, 0));
        self.stats.drop_items(SinkDrop::Shutdown, items);
        self.leave(&state, items);
    }

    fn leave(&self, state: &State, items: u64) {
        self.stats.queued.set(state.items);
        self.left.send_modify(|left| *left += items);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread does.
struct Worker {
    shared: Arc<Shared>,
    writer: Box<dyn Writer>,
    limit: RateLimit,
}

impl Worker {
    fn run(mut self) {
        while let Some(entry) = self.shared.next() {
            let result = self.writer.write(entry.signal, &entry.bytes);
            self.shared.settle(result.is_ok());
            match result {
                Ok(()) => self.shared.stats.set_last_error(""),
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &WriteError) {
        self.shared.stats.set_last_error(&error.to_string());
        if self.limit.pass(Instant::now()).is_some() {
            let (name, lost) = (self.shared.name, self.shared.stats.dropped(SinkDrop::Failed));
            log::say(Level::Warning, format!("exporter {name}: {error}; lost so far: {lost}"));
        }
    }
}

/// After a panic nobody writes any more: what waits is counted, and so is what is still offered.
impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.abandon();
    }
}

/// Encoded requests that wait, in bytes.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Between two lines in the log about one sink.
const SAY_EVERY: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::export::Outlets;

    /// Writes when it is told to; the answer says whether that succeeds.
    struct Gate {
        began: Sender<u64>,
        answers: Receiver<bool>,
    }

    impl Writer for Gate {
        fn write(&mut self, _: Signal, request: &[u8]) -> Result<(), WriteError> {
            self.began.send(request.len() as u64).unwrap();
            let well = self.answers.recv().unwrap_or(true);
            if well { Ok(()) } else { Err(WriteError::Nowhere) }
        }
    }

    fn gated(bound: usize) -> (Sink, Receiver<u64>, Sender<bool>) {
        let (began, progress) = channel();
        let (answer, answers) = channel();
        let stats = Box::leak(Box::new(SinkStats::new()));
        let sink = Sink::start("test", bound, stats, Box::new(Gate { began, answers })).unwrap();
        (sink, progress, answer)
    }

    fn request(bytes: usize) -> Bytes {
        vec![0; bytes].into()
    }

    fn counts(sink: &Sink) -> (u64, u64, [u64; 3], u64) {
        let stats = sink.stats();
        let dropped = SinkDrop::ALL.map(|reason| stats.dropped(reason));
        (stats.offered.value(), stats.written.value(), dropped, stats.queued.value())
    }

    #[tokio::test]
    async fn a_sink_that_stands_still_takes_up_to_its_bound_and_counts_the_rest() {
        let (sink, progress, answer) = gated(10);
        sink.offer(Signal::Traces, &request(1), 4);
        progress.recv().unwrap();
        sink.offer(Signal::Traces, &request(1), 6);
        sink.offer(Signal::Traces, &request(1), 1);
        assert_eq!(counts(&sink), (11, 0, [1, 0, 0], 10));
        answer.send(true).unwrap();
        progress.recv().unwrap();
        answer.send(false).unwrap();
        sink.finish(Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(counts(&sink), (11, 4, [1, 6, 0], 0));
    }

    #[tokio::test]
    async fn a_sink_is_bounded_in_bytes_too() {
        let (sink, progress, _answer) = gated(10);
        sink.offer(Signal::Logs, &request(MAX_BYTES), 1);
        progress.recv().unwrap();
        sink.offer(Signal::Logs, &request(1), 1);
        assert_eq!(counts(&sink), (2, 0, [1, 0, 0], 1));
    }

    #[tokio::test]
    async fn what_is_not_written_at_the_end_is_counted_once() {
        let (sink, progress, answer) = gated(10);
        sink.offer(Signal::Traces, &request(1), 4);
        sink.offer(Signal::Traces, &request(1), 5);
        progress.recv().unwrap();
        sink.finish(Instant::now() + Duration::from_millis(10)).await;
        assert_eq!(counts(&sink), (9, 0, [0, 0, 9], 0));
        answer.send(true).unwrap();
        sink.offer(Signal::Traces, &request(1), 1);
        sink.finish(Instant::now()).await;
        assert_eq!(counts(&sink), (10, 0, [0, 0, 10], 0));
    }

    #[tokio::test]
    async fn a_sink_that_stands_still_stops_no_other() {
        let ((stuck, begun_of_stuck, _answer), (free, progress, answers)) = (gated(4), gated(100));
        let stats = Box::leak(Box::new(stats::ExportStats::new()));
        let outlets = Outlets::new(Signal::Traces, stats, None, vec![stuck.clone(), free.clone()]);
        for _ in 0..10 {
            assert!(outlets.has_room(1000));
            outlets.ship(request(1), 2);
            progress.recv().unwrap();
            answers.send(true).unwrap();
        }
        begun_of_stuck.recv().unwrap();
        outlets.finish(Instant::now() + Duration::from_millis(50)).await;
        assert_eq!(counts(&free), (20, 20, [0, 0, 0], 0));
        assert_eq!(counts(&stuck), (20, 0, [16, 0, 4], 0));
    }
}
