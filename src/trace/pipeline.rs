//! The cold half's loop: drains every thread's ring, turns records into spans, hands batches to export.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::Connection;
use super::envelope::Envelope;
use super::hot::Hot;
use super::plan::Plan;
use super::record::Record;
use super::sampler::Sampler;
use super::spans;
use crate::config::Config;
use crate::export::ring::{self, Reader};
use crate::export::{Batch, QueueHandle};
use crate::log::{self, Level, RateLimit};
use crate::runtime::Stop;
use crate::stats::{self, DropReason, EXPORT};

/// Where HAProxy's threads get their tracers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracer {
    /// Absent: nothing is traced.
    sampler: Option<Sampler>,
    /// Absent: nothing is exported, so nothing is kept.
    rings: Option<Rings>,
}

#[derive(Debug, Clone)]
struct Rings {
    bytes: usize,
    wake: Arc<Notify>,
    /// Rings that the loop has not seen yet.
    new: Arc<Mutex<Vec<Reader>>>,
}

impl Tracer {
    /// A tracer whose spans go nowhere: requests are propagated and counted.
    pub fn without_export(config: &Config) -> Self {
        Self { sampler: config.traces.enabled.then(|| Sampler::new(&config.traces)), rings: None }
    }

    /// A tracer by the settings, and the loop that serves it: the caller runs it.
    pub fn new(config: &Config, queue: Arc<QueueHandle>) -> (Self, Pipeline) {
        let rings = Rings { bytes: config.traces.ring_bytes, wake: Arc::default(), new: Arc::default() };
        let mut resource = vec![("service.name".to_owned(), config.service.name.clone())];
        resource.extend(config.service.attributes.iter().cloned());
        let pipeline = Pipeline {
            plan: Plan::new(config),
            rings: rings.clone(),
            readers: Vec::new(),
            envelope: Envelope::new(&resource),
            queue,
            batch: Vec::new(),
            spans: 0,
            opened: None,
            max_spans: config.export.max_export_batch_size as u64,
            delay: config.export.schedule_delay,
            malformed: RateLimit::per(Duration::from_mins(1)),
            ends_seen: false,
        };
        (Self { sampler: Some(Sampler::new(&config.traces)), rings: Some(rings) }, pipeline)
    }

    /// The calling thread's part.
    pub fn attach(&self) -> Hot {
        let writer = self.rings.as_ref().map(|rings| {
            let (writer, reader) = ring::ring(rings.bytes, Arc::clone(&rings.wake));
            rings.new.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            writer
        });
        Hot::new(self.sampler, stats::register_thread(), writer)
    }
}

/// The loop. One task; it owns every ring's reading end and the open batch.
#[derive(Debug)]
pub struct Pipeline {
    plan: Plan,
    rings: Rings,
    readers: Vec<Reader>,
    envelope: Envelope,
    queue: Arc<QueueHandle>,
    /// Encoded spans of the open batch.
    batch: Vec<u8>,
    spans: u64,
    /// When the open batch got its first span.
    opened: Option<Instant>,
    max_spans: u64,
    delay: Duration,
    malformed: RateLimit,
    /// Whether requests were seen to end, or the log was told that they do not.
    ends_seen: bool,
}

impl Pipeline {
    /// Runs until the process stops, then hands over everything that is left.
    ///
    /// While export has no room the rings are left alone: they fill, and HAProxy's threads count what finds no room.
    pub async fn run(mut self, mut stop: Stop) {
        let wake = Arc::clone(&self.rings.wake);
        let tick = TICK.min(self.delay).max(Duration::from_millis(1));
        loop {
            tokio::select! {
                () = stop.wait() => break,
                () = wake.notified() => {}
                () = tokio::time::sleep(tick) => {}
            }
            self.round().await;
        }
        while self.drain(usize::MAX) > 0 {
            tokio::task::yield_now().await;
        }
        self.ship();
    }

    async fn round(&mut self) {
        if !self.ends_seen {
            self.look_for_ends();
        }
        while self.queue.has_room(self.max_spans) && self.drain(self.records_wanted()) > 0 {
            // Other tasks live on these threads too.
            tokio::task::yield_now().await;
        }
        if self.opened.is_some_and(|opened| opened.elapsed() >= self.delay) {
            self.ship();
        }
    }

