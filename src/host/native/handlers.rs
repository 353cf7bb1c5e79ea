//! What the hooks do: plain functions, without HAProxy's pointers.

use std::net::IpAddr;

use super::super::tracer::with_hot;
use super::capture::Capture;
use super::fetch::Value;
use super::line::{Line, Mode, Section};
pub(in super::super) use super::live::Live;
use super::message::Message;
use super::stream::Stream;
use super::{ending, ways};
use crate::stats;
use crate::trace::headers::Block;
use crate::trace::hot::{Begun, Came, Hot, TracestateAction, unix_nanos};
use crate::trace::htx;
use crate::trace::incoming::{Arrival, Incoming};
use crate::trace::record::{AttributeValue, Field, asked, has_field};

/// A stream begins, or gets a backend that has a filter of ours. `first`: no other filter of ours takes part in it. Whether this
/// one does.
pub(super) fn attach(line: &Line, _: &mut Stream<'_>, first: bool) -> bool {
    first && ways::is_active(line.mode)
}

/// The request is there, and no rule has run: of the frontend, or of the backend.
pub(super) fn start(line: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>) {
    if line.mode != Mode::Actions {
        begin(line, slot, stream);
    }
}

/// `lua.otel_start`. Once per request: the first one counts.
pub(super) fn start_by_action(line: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>) {
    begin(line, slot, stream);
}

fn begin(line: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>) {
    let Some(capture) = Capture::get().filter(|_| slot.is_none()) else { return };
    let mut place = [0; MAX_NAME];
    let arrival = capture.plan.arrival.then(|| arrival(capture, stream, &mut place));
    let is_http = stream.is_http();
    with_hot(|hot| {
        let mut state = Live::take();
        let keep = if is_http {
            let Some(mut message) = stream.message() else { return state.give_back() };
            let Some(begun) = request(hot, &mut state, &message, !line.client_span, arrival) else {
                return state.give_back();
            };
            state.reset(begun);
            state.is_rpc = capture.rpc && is_rpc(&state);
            change_headers(hot, capture, &begun, arrival, &mut message);
            begun.recorded || capture.plan.headers.response_name().is_some()
        } else {
            let incoming = Incoming { connection: true, arrival, ..Incoming::default() };
            let begun = hot.begin(&incoming, &mut state.record);
            state.reset(begun);
            state.is_connection = true;
            begun.recorded
        };
        if capture.plan.headers.variables {
            set_variables(&state.begun, stream);
        }
        if keep { *slot = Some(state) } else { state.give_back() }
    });
}

/// Begins a request, from what its message says.
fn request(
    hot: &mut Hot,
    live: &mut Live,
    message: &Message<'_>,
    single_span: bool,
    arrival: Option<Arrival<'_>>,
) -> Option<Begun> {
    let message = htx::Message::new(message.bytes(), message.layout())?;
    let [method, target, version] = message.start_line()?.parts;
    let incoming = Incoming {
        headers: Block::Message(message),
        method,
        target,
        version: version.strip_prefix(b"HTTP/").unwrap_or(version),
        single_span,
        connection: false,
        arrival,
    };
    Some(hot.begin(&incoming, &mut live.record))
}

fn is_rpc(live: &Live) -> bool {
    live.begun.recorded && has_field(live.record.as_bytes(), Field::Rpc)
}

/// How a request came in. The name's bytes stand in `place`.
fn arrival<'p>(capture: &Capture, stream: &mut Stream<'_>, place: &'p mut [u8; MAX_NAME]) -> Arrival<'p> {
    let fetches = &capture.fetches;
    let source = match fetches.client_ip.as_ref().and_then(|fetch| stream.value(fetch)) {
        Some(Value::V4(address)) => Some(IpAddr::from(address)),
        Some(Value::V6(address)) => Some(IpAddr::from(address)),
        _ => None,
    };
    let tls = matches!(fetches.tls.as_ref().and_then(|fetch| stream.value(fetch)), Some(Value::Bool(true)));
    let mut len = 0;
    if let Some(Value::Text(name)) = fetches.frontend.as_ref().and_then(|fetch| stream.value(fetch))
        && let Some(room) = place.get_mut(..name.len())
    {
        room.copy_from_slice(name);
        len = name.len();
    }
    Arrival { frontend: place.get(..len).unwrap_or_default(), source, tls }
}

