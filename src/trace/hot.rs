//! The hot half: what runs on HAProxy's threads, twice per request.

#[cfg(test)]
mod tests;
mod wants;

pub use wants::Wants;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::carry::{Field, SERVER_SPAN, TRACEPARENT_LEN, TracestateAction, Verdict, Writer};
use super::connection;
use super::incoming::Incoming;
use super::propagation::{Policy, Seen};
use super::sampler::{self, Change, Decision, Sampler};
use super::w3c::{self, FLAG_RANDOM, FLAG_SAMPLED, Traceparent, Tracestate};
use super::wanted::{ForSpans, Wanted};
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
    carry: Writer,
    /// What the spans need of a request beyond the fixed values; absent: nothing.
    wanted: Option<Arc<Wanted>>,
    tracestate: Vec<u8>,
    /// Where parts are joined.
    record: Vec<u8>,
    /// The SERVER span that [`Hot::end_parts`] ended last: rules that ask twice ask one after the other.
    last_ended: [u8; 16],
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
            carry: Writer::new(),
            wanted: None,
            tracestate: Vec::with_capacity(512),
            record: Vec::with_capacity(1024),
            last_ended: [0; 16],
        }
    }

    /// The same, which reads callers' contexts by a policy.
    #[must_use]
    pub fn with_policy(self, policy: Option<Arc<Policy>>) -> Self {
        Self { policy, ..self }
    }

    /// The same, which carries what is wanted too.
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

    /// A valid `traceparent` of an untraced request, from nothing: the answer where this type itself has failed.
    pub fn detached_traceparent() -> [u8; TRACEPARENT_LEN] {
        let id = w3c::hex16(rand::random::<u64>().max(1));
        let mut trace_id = [b'0'; 32];
        let (_, low) = trace_id.split_at_mut(16);
        low.copy_from_slice(&id);
        w3c::write_traceparent(&trace_id, &id, 0)
    }

    /// The counters of this thread.
    pub fn stats(&self) -> &ThreadStats {
        &self.stats
    }

    /// Starts a request: from what a door sees of it to what HAProxy carries (see [`super::carry`]).
    ///
    /// Hot path: takes no lock, makes no system call; allocates only for a `tracestate` beyond 512 bytes and where the settings
    /// ask for another policy than the default.
    pub fn begin(&mut self, request: &Incoming<'_>) -> &[u8] {
        let seen = match &self.policy {
            None => Seen::read(request.headers),
            Some(policy) => policy.read(request),
        };
        self.begin_seen(request, &seen)
    }

    /// The same, unless the request has a `traceparent`, valid or not: it may be this tracer's own, and the door has not asked.
    pub fn begin_unless_begun(&mut self, request: &Incoming<'_>) -> Option<&[u8]> {
        let w3c = Seen::read(request.headers);
        if w3c.traceparent_lines > 0 {
            return None;
        }
        let by_policy = self.policy.as_ref().map(|policy| policy.read(request));
        Some(self.begin_seen(request, by_policy.as_ref().unwrap_or(&w3c)))
    }

    fn begin_seen(&mut self, request: &Incoming<'_>, seen: &Seen) -> &[u8] {
        let block = request.headers;
        if self.sampler.is_none() {
            self.pass_on(seen, block);
            return self.carry.as_bytes();
        }
        let (trace_id, flags) = match &seen.parent {
            Some(parent) => (parent.trace_id, parent.flags & FLAG_RANDOM),
            None => self.new_trace_id(),
        };
        let tracestate = self.tracestate_action(seen, block);
        let decision = self.decide(request, seen.decided(), &trace_id);
        let Decision { recorded: wanted, sampled, threshold } = decision;
        let recorded = wanted | self.wants.every_request;
        let tracestate =
            if threshold == Change::Leave { tracestate } else { self.change_threshold(tracestate, threshold) };
        let client_span = self.new_span_id();
        let flags = if sampled { flags | FLAG_SAMPLED } else { flags };
        let traceparent = w3c::write_traceparent(&trace_id, &client_span, flags);
        if recorded {
            self.stats.started.bump();
            // Two spans by one id are one span: see `Record::is_single`.
            let server_span = if request.single_span { client_span } else { self.new_span_id() };
            let verdict = Verdict { recorded, sampled, tracestate };
            let parent = seen.parent.as_ref().map(|parent| &parent.parent_id);
            self.carry.begin(&traceparent, verdict, &server_span, parent, &self.tracestate);
            if seen.is_debug() {
                self.carry.mark_debug();
            }
            self.carry.field(Field::Started, &w3c::hex16(unix_nanos()));
            if self.wants.every_request {
                self.for_metrics(request, wanted, sampled);
            }
            if let Some(wanted) = &self.wanted {
                wanted.carry_hops(block, &mut self.carry);
            }
            let ForSpans { host, user_agent, upgrade } = ForSpans::read(block);
            self.carry.field(Field::Host, host);
            self.carry.field(Field::UserAgent, user_agent);
            if let Some(link) = seen.link() {
                self.carry.link(link);
            }
            if !upgrade.is_empty() {
                self.carry.field(Field::Upgrade, upgrade);
            }
            if !request.method.is_empty() {
                self.carry.request_line(request.method, request.target, request.version);
            }
            if let Some(head) = &request.head {
                self.carry.field(Field::Source, head.source);
            }
            if let Some(policy) = &self.policy {
                policy.keep_baggage(seen, block, &mut self.carry);
            }
            if let Some(wanted) = &self.wanted {
                wanted.carry_headers(block, &mut self.carry);
            }
            self.carry.end();
        } else {
            self.stats.unsampled.bump();
            self.leave_out(&traceparent, tracestate);
        }
        self.carry.as_bytes()
    }

    /// Ends a request: stamps the time and hands the record over. A request that is not recorded is none of ours.
    ///
    /// Hot path: takes no lock, allocates nothing, never waits.
    pub fn end(&mut self, payload: &[u8]) {
        // An end that HAProxy calls an error has its termination state in front, a connection's a mark: three bytes, both. See
        // `record` and `connection`.
        let carried = if payload.starts_with(b"00-") { payload } else { payload.get(3..).unwrap_or_default() };
        if !Verdict::is_recorded(carried) {
            return;
        }
        self.stats.ended.bump();
        if self.wants.active_requests {
            self.no_longer_active(carried);
        }
        let Some(ring) = &mut self.ring else { return };
        if ring.push(unix_nanos(), payload).is_err() {
            self.stats.ring_full.bump();
        }
    }

    /// The same from parts: `rest` appends what follows the carried context. Ends a request once, however many rules
    /// ask for it.
    pub fn end_parts(&mut self, carried: &[u8], rest: impl FnOnce(&mut Vec<u8>)) {
        self.end_once(b"", carried, rest);
    }

    /// The same for a connection in TCP mode: see [`super::connection`].
    pub fn end_connection(&mut self, carried: &[u8], rest: impl FnOnce(&mut Vec<u8>)) {
        self.end_once(connection::MARK, carried, rest);
    }

    fn end_once(&mut self, front: &[u8], carried: &[u8], rest: impl FnOnce(&mut Vec<u8>)) {
        let span = carried.get(SERVER_SPAN).unwrap_or_default();
        let Ok(span) = <[u8; 16]>::try_from(span) else { return };
        if span == self.last_ended {
            return;
        }
        self.last_ended = span;
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        record.extend_from_slice(front);
        record.extend_from_slice(carried);
        rest(&mut record);
        self.end(&record);
        self.record = record;
    }

    /// Without tracing a caller's context stays what it was. HAProxy is owed a header in any case: a request without
    /// a context gets a valid one that is not sampled.
    fn pass_on(&mut self, seen: &Seen, block: &[u8]) {
        self.stats.unsampled.bump();
        if let Some(parent) = &seen.parent {
            self.carry.bare(&w3c::write_traceparent(&parent.trace_id, &parent.parent_id, parent.flags));
            return;
        }
        let (trace_id, flags) = self.new_trace_id();
        let traceparent = w3c::write_traceparent(&trace_id, &self.new_span_id(), flags);
        let tracestate = self.tracestate_action(seen, block);
        self.leave_out(&traceparent, tracestate);
    }

    fn leave_out(&mut self, traceparent: &[u8; TRACEPARENT_LEN], tracestate: TracestateAction) {
        if tracestate == TracestateAction::Keep {
            self.carry.bare(traceparent);
        } else {
            let verdict = Verdict { recorded: false, sampled: false, tracestate };
            self.carry.begin(traceparent, verdict, b"0000000000000000", None, &self.tracestate);
            self.carry.end();
        }
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
        if !sampler::change_threshold(change, &mut self.tracestate, &mut self.record) {
            action
        } else if self.tracestate.is_empty() {
            TracestateAction::Delete
        } else {
            TracestateAction::Replace
        }
    }

    /// Reads the `tracestate` lines into `self.tracestate`.
    fn tracestate_action(&mut self, seen: &Seen, block: &[u8]) -> TracestateAction {
        match seen.tracestate(block, &mut self.tracestate) {
            Tracestate::Absent | Tracestate::AsItCame => TracestateAction::Keep,
            Tracestate::Combined => TracestateAction::Replace,
            Tracestate::Void => TracestateAction::Delete,
        }
    }

    fn new_trace_id(&mut self) -> ([u8; 32], u8) {
        let mut id = [0; 32];
        let (high_part, low_part) = id.split_at_mut(16);
        high_part.copy_from_slice(&w3c::hex16(self.random.next_u64()));
        low_part.copy_from_slice(&w3c::hex16(self.random.next_u64()));
        (id, FLAG_RANDOM)
    }

    /// All zero is the one invalid id.
    fn new_span_id(&mut self) -> [u8; 16] {
        w3c::hex16(self.random.next_u64().max(1))
    }
}

fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
