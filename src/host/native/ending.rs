//! What HAProxy says of a request when it has ended.

use super::capture::{Capture, Fetches, gather};
use super::fetch::{Fetch, Value};
use super::live::Live;
use super::stream::Stream;
use crate::trace::record::{ABSENT, Field, Numbers, Writer, bits, by_timer, first_field, is_only_measured, started};

/// Completes a record. Hot path: HAProxy is asked for each value through its own function.
pub(super) fn complete(live: &mut Live, capture: &Capture, stream: &mut Stream<'_>) {
    let fetches = &capture.fetches;
    let record = &mut live.record;
    let with_addresses = !(capture.addresses_for_spans && is_only_measured(record.as_bytes()));
    record.end();
    text(record, Field::Backend, stream, fetches.backend.as_ref());
    let server = text(record, Field::Server, stream, fetches.server.as_ref());
    text(record, Field::Frontend, stream, fetches.frontend.as_ref());
    text(record, Field::Tls, stream, fetches.tls_version.as_ref());
    let mut numbers = of_client(fetches, stream);
    if server {
        of_server(&mut numbers, fetches, stream);
    }
    if with_addresses {
        addresses(&mut numbers, record, server, fetches, stream);
    }
    if live.is_connection {
        of_connection(&mut numbers, record, fetches, stream);
    } else {
        numbers.began = began(record.as_bytes(), &numbers, fetches, stream);
        numbers.left = live.stamps.left;
        numbers.connected = live.stamps.connected;
        numbers.answered = live.stamps.answered;
        // A tunnel's bytes follow its response.
        numbers.forwarded = if is_tunnel(record, numbers.status) { 0 } else { live.stamps.forwarded };
    }
    record.numbers(&numbers);
    if !live.is_connection {
        for (place, source) in &capture.values {
            if let Some(value) = source.value(stream) {
                gather(record, *place, value, capture.value_bytes);
            }
        }
    }
}

/// When the request's first byte came. Unix time, nanoseconds; 0: as [`by_timer`] says. The timer may also tell of a pause or of a
/// wait for the body that came after it; HAProxy's date of the request does not.
fn began(record: &[u8], numbers: &Numbers, fetches: &Fetches, stream: &mut Stream<'_>) -> u64 {
    let seen = started(record);
    let earliest = by_timer(seen, numbers);
    if earliest == seen {
        return 0;
    }
    match fetches.first_byte.and_then(|date| stream.evaluate(date)) {
        Some(Value::Int(micros)) => u64::try_from(micros).unwrap_or(0).saturating_mul(1000).clamp(earliest, seen),
        _ => 0,
    }
}

/// RFC 9110, 7.8 and 9.3.6: an upgrade, or `CONNECT`.
fn is_tunnel(record: &Writer, status: u16) -> bool {
    status == 101 || (200..300).contains(&status) && first_field(record.as_bytes(), Field::Method) == b"CONNECT"
}

fn of_client(fetches: &Fetches, stream: &mut Stream<'_>) -> Numbers {
    let [_, _, headers, queue, ..] = &fetches.timers;
    let mut numbers = Numbers {
        status: short(stream, fetches.status.as_ref()),
        server_status: 0,
        client_http_major: small(stream, fetches.client_http.as_ref()),
        timers: [-1, -1, timer(stream, headers.as_ref()), timer(stream, queue.as_ref()), -1, -1],
        ..Numbers::default()
    };
    if let Some(fetch) = &fetches.state
        && let Some(Value::Text(state)) = stream.value(fetch)
        && let Some(state) = state.first_chunk()
    {
        numbers.state = *state;
    }
    numbers
}

/// What there is where a server was chosen.
fn of_server(numbers: &mut Numbers, fetches: &Fetches, stream: &mut Stream<'_>) {
    let [.., connect, answer] = &fetches.timers;
    let [.., connect_slot, answer_slot] = &mut numbers.timers;
    *connect_slot = timer(stream, connect.as_ref());
    *answer_slot = timer(stream, answer.as_ref());
    numbers.server_status = short(stream, fetches.server_status.as_ref());
    numbers.server_http_major = small(stream, fetches.server_http.as_ref());
    numbers.retries = number(stream, fetches.retries.as_ref()).and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    let mut set = |known: u8, bit: u8, truth: Option<bool>| {
        if let Some(truth) = truth {
            numbers.bits |= if truth { known | bit } else { known };
        }
    };
    set(bits::SERVER_TLS_KNOWN, bits::SERVER_TLS, truth(stream, fetches.server_tls.as_ref()));
    if numbers.retries > 0 && truth(stream, fetches.redispatched.as_ref()) == Some(true) {
        numbers.bits |= bits::REDISPATCHED;
    }
}