/// What the server is told.
fn change_headers(
    hot: &Hot,
    capture: &Capture,
    begun: &Begun,
    arrival: Option<Arrival<'_>>,
    message: &mut Message<'_>,
) {
    let plan = &capture.plan.headers;
    if !plan.without_tracecontext {
        set_traceparent(begun, message);
        match begun.tracestate {
            TracestateAction::Keep => {}
            TracestateAction::Delete => _ = message.remove_header(b"tracestate"),
            TracestateAction::Replace => _ = message.set_header(b"tracestate", hot.tracestate()),
        }
    }
    if plan.changes_requests() {
        let frontend = arrival.map_or(&b""[..], |arrival| arrival.frontend);
        for (name, value) in plan.request_headers(&begun.sent, frontend) {
            match value {
                Some(value) => _ = message.set_header(name.as_bytes(), &value),
                None => _ = message.remove_header(name.as_bytes()),
            }
        }
    }
}

/// In place where one of the same length is there: most callers' are.
fn set_traceparent(begun: &Begun, message: &mut Message<'_>) {
    let value = begun.traceparent();
    let written = match begun.came {
        Came::Without => message.add_header(b"traceparent", &value),
        Came::At(address) => {
            let start = address.wrapping_sub(message.bytes().as_ptr().addr());
            message.overwrite(start..start.saturating_add(value.len()), &value)
        }
        Came::Otherwise => message.set_header(b"traceparent", &value),
    };
    if !written {
        stats::ATTRIBUTES_LEFT_OUT.add(1);
    }
}

/// For rules and logs.
fn set_variables(begun: &Begun, stream: &mut Stream<'_>) {
    let sent = &begun.sent;
    stream.set_variable("txn.otel.trace_id", Value::Text(&sent.trace_id));
    stream.set_variable("txn.otel.sampled", Value::Bool(sent.is_sampled()));
    if let Some(span) = &sent.server_span {
        stream.set_variable("txn.otel.span_id", Value::Text(span));
    }
}

/// Rules have run, the request leaves for the server. A connection in TCP mode that carries HTTP from here on stays what it began
/// as.
pub(super) fn leaving(_: &Line, slot: &mut Option<Box<Live>>, stream: &mut Stream<'_>) {
    let Some(live) = slot.as_mut().filter(|live| live.begun.recorded && !live.is_connection) else { return };
    live.stamps.left = unix_nanos();
    let Some(message) = stream.message() else { return };
    let Some(message) = htx::Message::new(message.bytes(), message.layout()) else { return };
    let Some(htx::StartLine { parts: [method, target, _], .. }) = message.start_line() else { return };
    let host = message.headers().find(|(name, _)| *name == b"host").map_or(&b""[..], |(_, value)| value);
    let sent = [(Field::SentMethod, method), (Field::SentTarget, target), (Field::SentHost, host)];
    let came = asked(live.record.as_bytes());
    let mut differs = [false; 3];
    for ((differs, (field, value)), came) in differs.iter_mut().zip(&sent).zip(came) {
        *differs = value.get(..field.max_len()).unwrap_or(value) != came;
    }
    for ((field, value), _) in sent.into_iter().zip(differs).filter(|(_, differs)| *differs) {
        live.record.present(field, value);
    }
}

/// The server's side is there.
pub(super) fn connected(live: &mut Live, _: &Line, _: &mut Stream<'_>) {
    live.stamps.connected = unix_nanos();
}

