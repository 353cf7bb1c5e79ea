//! What the hooks call: plain functions, without HAProxy's pointers. Placeholders.
#![expect(
    unused_variables,
    clippy::boxed_local,
    clippy::needless_pass_by_value,
    clippy::similar_names,
    reason = "placeholders"
)]

use super::fetch::Value;
use super::line::{Line, Mode, Section};
use super::stream::Stream;
use super::trace;

/// What is kept of one request.
#[derive(Debug)]
pub(in super::super) struct Live {
    key: usize,
}

/// A stream begins, or gets a backend that has a filter of ours. `first`: no other filter of ours takes part in it. Whether this
/// one does.
pub(super) fn attach(line: &Line, stream: &mut Stream<'_>, first: bool) -> bool {
    trace::event("attach", line, stream, format_args!("first={first}"));
    first
}

/// The request is there, and no rule has run: of the frontend, or of the backend.
pub(super) fn start(line: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>) {
    if line.mode != Mode::Actions {
        begin(line, slot, stream, "start");
    }
}

/// `lua.otel_start`.
pub(super) fn start_by_action(line: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>) {
    begin(line, slot, stream, "start_by_action");
}

fn begin(line: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>, what: &str) {
    trace::event(what, line, stream, "");
    if slot.is_none() {
        *slot = Some(Box::new(Live { key: stream.key() }));
    }
    trace::headers(stream);
}

/// Rules have run, the request leaves for the server. A stream that began in TCP mode may carry HTTP from here on.
pub(super) fn leaving(line: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>) {
    trace::event("leaving", line, stream, "");
}

/// The server's side is there: once for each attempt, where HAProxy sends a request again.
pub(super) fn connected(live: &mut Live, line: &Line, stream: &mut Stream<'_>) {
    trace::event("connected", line, stream, "");
}

/// The response's headers are there, not those of a 1xx. Whether its trailers are wanted.
pub(super) fn answered(live: &mut Live, line: &Line, stream: &mut Stream<'_>) -> bool {
    trace::event("answered", line, stream, "");
    trace::wants_trailers()
}

/// A trailer of the response.
pub(super) fn trailer(live: &mut Live, name: &[u8], value: &[u8]) {
    trace::trailer(name, value);
}

/// The response's analysis is over; in TCP mode as soon as it began.
pub(super) fn response_over(live: &mut Live, line: &Line, stream: &mut Stream<'_>) {
    trace::event("response_over", line, stream, "");
}

/// `lua.otel_end`.
pub(super) fn after_response(live: &mut Live, line: &Line, stream: &mut Stream<'_>) {
    trace::event("after_response", line, stream, "");
}

/// `lua.otel_attr`.
pub(super) fn attribute(live: &mut Live, name: &[u8], value: Option<Value<'_>>) {
    trace::attribute(name, value);
}

/// The stream is over; for a backend's filter, its part in it.
pub(super) fn stop(live: Box<Live>, line: &Line, stream: &mut Stream<'_>) {
    trace::event("stop", line, stream, "");
    trace::values(stream);
}

/// A section ends: what is to be added to it.
pub(super) fn section(section: Section<'_>) -> Option<Mode> {
    trace::section(section)
}

/// The client is to be told something in each answer, HAProxy's own too: `after_response` is called for each.
pub(super) fn wants_after_response(line: &Line) -> bool {
    trace::wants_after_response()
}

/// HAProxy has read all of its configuration.
pub(super) fn checked() {
    trace::say("checked");
}
