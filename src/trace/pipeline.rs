//! The cold half's loop: drains every thread's ring, turns records into spans, hands batches to export.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::hot::{Hot, Wants};
use super::observers::Observers;
use super::plan::Plan;
use super::propagation::Policy;
use super::record::Record;
use super::sampler::{Keep, Overrides, Sampler};
use super::spans::{self, Shared};
use super::wanted::Wanted;
use super::wording::Wording;
use crate::config::Config;
use crate::export::Outlets;
use crate::export::envelope::Envelope;
use crate::export::ring::{self, Reader};
use crate::log::{self, Level, RateLimit};
use crate::resource::Resource;
use crate::runtime::Stop;
use crate::stats::{self, DropReason, EXPORT};

/// Where HAProxy's threads get their tracers from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracer {
    /// Absent: nothing is traced.
    sampler: Option<Sampler>,
    /// Absent: nothing but the default is asked for.
    policy: Option<Arc<Policy>>,
    /// Absent: nothing is exported, so nothing is kept.
    rings: Option<Rings>,
    wanted: Option<Arc<Wanted>>,
    wants: Wants,
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
        let enabled = config.traces.enabled;
        let policy = if enabled { policy(config) } else { None };
        Self {
            sampler: enabled.then(|| Sampler::new(&config.traces)),
            policy,
            rings: None,
            wanted: None,
            wants: Wants::default(),
        }
    }

    /// A tracer by the settings, and the loop that serves it: the caller runs it. Without `outlets` no spans are made:
    /// finished requests are for the `observers` alone.
    pub fn new(
        config: &Config,
        resource: &Resource,
        outlets: Option<Arc<Outlets>>,
        observers: Observers,
    ) -> (Self, Pipeline) {
        let rings = Rings { bytes: config.traces.ring_bytes, wake: Arc::default(), new: Arc::default() };
        let plan = Plan::new(config);
        let wanted = Wanted::new(&config.attributes).map(Arc::new);
        let pipeline = Pipeline {
            wording: Wording::new(&config.attributes, &plan),
            shared: Shared::default(),
            keep: Keep::new(&config.traces.sampling),
            rings: rings.clone(),
            readers: Vec::new(),
            envelope: Envelope::new(resource),
            outlets,
            observers,
            batch: Vec::new(),
            batch_len: 0,
            spans: 0,
            opened: None,
            max_spans: config.export.max_export_batch_size as u64,
            delay: config.export.schedule_delay,
            malformed: RateLimit::per(Duration::from_mins(1)),
            ends_seen: false,
        };
        let sampler = Some(Sampler::new(&config.traces));
        (Self { sampler, policy: policy(config), rings: Some(rings), wanted, wants: Wants::new(config) }, pipeline)
    }

    /// What of sampling may be changed at run time. `None`: nothing is traced.
    pub fn overrides(&self) -> Option<&Arc<Overrides>> {
        self.sampler.as_ref().map(Sampler::overrides)
    }

    /// The calling thread's part.
    pub fn attach(&self) -> Hot {
        let writer = self.rings.as_ref().map(|rings| {
            let (writer, reader) = ring::ring(rings.bytes, Arc::clone(&rings.wake));
            rings.new.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            writer
        });
        Hot::new(self.sampler.clone(), stats::register_thread(), writer)
            .with_policy(self.policy.clone())
            .with_wanted(self.wanted.clone())
            .with(self.wants)
    }
}

fn policy(config: &Config) -> Option<Arc<Policy>> {
    Policy::new(&config.traces).map(Arc::new)
}

/// The loop. One task; it owns every ring's reading end and the open batch.
#[derive(Debug)]
pub struct Pipeline {
    keep: Keep,
    wording: Wording,
    shared: Shared,
    rings: Rings,
    readers: Vec<Reader>,
    envelope: Envelope,
    /// Absent: no spans are exported.
    outlets: Option<Arc<Outlets>>,
    observers: Observers,
    /// Encoded spans of the open batch, as [`Envelope::open`] began it.
    batch: Vec<u8>,
    /// Bytes of the last one: the next will probably have as many.
    batch_len: usize,
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
        self.observers.tick(true);
    }

    async fn round(&mut self) {
        if !self.ends_seen {
            self.look_for_ends();
        }
        while self.has_room() && self.drain(self.records_wanted()) > 0 {
            // Other tasks live on these threads too.
            tokio::task::yield_now().await;
        }
        if self.opened.is_some_and(|opened| opened.elapsed() >= self.delay) {
            self.ship();
        }
        self.observers.tick(false);
    }

    /// Metrics and log records do not wait for a collector of spans: what its queue has no room for is dropped there.
    fn has_room(&self) -> bool {
        self.observers.want_any() || self.outlets.as_ref().is_none_or(|outlets| outlets.has_room(self.max_spans))
    }

    /// As many records as export has room for, beside the open batch.
    fn records_wanted(&self) -> usize {
        let Some(outlets) = self.outlets.as_ref().filter(|_| !self.observers.want_any()) else { return usize::MAX };
        let room = outlets.room().saturating_sub(self.spans);
        usize::try_from(room / self.wording.max_spans()).unwrap_or(usize::MAX).max(1)
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
        let mut record = match Record::parse(payload, end_unix_nanos) {
            Ok(record) => record,
            Err(error) => return self.malformed(&error.to_string()),
        };
        // Metrics, log records and the last requests are of requests.
        if !record.is_connection {
            self.observers.observe(&record, payload);
        }
        if self.outlets.is_none() {
            return;
        }
        if !record.sampled {
            if record.is_only_measured {
                return;
            }
            record.kept = self.keep.why(&record);
            if record.kept.is_none() {
                return EXPORT.discarded.add(1);
            }
            EXPORT.kept.add(1);
        }
        if self.batch.is_empty() {
            self.batch = self.envelope.open(self.batch_len);
        }
        let made = spans::encode(&record, &self.wording, &mut self.shared, &mut self.batch);
        self.count(made);
    }

    /// Spans that were just added to the open batch.
    fn count(&mut self, made: u64) {
        EXPORT.created.add(made);
        self.spans += made;
        self.opened.get_or_insert_with(Instant::now);
        if self.spans + self.wording.max_spans() > self.max_spans {
            self.ship();
        }
    }

    fn ship(&mut self) {
        self.opened = None;
        if self.spans == 0 {
            return;
        }
        let Some(outlets) = &self.outlets else { return };
        let batch = std::mem::take(&mut self.batch);
        self.batch_len = batch.len();
        outlets.ship(self.envelope.close(batch), std::mem::take(&mut self.spans));
    }

    /// Lua's actions end a request by a rule of its own: where it is missing, requests start and none ends.
    fn look_for_ends(&mut self) {
        let threads = stats::threads();
        let ended = threads.iter().any(|thread| thread.ended.value() > 0);
        let started: u64 = threads.iter().map(|thread| thread.started.value()).sum();
        if !ended && started >= STARTED_WITHOUT_END {
            log::say(
                Level::Warning,
                format!(
                    "{started} requests were started and none has ended: lua.otel_start needs \
                     `http-after-response lua.otel_end` in the same section"
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
