//! Counters: the one place where events are counted, so that nothing is lost in silence.
//!
//! HAProxy's threads count in their own [`ThreadStats`], which share no cache line; the runtime's threads count in
//! the process-wide [`EXPORT`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A counter that many threads may read and any may add to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`; wraps at 2^64.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds one, for a counter that one thread alone writes: no locked instruction.
    pub fn bump(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Replaces the value: for levels, not for counts.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one HAProxy thread has seen. Written by that thread alone. On a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ThreadStats {
    /// Requests whose span was started: sampled, or recorded for how they may end.
    pub started: Counter,
    /// Those of them that were recorded without being sampled: for what their end says.
    pub recorded_only: Counter,
    /// Requests that sampling left out.
    pub unsampled: Counter,
    /// Started requests that ended.
    pub ended: Counter,
    /// Ended requests that found no room in the thread's ring.
    pub ring_full: Counter,
    /// Requests that began, by method and scheme, where active requests are counted.
    pub active_begun: [Counter; ACTIVE_CLASSES],
    /// Those that ended.
    pub active_ended: [Counter; ACTIVE_CLASSES],
}

/// Eleven methods, each with two schemes.
pub const ACTIVE_CLASSES: usize = 22;

/// Why a finished request gave no span, or a span did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum DropReason {
    /// A record that could not be read back: a fault of this module.
    Malformed,
    /// The export queue was at its bound.
    QueueFull,
    /// The collector refused the batch for good.
    Refused,
    /// Retries went on until the bound on one batch.
    Timeout,
    /// The collector took the batch and rejected some of its spans (partial success).
    Rejected,
    /// Still queued when the process had to stop.
    Shutdown,
}

impl DropReason {
    /// Every reason, in the order of its counters.
    pub const ALL: [Self; 6] =
        [Self::Malformed, Self::QueueFull, Self::Refused, Self::Timeout, Self::Rejected, Self::Shutdown];

    /// The word that stands for it in metrics, commands and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What export of one signal has done, in spans (data points, log records) unless it says otherwise.
#[derive(Debug)]
pub struct ExportStats {
    /// Spans made from finished requests.
    pub created: Counter,
    /// Requests that were not sampled and are exported for how they ended.
    pub kept: Counter,
    /// Requests that were recorded, not sampled, and not kept either.
    pub discarded: Counter,
    /// Spans that the collector accepted.
    pub exported: Counter,
    /// Spans dropped, by reason; `malformed` counts requests.
    dropped: [Counter; DropReason::ALL.len()],
    /// Spans that wait now: in the queue and in the request under way.
    pub queued: Counter,
    /// Their encoded bytes.
    pub queued_bytes: Counter,
    /// Attempts that failed and were, or will be, repeated.
    pub retries: Counter,
    /// When the collector last accepted a batch: Unix time, milliseconds; 0 means never.
    pub last_success: Counter,
    /// Whether attempts are made at all: a [`Circuit`].
    circuit: Counter,
    /// How often the circuit has opened.
    pub circuit_opened: Counter,
    /// Why the last attempt failed, or what of it was rejected; empty after a whole success.
    last_error: Mutex<String>,
}

impl ExportStats {
    /// All zero: [`EXPORT`], and one for each test.
    pub(crate) const fn new() -> Self {
        Self {
            created: Counter::new(),
            kept: Counter::new(),
            discarded: Counter::new(),
            exported: Counter::new(),
            dropped: [const { Counter::new() }; DropReason::ALL.len()],
            queued: Counter::new(),
            queued_bytes: Counter::new(),
            retries: Counter::new(),
            last_success: Counter::new(),
            circuit: Counter::new(),
            circuit_opened: Counter::new(),
            last_error: Mutex::new(String::new()),
        }
    }

    /// Whether anything was on its way.
    pub fn is_used(&self) -> bool {
        let dropped = DropReason::ALL.into_iter().map(|reason| self.dropped(reason)).sum::<u64>();
        self.exported.value() + self.queued.value() + self.retries.value() + dropped > 0
    }

    /// Counts `spans` that will not arrive.
    pub fn drop_spans(&self, reason: DropReason, spans: u64) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.add(spans);
        }
    }

    /// Spans dropped for `reason` so far.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).map_or(0, Counter::value)
    }

    /// Whether attempts are made.
    pub fn circuit(&self) -> Circuit {
        match self.circuit.value() {
            0 => Circuit::Closed,
            1 => Circuit::Open,
            _ => Circuit::HalfOpen,
        }
    }

    /// Notes whether attempts are made.
    pub fn set_circuit(&self, circuit: Circuit) {
        self.circuit.set(circuit as u64);
    }

    /// Notes why an attempt failed; an empty text notes a success.
    pub fn set_last_error(&self, text: &str) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut last);
    }

    /// Why the last failed attempt failed.
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why something did not get into a local sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum SinkDrop {
    /// The sink's queue was at its bound.
    QueueFull,
    /// It could not be written.
    Failed,
    /// Still queued when the process had to stop.
    Shutdown,
}

