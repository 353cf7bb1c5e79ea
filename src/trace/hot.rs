//! The hot half: what runs on HAProxy's threads, twice per request.

#[cfg(test)]
mod tests;
mod wants;

pub use wants::Wants;

use std::sync::Arc;

use nix::time::{ClockId, clock_gettime};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::incoming::Incoming;
use super::picked::Picked;
use super::propagation::{Policy, Seen, Sent};
use super::record::{Field, Head, SERVER_SPAN, Verdict, Writer, hex, is_recorded};
use super::sampler::{self, Change, Decision, Sampler};
use super::w3c::{self, FLAG_RANDOM, FLAG_SAMPLED, TRACEPARENT_LEN, Traceparent, Tracestate};
use super::wanted::Wanted;
use crate::export::ring;
use crate::stats::ThreadStats;

/// One HAProxy thread's tracer. It keeps nothing of a request in flight: HAProxy does.
#[derive(Debug)]
pub struct Hot {
    /// Absent: nothing is traced, and a caller's context goes on as it came.
    sampler: Option<Sampler>,
    /// Absent: W3C Trace Context of any caller.
    policy: Option<Arc<Policy>>,
    random: SmallRng,
    stats: Arc<ThreadStats>,
    wants: Wants,
    /// Absent: spans are not exported, requests are still propagated and counted.
    ring: Option<ring::Writer>,
    /// What the spans need of a request beyond the fixed values; absent: nothing.
    wanted: Option<Arc<Wanted>>,
    tracestate: Vec<u8>,
    scratch: Vec<u8>,
    /// Where records are ended that HAProxy holds as bytes.
    record: Writer,
    /// The trace that was begun last, where it has no caller.
    last_trace_id: [u8; 16],
    /// The SERVER span that [`Hot::finish`] ended last: rules that ask twice ask one after the other.
    last_ended: [u8; 8],
}

/// A request that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// What the server is told.
    pub sent: Sent,
    /// Its end is wanted: a record was begun.
    pub recorded: bool,
    /// What becomes of the `tracestate` that it came with.
    pub tracestate: TracestateAction,
    /// The `traceparent` that it came with.
    pub came: Came,
}

/// A request's `traceparent`, as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// There is none.
    Without,
    /// One line of a valid one's length, whose value stands at this address while the request's headers do.
    At(usize),
    /// Of another length, or several lines.
    Otherwise,
}

impl Came {
    fn of(picked: &Picked<'_>) -> Self {
        match (picked.traceparent_lines, picked.traceparent.len()) {
            (0, _) => Self::Without,
            (1, TRACEPARENT_LEN) => Self::At(picked.traceparent.as_ptr().addr()),
            _ => Self::Otherwise,
        }
    }
}

/// What HAProxy does with the request's `tracestate` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracestateAction {
    /// Passes it on as it came: absent, or one valid line.
    Keep,
    /// Deletes it: empty, invalid, or without a valid `traceparent`.
    Delete,
    /// Replaces it by [`Hot::tracestate`]: several lines combined, cut, or changed.
    Replace,
}

impl Begun {
    /// The header for the server.
    pub fn traceparent(&self) -> [u8; TRACEPARENT_LEN] {
        w3c::write_traceparent(&self.sent.trace_id, &self.sent.span_id, self.sent.flags)
    }
}

impl Hot {
    /// A tracer that counts in `stats` and hands finished requests to `ring`.
    pub fn new(sampler: Option<Sampler>, stats: Arc<ThreadStats>, ring: Option<ring::Writer>) -> Self {
        // Seeded from the operating system, in the thread that uses it: no two threads or processes share ids.
        let random = SmallRng::from_rng(&mut rand::rng());
        Self {
            sampler,
            policy: None,
            random,
            stats,
            wants: Wants::default(),
            ring,
            wanted: None,
            tracestate: Vec::with_capacity(512),
            scratch: Vec::new(),
            record: Writer::new(),
            last_trace_id: [0; 16],
            last_ended: [0; 8],
        }
    }

    /// The same, which reads callers' contexts by a policy.
    #[must_use]
    pub fn with_policy(self, policy: Option<Arc<Policy>>) -> Self {
        Self { policy, ..self }
    }

    /// The same, which records what is wanted too.
    #[must_use]
    pub fn with_wanted(self, wanted: Option<Arc<Wanted>>) -> Self {
        Self { wanted, ..self }
    }

    /// With what is wanted beside spans.
    #[must_use]
    pub fn with(mut self, wants: Wants) -> Self {
        self.wants = wants;
        self
    }

    /// A tracer of nothing: where the process has none.
    pub fn detached() -> Self {
        Self::new(None, Arc::default(), None)
    }