/// The response's headers are there. Whether its trailers are wanted.
pub(super) fn answered(live: &mut Live, _: &Line, stream: &mut Stream<'_>) -> bool {
    live.stamps.answered = unix_nanos();
    if !live.is_rpc {
        return false;
    }
    let Some(message) = stream.message() else { return false };
    let Some(message) = htx::Message::new(message.bytes(), message.layout()) else { return false };
    match message.headers().find(|(name, _)| *name == RPC_STATUS) {
        Some((_, status)) => {
            live.record.field(Field::RpcStatus, status);
            false
        }
        None => true,
    }
}

/// A trailer of the response.
pub(super) fn trailer(live: &mut Live, name: &[u8], value: &[u8]) {
    if name == RPC_STATUS {
        live.record.field(Field::RpcStatus, value);
    }
}

/// The response has been passed on.
pub(super) fn response_over(live: &mut Live, _: &Line, _: &mut Stream<'_>) {
    live.stamps.forwarded = unix_nanos();
}

/// `lua.otel_end`: a response goes to the client, the server's or HAProxy's own.
pub(super) fn after_response(live: &mut Live, _: &Line, stream: &mut Stream<'_>) {
    let Some(capture) = Capture::get() else { return };
    let Some(mut message) = stream.message() else { return };
    if live.begun.recorded && !capture.response_headers.is_empty() {
        gather_headers(live, capture, &message);
    }
    if live.is_told {
        return;
    }
    let Some(value) = capture.plan.headers.response_value(&live.begun.sent) else { return };
    live.is_told = true;
    match capture.plan.headers.response_name() {
        // A server may have metrics of its own.
        Some(name @ "server-timing") => _ = message.add_header(name.as_bytes(), &value),
        Some(name) => _ = message.set_header(name.as_bytes(), &value),
        None => {}
    }
}

/// Of several lines of one header the last one counts.
fn gather_headers(live: &mut Live, capture: &Capture, message: &Message<'_>) {
    let Some(message) = htx::Message::new(message.bytes(), message.layout()) else { return };
    for (place, wanted) in &capture.response_headers {
        let lines = message.headers().filter(|(name, _)| *name == wanted.as_bytes());
        if let Some((_, value)) = lines.last() {
            live.record.gathered(*place, value, capture.value_bytes);
        }
    }
}

/// `lua.otel_attr`.
pub(super) fn attribute(live: &mut Live, name: &[u8], value: Option<Value<'_>>) {
    let text;
    let value = match value {
        None => return,
        Some(Value::Int(number)) => AttributeValue::Integer(number),
        Some(Value::Bool(truth)) => AttributeValue::Bool(truth),
        Some(Value::Text(bytes) | Value::Bin(bytes)) => AttributeValue::Text(bytes),
        Some(Value::V4(address)) => {
            text = IpAddr::from(address).to_string();
            AttributeValue::Text(text.as_bytes())
        }
        Some(Value::V6(address)) => {
            text = IpAddr::from(address).to_string();
            AttributeValue::Text(text.as_bytes())
        }
    };
    if live.begun.recorded {
        live.record.attribute(name, value);
    }
}

/// The stream is over; for a backend's filter, its part in it.
pub(super) fn stop(mut live: Box<Live>, _: &Line, stream: &mut Stream<'_>) {
    let end = unix_nanos();
    if live.begun.recorded
        && let Some(capture) = Capture::get()
    {
        ending::complete(&mut live, capture, stream);
        with_hot(|hot| hot.end_at(live.record.as_bytes(), end));
    }
    live.give_back();
}

/// A section ends: what is to be added to it.
pub(super) fn section(section: Section<'_>) -> Option<Mode> {
    ways::section(&section)
}

/// Something is to be done with each response, HAProxy's own too: [`after_response`] is called for each. They go past every hook of
/// a filter's.
pub(super) fn wants_after_response(line: &Line) -> bool {
    ways::is_active(line.mode) && Capture::get().is_some_and(Capture::wants_responses)
}

/// gRPC over HTTP/2, "Responses".
const RPC_STATUS: &[u8] = b"grpc-status";

/// Bytes of the longest name of a section that is looked at.
const MAX_NAME: usize = 256;