impl SinkDrop {
    /// Every reason, in the order of its counters.
    pub const ALL: [Self; 3] = [Self::QueueFull, Self::Failed, Self::Shutdown];

    /// The word that stands for it in metrics, commands and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Failed => "failed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Whether a collector that has failed is still asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Circuit {
    /// Yes.
    Closed,
    /// No: too many attempts in a row failed.
    Open,
    /// One attempt is under way to see.
    HalfOpen,
}

impl Circuit {
    /// The word that stands for it in metrics and commands.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What one local sink (`console`, `file`) has done, in spans, data points and log records.
/// `offered = written + dropped + queued`.
#[derive(Debug)]
pub struct SinkStats {
    /// Given to the sink.
    pub offered: Counter,
    /// Written.
    pub written: Counter,
    dropped: [Counter; SinkDrop::ALL.len()],
    /// Waiting now, what is being written included.
    pub queued: Counter,
    /// Why the last write failed; empty after one that did not.
    last_error: Mutex<String>,
}

impl SinkStats {
    /// All zero: one for each sink, and one for each test.
    pub(crate) const fn new() -> Self {
        Self {
            offered: Counter::new(),
            written: Counter::new(),
            dropped: [const { Counter::new() }; SinkDrop::ALL.len()],
            queued: Counter::new(),
            last_error: Mutex::new(String::new()),
        }
    }

    /// Counts `items` that will not be written.
    pub fn drop_items(&self, reason: SinkDrop, items: u64) {
        if let Some(counter) = self.dropped.get(reason as usize) {
            counter.add(items);
        }
    }

    /// Dropped for `reason` so far.
    pub fn dropped(&self, reason: SinkDrop) -> u64 {
        self.dropped.get(reason as usize).map_or(0, Counter::value)
    }

    /// Notes why a write failed; an empty text notes a success.
    pub fn set_last_error(&self, text: &str) {
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut last);
    }

    /// Why the last write failed.
    pub fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a listener that HAProxy's checks ask has done.
#[derive(Debug, Default)]
pub struct DoorStats {
    /// Connections.
    pub accepted: Counter,
    /// Those of them that have ended.
    pub ended: Counter,
    /// Connections closed to make room for others.
    pub shed: Counter,
    /// Answers, those to what could not be answered too.
    pub answered: Counter,
    /// Requests that could not be answered: malformed, or about servers that are not checked.
    pub refused: Counter,
}

impl DoorStats {
    /// All zero.
    pub(crate) const fn new() -> Self {
        Self {
            accepted: Counter::new(),
            ended: Counter::new(),
            shed: Counter::new(),
            answered: Counter::new(),
            refused: Counter::new(),
        }
    }

    /// Connections now.
    pub fn connections(&self) -> u64 {
        // Ends first: nothing ends that has not begun.
        let ended = self.ended.value();
        self.accepted.value().saturating_sub(ended)
    }
}

/// The agent's counters.
pub static AGENT: DoorStats = DoorStats::new();

/// The bridge's counters.
pub static BRIDGE: DoorStats = DoorStats::new();

/// The exporter `console`'s counters.
pub static CONSOLE: SinkStats = SinkStats::new();

/// The exporter `file`'s counters.
pub static FILE: SinkStats = SinkStats::new();

/// Export's counters for spans.
pub static EXPORT: ExportStats = ExportStats::new();

/// Export's counters for metrics: data points where [`EXPORT`] has spans.
pub static METRICS_EXPORT: ExportStats = ExportStats::new();

/// Export's counters for logs: log records where [`EXPORT`] has spans.
pub static LOGS_EXPORT: ExportStats = ExportStats::new();

/// Panics caught in background tasks.
pub static TASK_PANICS: Counter = Counter::new();

/// Calls that the fail-open boundary answered: an error or a panic inside.
pub static FAULTS: Counter = Counter::new();

/// Attributes that rules set and that found no room, or no sampled span.
pub static ATTRIBUTES_LEFT_OUT: Counter = Counter::new();

/// How often too few servers of a backend were healthy, and its last good ones stayed up.
pub static HEALTH_PANICS: Counter = Counter::new();

/// Checks that became no span, because too many waited to.
pub static HEALTH_EVENTS_DROPPED: Counter = Counter::new();

/// HTTP/2 connections that checks made.
pub static HEALTH_CONNECTIONS_OPENED: Counter = Counter::new();

/// Those of them that have ended.
pub static HEALTH_CONNECTIONS_CLOSED: Counter = Counter::new();

/// Load reports of checked servers that could not be read.
pub static LOAD_REPORTS_MALFORMED: Counter = Counter::new();

/// A new thread's counters, seen by [`threads`] from now on, also after the thread has gone.
pub fn register_thread() -> Arc<ThreadStats> {
    let stats = Arc::new(ThreadStats::default());
    THREADS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&stats));
    stats
}

/// Every HAProxy thread's counters.
pub fn threads() -> Vec<Arc<ThreadStats>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

static THREADS: Mutex<Vec<Arc<ThreadStats>>> = Mutex::new(Vec::new());