    /// A request that is not traced, from nothing: the answer where this type itself has failed.
    pub fn detached_request() -> Begun {
        let id = w3c::hex16(rand::random::<u64>().max(1));
        let mut trace_id = [b'0'; 32];
        let (_, low) = trace_id.split_at_mut(16);
        low.copy_from_slice(&id);
        let sent = Sent { trace_id, span_id: id, server_span: None, flags: 0, debug: false };
        Begun { sent, recorded: false, tracestate: TracestateAction::Keep, came: Came::Otherwise }
    }

    /// The counters of this thread.
    pub fn stats(&self) -> &ThreadStats {
        &self.stats
    }

    /// What replaces the `tracestate` of the request that has begun last.
    pub fn tracestate(&self) -> &[u8] {
        &self.tracestate
    }

    /// Starts a request, from what is seen of it. Its record is begun in `record` where its end is wanted.
    ///
    /// Hot path: takes no lock, makes no system call; allocates only for a `tracestate` beyond 512 bytes and where the settings
    /// ask for another policy than the default.
    pub fn begin(&mut self, request: &Incoming<'_>, record: &mut Writer) -> Begun {
        let picked = Picked::read(&request.headers);
        let seen = match &self.policy {
            None => Seen::of(&picked),
            Some(policy) => policy.read(request, &picked),
        };
        self.begin_seen(request, &picked, &seen, record)
    }

    /// The same, unless the request has a `traceparent`, valid or not: it may be this tracer's own, and the caller has not looked.
    pub fn begin_unless_begun(&mut self, request: &Incoming<'_>, record: &mut Writer) -> Option<Begun> {
        let picked = Picked::read(&request.headers);
        if picked.traceparent_lines > 0 {
            return None;
        }
        let seen = match &self.policy {
            None => Seen::of(&picked),
            Some(policy) => policy.read(request, &picked),
        };
        Some(self.begin_seen(request, &picked, &seen, record))
    }

    fn begin_seen(&mut self, request: &Incoming<'_>, picked: &Picked<'_>, seen: &Seen, record: &mut Writer) -> Begun {
        if self.sampler.is_none() {
            return self.pass_on(request, picked, seen);
        }
        let (trace_id, flags) = match &seen.parent {
            Some(parent) => (parent.trace_id, parent.flags & FLAG_RANDOM),
            None => self.new_trace_id(),
        };
        let tracestate = self.tracestate_action(request, picked, seen);
        let decision = self.decide(request, seen.decided(), &trace_id);
        let Decision { recorded: wanted, sampled, threshold } = decision;
        let recorded = wanted | self.wants.every_request;
        let tracestate =
            if threshold == Change::Leave { tracestate } else { self.change_threshold(tracestate, threshold) };
        let client_span = self.new_span_id();
        let flags = if sampled { flags | FLAG_SAMPLED } else { flags };
        let span_id = w3c::hex16(client_span);
        if !recorded {
            self.stats.unsampled.bump();
            let sent = Sent { trace_id, span_id, server_span: None, flags, debug: false };
            return Begun { sent, recorded, tracestate, came: Came::of(picked) };
        }
        self.stats.started.bump();
        // Two spans by one id are one span: see `Record::is_single`.
        let server_span = if request.single_span { client_span } else { self.new_span_id() };
        let debug = sampled && seen.is_debug();
        let head = Head {
            verdict: Verdict { recorded, sampled, measured: !wanted, debug, connection: request.connection },
            flags,
            trace_id: if seen.parent.is_some() { hex(&trace_id).unwrap_or_default() } else { self.last_trace_id },
            client_span: client_span.to_be_bytes(),
            server_span: server_span.to_be_bytes(),
            parent: seen.parent.as_ref().and_then(|parent| hex(&parent.parent_id)).unwrap_or_default(),
            started: unix_nanos(),
        };
        record.begin(&head);
        self.fill(request, picked, seen, sampled, record);
        let sent = Sent { trace_id, span_id, server_span: Some(w3c::hex16(server_span)), flags, debug };
        Begun { sent, recorded, tracestate, came: Came::of(picked) }
    }

    /// What the start knows, in a record.
    fn fill(&mut self, request: &Incoming<'_>, picked: &Picked<'_>, seen: &Seen, sampled: bool, record: &mut Writer) {
        record.present(Field::Method, request.method);
        record.present(Field::Target, request.target);
        record.present(Field::Host, picked.host);
        record.present(Field::Version, request.version);
        record.present(Field::TraceState, &self.tracestate);
        if self.wants.every_request {
            self.for_metrics(request, picked, sampled, record);
        }
        if let Some(wanted) = &self.wanted {
            wanted.record_hops(&request.headers, record);
        }
        record.present(Field::UserAgent, picked.user_agent);
        if let Some(link) = seen.link() {
            record.link(link);
        }
        record.present(Field::Upgrade, picked.upgrade);
        if let Some(policy) = &self.policy {
            policy.keep_baggage(seen, &request.headers, record);
        }
        if let Some(wanted) = &self.wanted {
            wanted.record_headers(&request.headers, picked, record);
        }
    }