    /// As many records as export has room for, beside the open batch.
    fn records_wanted(&self) -> usize {
        let room = self.queue.room().saturating_sub(self.spans);
        usize::try_from(room / MAX_SPANS_PER_RECORD).unwrap_or(usize::MAX).max(1)
    }

    /// Reads at most `wanted` records, and a bounded number of each ring; says how many there were.
    fn drain(&mut self, wanted: usize) -> usize {
        self.readers.append(&mut self.rings.new.lock().unwrap_or_else(PoisonError::into_inner));
        let mut readers = std::mem::take(&mut self.readers);
        let mut count = 0;
        for reader in &mut readers {
            let limit = RECORDS_PER_TURN.min(wanted - count);
            count += reader.drain(limit, |end, payload| self.take(end, payload));
        }
        // Where not every ring had its turn, another one begins next.
        if count == wanted && !readers.is_empty() {
            readers.rotate_left(1);
        }
        readers.retain(|reader| !reader.is_finished());
        self.readers = readers;
        count
    }

    fn take(&mut self, end_unix_nanos: u64, payload: &[u8]) {
        if Connection::is_one(payload) {
            return self.take_connection(end_unix_nanos, payload);
        }
        let record = match Record::parse(payload, end_unix_nanos, self.plan.gathered.len()) {
            Ok(record) => record,
            Err(error) => return self.malformed(&error.to_string()),
        };
        let made = spans::encode(&record, &mut self.batch);
        self.count(made);
    }

    /// A connection in TCP mode: one span, if it was sampled.
    fn take_connection(&mut self, end_unix_nanos: u64, payload: &[u8]) {
        match Connection::parse(payload, end_unix_nanos) {
            Ok(connection) if connection.record.sampled => {
                spans::encode_connection(&connection, &mut self.batch);
                self.count(1);
            }
            Ok(_) => {}
            Err(error) => self.malformed(&error.to_string()),
        }
    }

    /// Spans that were just added to the open batch.
    fn count(&mut self, made: u64) {
        EXPORT.created.add(made);
        self.spans += made;
        self.opened.get_or_insert_with(Instant::now);
        if self.spans + MAX_SPANS_PER_RECORD > self.max_spans {
            self.ship();
        }
    }

    fn ship(&mut self) {
        self.opened = None;
        if self.spans == 0 {
            return;
        }
        let batch = Batch { bytes: self.envelope.wrap(&self.batch), spans: std::mem::take(&mut self.spans) };
        self.batch.clear();
        if let Err(batch) = self.queue.push(batch) {
            EXPORT.drop_spans(DropReason::QueueFull, batch.spans);
        }
    }

    /// A frontend whose log line lacks the end, or has no target, starts requests and ends none: easily done, and silent.
    fn look_for_ends(&mut self) {
        let threads = stats::threads();
        let ended = threads.iter().any(|thread| thread.ended.value() > 0);
        let started: u64 = threads.iter().map(|thread| thread.started.value()).sum();
        if !ended && started >= STARTED_WITHOUT_END {
            log::say(
                Level::Warning,
                format!(
                    "{started} requests were started and none has ended: a log-format needs ${{VITALS_LOG}} in front of it, \
                     and the frontend a log target; with actions, http-after-response lua.otel_end"
                ),
            );
        }
        self.ends_seen = ended || started >= STARTED_WITHOUT_END;
    }

    fn malformed(&mut self, why: &str) {
        EXPORT.drop_spans(DropReason::Malformed, 1);
        if let Some(held_back) = self.malformed.pass(std::time::Instant::now()) {
            log::say(Level::Warning, format!("a finished request could not be read: {why} ({held_back} more before)"));
        }
    }
}

/// Rings are looked at this often at least; a busy one asks for it earlier.
const TICK: Duration = Duration::from_millis(200);

/// So many requests under way at once would be rare; with none that ever ended, a mistake is likelier.
const STARTED_WITHOUT_END: u64 = 1000;

/// Records read from one ring before the next ring has its turn.
const RECORDS_PER_TURN: usize = 256;

/// A SERVER and a CLIENT span.
const MAX_SPANS_PER_RECORD: u64 = 2;
