//! A request's phases by native hooks' clocks, or by HAProxy's where there are none; and spans of their own for two of them.

use super::{Identity, Interval, Kind, NANOS_PER_MILLI, Request, Span};
use crate::trace::protobuf::key;
use crate::trace::record::Record;

/// When each phase ended. Unix time, nanoseconds; in this order, and none after the request's end, whatever the clocks say.
#[derive(Clone, Copy)]
pub(super) struct Phases {
    /// The request's headers were complete; then it waited for a server.
    pub(super) headers: u64,
    /// A connection was looked for.
    pub(super) left_queue: u64,
    /// It was there.
    pub(super) connected: Option<u64>,
    /// The response's headers were complete.
    pub(super) answered: Option<u64>,
    /// The response had gone on to the client; the request's end where that is not known.
    pub(super) forwarded: u64,
}

impl Phases {
    pub(super) fn new(record: &Record<'_>, interval: Interval) -> Self {
        let (timers, stamps) = (record.response.timers, record.response.stamps);
        let after =
            |from: u64, millis: u64| from.saturating_add(millis.saturating_mul(NANOS_PER_MILLI)).min(interval.end);
        let within = |stamp: u64| stamp.clamp(interval.start, interval.end);
        let headers = after(interval.start, timers.request_headers.unwrap_or(0));
        let left = stamps.left.map_or(headers, within);
        let connected = stamps.connected.map(within);
        // A stamp is finer than the queue's whole milliseconds.
        let left_queue = after(left, timers.queue.unwrap_or(0)).min(connected.unwrap_or(u64::MAX)).max(left);
        let connected = connected
            .map(|stamp| stamp.max(left_queue))
            .or_else(|| timers.connect.map(|millis| after(left_queue, millis)));
        let asked = connected.unwrap_or(left_queue);
        let answered = stamps
            .answered
            .map(|stamp| within(stamp).max(asked))
            .or_else(|| timers.response_headers.map(|millis| after(asked, millis)));
        let forwarded = stamps.forwarded.map_or(interval.end, within).max(answered.unwrap_or(asked));
        Self { headers: headers.min(left_queue), left_queue, connected, answered, forwarded }
    }
}

impl Request<'_, '_> {
    /// The request waited for a server, as far as whole milliseconds tell.
    pub(super) fn waited(&self) -> bool {
        self.record.response.timers.queue.is_some_and(|millis| millis > 0)
    }

    /// A connection was made for the request: HAProxy says so, or it took time.
    pub(super) fn connected_anew(&self) -> bool {
        let response = &self.record.response;
        let took_time = response.timers.connect.is_some_and(|millis| millis > 0);
        response.connection_reused.map_or(took_time, |reused| !reused && response.timers.connect.is_some())
    }

    /// Spans of their own for the queue, under the SERVER span, and for the connection, under the CLIENT span.
    pub(super) fn phases(&self, server: Option<&[u8]>, out: &mut Vec<u8>) -> u64 {
        let (record, phases) = (self.record, &self.phases);
        let queue = (self.wording.queue_span && self.waited()).then_some(Identity {
            kind: Kind::Internal,
            id: derived(record.client_span, QUEUE),
            parent: Some(record.server_span),
            name: b"haproxy.queue",
            start: phases.headers,
            end: phases.left_queue,
        });
        let connected = phases.connected.filter(|_| self.wording.connect_span && self.connected_anew());
        let connect = connected.and(server).zip(connected).map(|(_, end)| Identity {
            kind: Kind::Internal,
            id: derived(record.client_span, CONNECT),
            parent: Some(record.client_span),
            name: b"haproxy.connect",
            start: phases.left_queue,
            end,
        });
        let mut count = 0;
        for identity in queue.into_iter().chain(connect) {
            let mut span = Span::begin(out, record, &identity);
            span.present(key!("haproxy.backend.name"), record.response.backend);
            if let Some(server) = server {
                span.string(key!("haproxy.server.name"), server);
            }
            self.fixed(&mut span);
            span.end(&self.wording.limits);
            count += 1;
        }
        count
    }
}

/// A span's id that follows from another: `SplitMix64`'s finaliser of `id + phase`, which takes different values to different
/// ones. Never the invalid id.
fn derived(id: [u8; 8], phase: u64) -> [u8; 8] {
    let mut mixed = u64::from_be_bytes(id).wrapping_add(phase.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31).max(1).to_be_bytes()
}

const QUEUE: u64 = 1;
const CONNECT: u64 = 2;