    /// Ends a request whose record is whole: stamps the time and hands it over. One that is not recorded is none of ours.
    ///
    /// Hot path: takes no lock, allocates nothing, never waits.
    pub fn end(&mut self, record: &[u8]) {
        self.end_at(record, unix_nanos());
    }

    /// The same at a known time. Unix time, nanoseconds.
    pub fn end_at(&mut self, record: &[u8], now: u64) {
        if !is_recorded(record) {
            return;
        }
        self.stats.ended.bump();
        if self.wants.active_requests {
            self.no_longer_active(record);
        }
        let Some(ring) = &mut self.ring else { return };
        if ring.push(now, record).is_err() {
            self.stats.ring_full.bump();
        }
    }

    /// Ends a request that HAProxy holds as bytes, once, however many rules ask for it: `rest` appends what its end says.
    pub fn finish(&mut self, carried: &[u8], rest: impl FnOnce(&mut Writer)) {
        let span = carried.get(SERVER_SPAN).unwrap_or_default();
        let Ok(span) = <[u8; 8]>::try_from(span) else { return };
        if !is_recorded(carried) || span == self.last_ended {
            return;
        }
        self.last_ended = span;
        let mut record = std::mem::take(&mut self.record);
        record.resume(carried);
        record.end();
        rest(&mut record);
        self.end(record.as_bytes());
        self.record = record;
    }

    /// Without tracing a caller's context stays what it was. HAProxy is owed a header in any case: a request without
    /// a context gets a valid one that is not sampled.
    fn pass_on(&mut self, request: &Incoming<'_>, picked: &Picked<'_>, seen: &Seen) -> Begun {
        self.stats.unsampled.bump();
        let untraced = |trace_id, span_id, flags, tracestate| {
            let sent = Sent { trace_id, span_id, server_span: None, flags, debug: false };
            Begun { sent, recorded: false, tracestate, came: Came::of(picked) }
        };
        if let Some(parent) = &seen.parent {
            return untraced(parent.trace_id, parent.parent_id, parent.flags, TracestateAction::Keep);
        }
        let (trace_id, flags) = self.new_trace_id();
        let tracestate = self.tracestate_action(request, picked, seen);
        untraced(trace_id, w3c::hex16(self.new_span_id()), flags, tracestate)
    }

    fn decide(&mut self, request: &Incoming<'_>, parent: Option<&Traceparent>, trace_id: &[u8; 32]) -> Decision {
        let low = || w3c::trace_id_low(trace_id);
        match &mut self.sampler {
            Some(sampler) => sampler.decide(request, parent, &self.tracestate, low),
            None => Decision { recorded: false, sampled: false, threshold: Change::Leave },
        }
    }

    /// Of `self.tracestate`. Only consistent samplers do.
    fn change_threshold(&mut self, action: TracestateAction, change: Change) -> TracestateAction {
        if !sampler::change_threshold(change, &mut self.tracestate, &mut self.scratch) {
            action
        } else if self.tracestate.is_empty() {
            TracestateAction::Delete
        } else {
            TracestateAction::Replace
        }
    }

    /// Reads the `tracestate` lines into `self.tracestate`.
    fn tracestate_action(&mut self, request: &Incoming<'_>, picked: &Picked<'_>, seen: &Seen) -> TracestateAction {
        match seen.tracestate(&request.headers, picked, &mut self.tracestate) {
            Tracestate::Absent | Tracestate::AsItCame => TracestateAction::Keep,
            Tracestate::Combined => TracestateAction::Replace,
            Tracestate::Void => TracestateAction::Delete,
        }
    }

    fn new_trace_id(&mut self) -> ([u8; 32], u8) {
        let (high, low) = (self.random.next_u64(), self.random.next_u64());
        self.last_trace_id = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        let mut id = [0; 32];
        let (high_part, low_part) = id.split_at_mut(16);
        high_part.copy_from_slice(&w3c::hex16(high));
        low_part.copy_from_slice(&w3c::hex16(low));
        (id, FLAG_RANDOM)
    }

    /// All zero is the one invalid id.
    fn new_span_id(&mut self) -> u64 {
        self.random.next_u64().max(1)
    }
}

/// Unix time, nanoseconds. Hot path: the standard library's clock takes three times as many instructions.
#[inline]
pub fn unix_nanos() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_REALTIME) else { return 0 };
    now.tv_sec().cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec().cast_unsigned())
}