/// Who spoke to whom, and what the client's connection did before: for spans.
fn addresses(numbers: &mut Numbers, record: &mut Writer, server: bool, fetches: &Fetches, stream: &mut Stream<'_>) {
    let [handshake, idle, ..] = &fetches.timers;
    let [handshake_slot, idle_slot, ..] = &mut numbers.timers;
    *handshake_slot = timer(stream, handshake.as_ref());
    *idle_slot = timer(stream, idle.as_ref());
    address(record, Field::ClientAddress, stream, fetches.client_ip.as_ref());
    numbers.client_port = short(stream, fetches.client_port.as_ref());
    numbers.frontend_port = short(stream, fetches.local_port.as_ref());
    if server {
        address(record, Field::ServerAddress, stream, fetches.server_ip.as_ref());
        numbers.server_port = short(stream, fetches.server_port.as_ref());
        if let Some(reused) = truth(stream, fetches.reused.as_ref()) {
            numbers.bits |= if reused { bits::REUSE_KNOWN | bits::REUSED } else { bits::REUSE_KNOWN };
        }
    }
}

fn of_connection(numbers: &mut Numbers, record: &mut Writer, fetches: &Fetches, stream: &mut Stream<'_>) {
    let [_, _, _, queue, ..] = &mut numbers.timers;
    // HAProxy counts from the end of a request's headers, which it has at -1 where there is no request.
    *queue = if *queue > 0 { *queue - 1 } else { *queue };
    numbers.status = 0;
    let count = |value: Option<i64>| value.and_then(|count| u64::try_from(count).ok()).unwrap_or(ABSENT);
    numbers.bytes_in = count(number(stream, fetches.bytes_in.as_ref()));
    numbers.bytes_out = count(number(stream, fetches.bytes_out.as_ref()));
    if let Some(accepted) = fetches.accepted
        && let Some(Value::Int(micros)) = stream.evaluate(accepted)
    {
        numbers.began = u64::try_from(micros).unwrap_or(0).saturating_mul(1000);
    }
    address(record, Field::LocalAddress, stream, fetches.local_ip.as_ref());
    text(record, Field::Cipher, stream, fetches.cipher.as_ref());
    text(record, Field::ServerName, stream, fetches.server_name.as_ref());
    text(record, Field::NextProtocol, stream, fetches.next_protocol.as_ref());
}

/// Appends a text. Whether there was one.
#[inline]
fn text(record: &mut Writer, field: Field, stream: &mut Stream<'_>, fetch: Option<&Fetch>) -> bool {
    match fetch.and_then(|fetch| stream.value(fetch)) {
        Some(Value::Text(text)) if !text.is_empty() => record.field(field, text),
        _ => false,
    }
}

#[inline]
fn address(record: &mut Writer, field: Field, stream: &mut Stream<'_>, fetch: Option<&Fetch>) {
    match fetch.and_then(|fetch| stream.value(fetch)) {
        Some(Value::V4(address)) => _ = record.field(field, &address),
        Some(Value::V6(address)) => _ = record.field(field, &address),
        _ => {}
    }
}

#[inline]
fn number(stream: &mut Stream<'_>, fetch: Option<&Fetch>) -> Option<i64> {
    match stream.value(fetch?)? {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

#[inline]
fn truth(stream: &mut Stream<'_>, fetch: Option<&Fetch>) -> Option<bool> {
    match stream.value(fetch?)? {
        Value::Bool(truth) => Some(truth),
        _ => None,
    }
}

#[inline]
fn short(stream: &mut Stream<'_>, fetch: Option<&Fetch>) -> u16 {
    number(stream, fetch).and_then(|number| u16::try_from(number).ok()).unwrap_or(0)
}

#[inline]
fn small(stream: &mut Stream<'_>, fetch: Option<&Fetch>) -> u8 {
    number(stream, fetch).and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
}

#[inline]
fn timer(stream: &mut Stream<'_>, fetch: Option<&Fetch>) -> i32 {
    number(stream, fetch).and_then(|millis| i32::try_from(millis).ok()).unwrap_or(-1)
}
