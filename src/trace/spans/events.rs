//! Span events with HAProxy's times. `opentelemetry/proto/trace/v1/trace.proto`, `Span.Event`.

use super::Request;
use crate::trace::protobuf;
use crate::trace::record::Response;
use crate::trace::wording::Limits;

/// Something that happened once.
struct Event {
    name: &'static str,
    /// Unix time, nanoseconds.
    time: u64,
    /// `haproxy.retries`.
    retries: Option<u64>,
}

impl Event {
    const fn at(name: &'static str, time: u64) -> Self {
        Self { name, time, retries: None }
    }
}

impl Request<'_, '_> {
    pub(super) fn server_events(&self, out: &mut Vec<u8>) {
        let queued = self.waited().then(|| Event::at("haproxy.queued", self.phases.headers));
        push(out, queued, &self.wording.limits);
    }

    /// HAProxy keeps no time of each attempt: what is known of them stands at the end of the last one.
    pub(super) fn client_events(&self, response: &Response<'_>, out: &mut Vec<u8>) {
        let phases = &self.phases;
        let anew = self.connected_anew() || phases.connected.is_none();
        let tried = phases.connected.unwrap_or(self.interval.end);
        let retries = Some(response.retries.count).filter(|&count| count > 0);
        let events = [
            anew.then(|| Event::at("haproxy.connect.start", phases.left_queue)),
            retries.map(|_| Event { name: "haproxy.retry", time: tried, retries }),
            response.retries.redispatched.then(|| Event::at("haproxy.redispatch", tried)),
            phases.connected.filter(|_| anew).map(|time| Event::at("haproxy.connect.end", time)),
            phases.answered.map(|time| Event::at("haproxy.response.headers", time)),
        ];
        push(out, events.into_iter().flatten(), &self.wording.limits);
    }
}

/// Appends events up to the limit, and how many are left out.
fn push(out: &mut Vec<u8>, events: impl IntoIterator<Item = Event>, limits: &Limits) {
    let mut dropped = 0;
    for (place, event) in events.into_iter().enumerate() {
        if place < limits.events() { one(out, &event, limits) } else { dropped += 1 }
    }
    if dropped > 0 {
        protobuf::unsigned(out, DROPPED_EVENTS_COUNT, dropped);
    }
}

fn one(out: &mut Vec<u8>, event: &Event, limits: &Limits) {
    let open = protobuf::open(out, EVENTS, 1);
    protobuf::fixed64(out, TIME, event.time);
    protobuf::bytes(out, NAME, event.name.as_bytes());
    if let Some(retries) = event.retries {
        if limits.event_attributes() > 0 {
            let retries = i64::try_from(retries).unwrap_or(i64::MAX);
            protobuf::named_int_attribute(out, EVENT_ATTRIBUTES, b"haproxy.retries", retries);
        } else {
            protobuf::unsigned(out, EVENT_DROPPED_ATTRIBUTES_COUNT, 1);
        }
    }
    protobuf::close(out, &open);
}

const EVENTS: u8 = 11;
const DROPPED_EVENTS_COUNT: u8 = 12;
const TIME: u8 = 1;
const NAME: u8 = 2;
const EVENT_ATTRIBUTES: u8 = 3;
const EVENT_DROPPED_ATTRIBUTES_COUNT: u8 = 4;
