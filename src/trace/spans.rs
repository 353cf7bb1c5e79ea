//! A finished request in OpenTelemetry's words: one SERVER span, and one CLIENT span if a server was chosen.
//!
//! HTTP semantic conventions 1.44.0 ("HTTP server", "HTTP client"); what is HAProxy's own is `haproxy.*`. Timers are
//! whole milliseconds and left out where the step was not reached.

mod connection;
mod span;
#[cfg(test)]
mod tests;
mod url;

pub use connection::encode_connection;

use super::carry::AttributeValue;
use super::outcome;
use super::protobuf::key;
use super::record::{Record, RequestLine, Response, Server};
use span::{Kind, Span};
use url::Authority;

/// Appends a request's spans to `out` as `ScopeSpans.spans` entries, and says how many: one or two.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) -> u64 {
    let response = record.response.as_ref();
    let start = record.start_unix_nanos.unwrap_or(record.end_unix_nanos);
    let interval = Interval { start, end: record.end_unix_nanos.max(start) };
    let authority = authority(record);
    server(record, &authority, interval, out);
    match response.and_then(|response| upstream(record, response).map(|name| (response, name))) {
        Some((response, name)) => {
            client(record, response, name, authority, interval, out);
            2
        }
        None => 1,
    }
}

/// Unix time, nanoseconds.
#[derive(Clone, Copy)]
struct Interval {
    start: u64,
    end: u64,
}

/// The chosen server's name. A redirect may answer after a server was chosen, without a connection to it.
fn upstream<'a>(record: &Record<'_>, response: &Response<'a>) -> Option<&'a [u8]> {
    match response.server {
        Server::Real(_) if record.is_single() => None,
        Server::Real(_) if record.state.is_local() && response.timers.connect.is_none() => None,
        Server::Real(name) => Some(name),
        Server::None | Server::Applet(_) => None,
    }
}

fn server(record: &Record<'_>, authority: &Authority<'_>, interval: Interval, out: &mut Vec<u8>) {
    let request = &record.request;
    let outcome = outcome::server(&record.ending());
    let mut span = Span::begin(out, record, Kind::Server, name(request.method), interval.start, interval.end);
    method(&mut span, request.method);
    target(&mut span, request);
    if let Some(response) = &record.response {
        connection(&mut span, response, request);
        peer_of_client(&mut span, response);
    }
    if !authority.host.is_empty() {
        let port = authority.port.or(record.response.as_ref().and_then(|r| r.frontend_port));
        span.string(key!("server.address"), authority.host);
        span.port(key!("server.port"), port);
    }
    span.present(key!("user_agent.original"), record.user_agent);
    span.string(key!("haproxy.termination_state"), &record.state.0);
    if let Some(response) = &record.response {
        handling(&mut span, response, interval);
    }
    attributes_of_rules(&mut span, record);
    span.end(outcome);
}

fn attributes_of_rules(span: &mut Span<'_>, record: &Record<'_>) {
    for (name, value) in record.attributes.clone() {
        match value {
            AttributeValue::Text(text) => span.text(name, text),
            AttributeValue::Integer(number) => span.integer(name, number),
            AttributeValue::Bool(flag) => span.bool(name, flag),
        }
    }
}

fn client<'a>(
    record: &Record<'a>,
    response: &Response<'a>,
    server: &[u8],
    mut upstream: Authority<'a>,
    interval: Interval,
    out: &mut Vec<u8>,
) {
    let request = &record.request;
    let timers = response.timers;
    let waited = timers.request_headers.unwrap_or(0).saturating_add(timers.queue.unwrap_or(0));
    let start = interval.start.saturating_add(waited.saturating_mul(NANOS_PER_MILLI)).min(interval.end);
    let mut span = Span::begin(out, record, Kind::Client, name(request.method), start, interval.end);
    method(&mut span, request.method);
    if upstream.host.is_empty() {
        upstream = Authority::of_peer(response.server_ip, response.server_port);
    }
    span.string(key!("server.address"), upstream.host);
    span.port(key!("server.port"), upstream.port.or(response.server_port));
    span.built(b"url.full", |out| url::push_full(out, &upstream, &request.target));
    span.present(key!("network.peer.address"), response.server_ip);
    span.port(key!("network.peer.port"), response.server_port);
    span.present(key!("network.protocol.version"), protocol_version(response.server_http_major, b""));
    if response.retries.count > 0 {
        span.unsigned(key!("http.request.resend_count"), response.retries.count);
    }
    span.present(key!("haproxy.backend.name"), response.backend);
    span.string(key!("haproxy.server.name"), server);
    if let Some(reused) = response.connection_reused {
        span.bool(b"haproxy.connection.reused", reused);
    }
    span.end(outcome::client(&record.ending()));
}

fn target(span: &mut Span<'_>, request: &RequestLine<'_>) {
    if request.method.is_empty() {
        return;
    }
    span.escaped(key!("url.path"), request.target.path);
    if let Some(query) = request.target.query.filter(|query| !query.is_empty()) {
        span.built(b"url.query", |out| url::push_query(out, query));
    }
}

fn connection(span: &mut Span<'_>, response: &Response<'_>, request: &RequestLine<'_>) {
    span.string(key!("url.scheme"), if response.tls_version.is_empty() { b"http" } else { b"https" });
    if let Some((name, version)) = tls(response.tls_version) {
        span.string(key!("tls.protocol.name"), name);
        span.string(key!("tls.protocol.version"), version);
    }
    let version = protocol_version(response.client_http_major, request.version);
    span.present(key!("network.protocol.version"), version);
}

fn peer_of_client(span: &mut Span<'_>, response: &Response<'_>) {
    span.present(key!("client.address"), response.client_ip);
    span.present(key!("network.peer.address"), response.client_ip);
    span.port(key!("network.peer.port"), response.client_port);
}

fn handling(span: &mut Span<'_>, response: &Response<'_>, interval: Interval) {
    span.present(key!("haproxy.frontend.name"), response.frontend);
    span.present(key!("haproxy.backend.name"), response.backend);
    if let Server::Real(name) | Server::Applet(name) = response.server {
        span.string(key!("haproxy.server.name"), name);
    }
    if response.retries.count > 0 {
        span.unsigned(key!("haproxy.retries"), response.retries.count);
    }
    if response.retries.redispatched {
        span.bool(b"haproxy.redispatched", true);
    }
    let timers = response.timers;
    span.timer(key!("haproxy.timer.handshake"), timers.handshake.filter(|&millis| millis > 0));
    span.timer(key!("haproxy.timer.idle"), timers.idle.filter(|&millis| millis > 0));
    span.timer(key!("haproxy.timer.request_headers"), timers.request_headers);
    span.timer(key!("haproxy.timer.queue"), timers.queue);
    span.timer(key!("haproxy.timer.connect"), timers.connect);
    span.timer(key!("haproxy.timer.response_headers"), timers.response_headers);
    span.timer(key!("haproxy.timer.total"), Some((interval.end - interval.start) / NANOS_PER_MILLI));
}

fn method(span: &mut Span<'_>, method: &[u8]) {
    if is_known(method) {
        span.string(key!("http.request.method"), method);
    } else {
        span.string(key!("http.request.method"), b"_OTHER");
        span.escaped_present(key!("http.request.method_original"), method);
    }
}

/// The span's name: never more than the method. HTTP semantic conventions, "Name".
fn name(method: &[u8]) -> &[u8] {
    if is_known(method) { method } else { b"HTTP" }
}

/// HTTP semantic conventions, `http.request.method`: case-sensitive.
const fn is_known(method: &[u8]) -> bool {
    matches!(
        method,
        b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"PATCH" | b"CONNECT" | b"TRACE" | b"QUERY"
    )
}

/// Whom the client asked for: `Host`, or else the target's own.
fn authority<'a>(record: &Record<'a>) -> Authority<'a> {
    let target = || record.request.target.authority;
    Authority::parse(if record.host.is_empty() { target() } else { record.host })
}

/// `network.protocol.version`; empty if unknown. HAProxy's own connection says it better than a line that may be cut.
const fn protocol_version(major: Option<u64>, line: &[u8]) -> &'static [u8] {
    match (major, line) {
        (Some(1) | None, b"1.0") => b"1.0",
        (Some(1), _) | (None, b"1.1") => b"1.1",
        (Some(2), _) | (None, b"2.0") => b"2",
        (Some(3), _) | (None, b"3.0") => b"3",
        _ => b"",
    }
}

/// `tls.protocol.name` and `.version` from OpenSSL's `TLSv1.3`.
fn tls(version: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let tls = version.strip_prefix(b"TLSv").map(|version| (&b"tls"[..], version));
    tls.or_else(|| version.strip_prefix(b"SSLv").map(|version| (&b"ssl"[..], version)))
}

const NANOS_PER_MILLI: u64 = 1_000_000;
