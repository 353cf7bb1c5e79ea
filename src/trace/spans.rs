//! A finished request in OpenTelemetry's words: one SERVER span, and one CLIENT span if a server was chosen.
//!
//! HTTP semantic conventions 1.44.0 ("HTTP server", "HTTP client"); what is HAProxy's own is `haproxy.*`. Timers are
//! whole milliseconds and left out where the step was not reached. Every attribute is a row of `docs/attributes.md`.

mod asked;
mod connection;
mod events;
mod facts;
mod phases;
mod shared;
mod span;
#[cfg(test)]
mod tests;
mod text;
mod url;

use std::borrow::Cow;

use super::outcome;
use super::protobuf::key;
use super::record::{Field, Record, RequestLine, Response, Server};
use super::wording::{Call, Origin, QueryRules, Wording};
pub(super) use facts::{Facts, client_interval, interval};

use asked::rpc;
use phases::Phases;
use shared::Parts;
pub use shared::Shared;
use span::{Identity, Kind, Span};
use text::Text;
use url::Authority;

/// Appends a request's spans to `out` as `ScopeSpans.spans` entries, and says how many: one, two, and those of phases; one of a
/// connection in TCP mode. `shared` remembers what many requests have in common.
pub fn encode(record: &Record<'_>, wording: &Wording, shared: &mut Shared, out: &mut Vec<u8>) -> u64 {
    if record.is_connection {
        connection::encode(record, wording, out);
        return 1;
    }
    let interval = interval(record);
    let extras = if wording.asks { Some(Extras::new(record, wording)) } else { None };
    let server = upstream(record);
    let phases = Phases::new(record, interval);
    let request = Request {
        record,
        wording,
        interval,
        phases,
        known: is_known(record.request.method, wording),
        extras: extras.as_ref(),
    };
    let parts = if extras.is_some() { None } else { shared.parts(&request, server) };
    request.server(parts, out);
    let mut count = 1;
    if let Some(server) = server {
        request.client(server, parts, out);
        count += 1;
    }
    if extras.is_some() {
        count += request.phases(server, out);
    }
    count
}

/// Unix time, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Interval {
    /// Seconds.
    pub(super) const fn seconds(self) -> f64 {
        self.end.saturating_sub(self.start) as f64 / 1e9
    }
}

/// One request, and how its spans are worded.
struct Request<'r, 'a> {
    record: &'r Record<'a>,
    wording: &'r Wording,
    interval: Interval,
    phases: Phases,
    /// The method is known.
    known: bool,
    /// Absent where no setting asks for any.
    extras: Option<&'r Extras<'a>>,
}

/// What the server was sent.
struct Sent<'r, 'a> {
    request: RequestLine<'a>,
    /// The method is known.
    known: bool,
    authority: Authority<'a>,
    /// The server's TLS, name and version.
    tls: Option<(&'static [u8], &'a [u8])>,
    scheme: &'static [u8],
    /// The span's name.
    name: &'r [u8],
}

/// What settings ask for.
#[derive(Default)]
struct Extras<'a> {
    /// What was gathered; empty if nothing was.
    values: Vec<Option<&'a [u8]>>,
    /// The request is gRPC's.
    call: Option<Call>,
    /// What a trusted proxy says of the client.
    origin: Origin<'a>,
}

/// The chosen server's name. A redirect may answer after a server was chosen, without a connection to it.
fn upstream<'a>(record: &Record<'a>) -> Option<&'a [u8]> {
    let response = &record.response;
    match response.server {
        Server::Real(_) if record.is_single() => None,
        Server::Real(_) if response.state.is_local() && response.timers.connect.is_none() => None,
        Server::Real(name) => Some(name),
        Server::None | Server::Applet(_) => None,
    }
}

impl<'a> Request<'_, 'a> {
    fn server(&self, parts: Option<&Parts>, out: &mut Vec<u8>) {
        let (record, wording) = (self.record, self.wording);
        let response = &record.response;
        let route = self.route();
        let name = self.server_name(route);
        let identity = Identity {
            kind: Kind::Server,
            id: record.server_span,
            parent: record.parent,
            name: &name,
            start: self.interval.start,
            end: self.interval.end,
        };
        let mut span = Span::open(out, record, &identity);
        // What was asked for comes first: a limit on attributes keeps it.
        target(&mut span, &record.request, &wording.query);
        if let Some(parts) = parts {
            span.copied(&parts.server);
        } else {
            span.named(&identity);
            self.server_part(&mut span);
        }
        if let Some(route) = route {
            span.string(key!("http.route"), route);
        }
        self.client_addresses(&mut span);
        span.present(key!("user_agent.original"), record.user_agent);
        if let Some(kept) = record.kept {
            span.string(key!("haproxy.sampling.kept"), kept.word().as_bytes());
        }
        timers(&mut span, response, self.interval);
        if let Some(extras) = self.extras {
            self.tls_from_client(&mut span, &extras.values);
        }
        self.rules(&mut span);
        if let Some(extras) = self.extras {
            self.asked_of_server(extras, &mut span);
        }
        if let Some(link) = &record.link {
            span.link(link, &wording.limits);
        }
        span.end(&wording.limits);
    }

    /// What the SERVER spans of many requests have in common.
    fn server_part(&self, span: &mut Span<'_>) {
        let (record, response) = (self.record, &self.record.response);
        method(span, record.request.method, self.known);
        incoming(span, response, &record.request, self.extras.and_then(|extras| extras.origin.scheme));
        self.server_address(span);
        span.string(key!("haproxy.termination_state"), &response.state.0);
        handling(span, response);
        tunnel(span, record, response);
        let mut outcome = outcome::server(&record.ending());
        if let Some(extras) = self.extras {
            outcome = rpc(extras, span, outcome, true);
        }
        span.outcome(outcome);
    }

    /// The server's leg: what was sent to it and what it answered.
    fn client(&self, server: &[u8], parts: Option<&Parts>, out: &mut Vec<u8>) {
        let (record, query) = (self.record, &self.wording.query);
        let identity = |name| Identity {
            kind: Kind::Client,
            id: record.client_span,
            parent: Some(record.server_span),
            name,
            start: self.phases.left_queue,
            end: self.phases.forwarded,
        };
        let mut span;
        if let Some(parts) = parts {
            span = Span::open(out, record, &identity(b""));
            span.copied(&parts.client);
            let sent = record.response.sent.request(&record.request);
            span.built(b"url.full", |out| {
                out.extend_from_slice(&parts.url);
                url::push_target(out, &sent.target, query);
            });
        } else {
            let sent = self.sent();
            span = Span::begin(out, record, &identity(sent.name));
            span.built(b"url.full", |out| {
                url::push_origin(out, sent.scheme, &sent.authority);
                url::push_target(out, &sent.request.target, query);
            });
            self.client_part(server, &sent, &mut span);
        }
        if self.extras.is_some() {
            self.asked_of_client(&record.response, &mut span);
        }
        span.end(&self.wording.limits);
    }

    /// What the CLIENT spans of many requests have in common.
    fn client_part(&self, server: &[u8], sent: &Sent<'_, 'a>, span: &mut Span<'_>) {
        let response = &self.record.response;
        method(span, sent.request.method, sent.known);
        let peer = response.server_ip.map(Text::of);
        let peer = peer.as_ref().map(Text::as_bytes).unwrap_or_default();
        let host = if sent.authority.host.is_empty() { peer } else { sent.authority.host };
        span.string(key!("server.address"), host);
        span.port(key!("server.port"), sent.authority.port.or(response.server_port));
        span.present(key!("network.peer.address"), peer);
        span.port(key!("network.peer.port"), response.server_port);
        span.present(key!("network.protocol.version"), protocol_version(response.server_http_major, b""));
        protocol(span, sent.tls);
        if response.retries.count > 0 {
            span.unsigned(key!("http.request.resend_count"), response.retries.count);
        }
        span.present(key!("haproxy.backend.name"), response.backend);
        span.string(key!("haproxy.server.name"), server);
        if let Some(reused) = response.connection_reused {
            span.bool(b"haproxy.connection.reused", reused);
        }
        let mut outcome = outcome::client(&self.record.ending());
        if let Some(extras) = self.extras {
            outcome = rpc(extras, span, outcome, false);
        }
        span.outcome(outcome);
    }

    /// What the server was sent.
    fn sent(&self) -> Sent<'_, 'a> {
        let (record, response) = (self.record, &self.record.response);
        let request = response.sent.request(&record.request);
        let known = if response.sent.method.is_empty() { self.known } else { is_known(request.method, self.wording) };
        let mut authority = match response.sent.host {
            b"" => authority(record),
            host => Authority::parse(host),
        };
        if authority.host.is_empty() {
            authority = Authority::of_peer(response.server_ip, response.server_port);
        }
        let tls = self.value(self.wording.tls.to_server).and_then(tls);
        let secure = response.server_tls.unwrap_or(tls.is_some());
        let name = self.call().map_or(method_name(request.method, known), Call::name);
        Sent { request, known, authority, tls, scheme: if secure { b"https" } else { b"http" }, name }
    }

    /// HTTP semantic conventions, "Name": never the path. RPC semantic conventions, "Span name": the method.
    fn server_name(&self, route: Option<&[u8]>) -> Cow<'_, [u8]> {
        if let Some(name) = self.value(self.wording.name_variable) {
            return lossy(name);
        }
        match (self.call(), route) {
            (Some(call), _) => call.name().into(),
            (None, Some(route)) => [self.method_name(), b" ", &lossy(route)].concat().into(),
            (None, None) => self.method_name().into(),
        }
    }

    fn route(&self) -> Option<&[u8]> {
        self.extras?;
        let named = self.value(self.wording.route_variable);
        let RequestLine { method, target, .. } = &self.record.request;
        named.or_else(|| self.wording.routes.find(method, target.path))
    }

    /// The method as it stands in names.
    fn method_name(&self) -> &'a [u8] {
        method_name(self.record.request.method, self.known)
    }

    fn client_addresses(&self, span: &mut Span<'_>) {
        let response = &self.record.response;
        let Some(peer) = response.client_ip else { return };
        let peer = Text::of(peer);
        match self.extras.and_then(|extras| extras.origin.client) {
            Some(client) => span.string(key!("client.address"), Text::of(client).as_bytes()),
            None => span.string(key!("client.address"), peer.as_bytes()),
        }
        span.string(key!("network.peer.address"), peer.as_bytes());
        span.port(key!("network.peer.port"), response.client_port);
    }

    fn server_address(&self, span: &mut Span<'_>) {
        let before = self.extras.map_or(&b""[..], |extras| extras.origin.host);
        if !before.is_empty() {
            let before = Authority::parse(before);
            span.string(key!("server.address"), before.host);
            span.port(key!("server.port"), before.port);
            return;
        }
        let asked = authority(self.record);
        if !asked.host.is_empty() {
            span.string(key!("server.address"), asked.host);
            span.port(key!("server.port"), asked.port.or(self.record.response.frontend_port));
        }
    }
}

fn method(span: &mut Span<'_>, method: &[u8], known: bool) {
    if known {
        span.string(key!("http.request.method"), method);
    } else {
        span.string(key!("http.request.method"), b"_OTHER");
        span.present(key!("http.request.method_original"), method);
    }
}

fn method_name(method: &[u8], known: bool) -> &[u8] {
    if known { method } else { b"HTTP" }
}

/// What is not UTF-8 becomes U+FFFD.
fn lossy(text: &[u8]) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

fn target(span: &mut Span<'_>, request: &RequestLine<'_>, rules: &QueryRules) {
    if request.method.is_empty() {
        return;
    }
    span.string(key!("url.path"), request.target.path);
    if let Some(query) = request.target.query.filter(|query| !query.is_empty() && *rules != QueryRules::Drop) {
        span.built(b"url.query", |out| rules.push(out, query));
    }
}

fn incoming(span: &mut Span<'_>, response: &Response<'_>, request: &RequestLine<'_>, scheme: Option<&[u8]>) {
    let own: &[u8] = if response.tls_version.is_empty() { b"http" } else { b"https" };
    span.string(key!("url.scheme"), scheme.unwrap_or(own));
    protocol(span, tls(response.tls_version));
    let version = protocol_version(response.client_http_major, request.version);
    span.present(key!("network.protocol.version"), version);
}

fn protocol(span: &mut Span<'_>, tls: Option<(&[u8], &[u8])>) {
    if let Some((name, version)) = tls {
        span.string(key!("tls.protocol.name"), name);
        span.string(key!("tls.protocol.version"), version);
    }
}

fn handling(span: &mut Span<'_>, response: &Response<'_>) {
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
}

fn timers(span: &mut Span<'_>, response: &Response<'_>, interval: Interval) {
    let timers = response.timers;
    span.timer(key!("haproxy.timer.handshake"), timers.handshake.filter(|&millis| millis > 0));
    span.timer(key!("haproxy.timer.idle"), timers.idle.filter(|&millis| millis > 0));
    span.timer(key!("haproxy.timer.request_headers"), timers.request_headers);
    span.timer(key!("haproxy.timer.queue"), timers.queue);
    span.timer(key!("haproxy.timer.connect"), timers.connect);
    span.timer(key!("haproxy.timer.response_headers"), timers.response_headers);
    span.timer(key!("haproxy.timer.total"), Some((interval.end - interval.start) / NANOS_PER_MILLI));
}

/// What the connection became, where it became something else than HTTP. HAProxy turns RFC 8441's extended CONNECT into an upgrade.
fn tunnel(span: &mut Span<'_>, record: &Record<'_>, response: &Response<'_>) {
    let kind: &[u8] = match response.status {
        Some(101) if record.carried(Field::Upgrade).eq_ignore_ascii_case(b"websocket") => b"websocket",
        Some(101) => b"upgrade",
        Some(200..=299) if record.request.method == b"CONNECT" => b"connect",
        _ => return,
    };
    span.string(key!("haproxy.tunnel"), kind);
}

/// HTTP semantic conventions, `http.request.method`: case-sensitive.
fn is_known(method: &[u8], wording: &Wording) -> bool {
    match &wording.methods {
        Some(methods) => methods.iter().any(|known| known == method),
        None => matches!(
            method,
            b"GET" | b"POST" | b"PUT" | b"HEAD" | b"DELETE" | b"OPTIONS" | b"PATCH" | b"CONNECT" | b"TRACE" | b"QUERY"
        ),
    }
}

/// Whom the client asked for: `Host`, or else the target's own.
fn authority<'a>(record: &Record<'a>) -> Authority<'a> {
    let target = || record.request.target.authority;
    Authority::parse(if record.host.is_empty() { target() } else { record.host })
}

/// `network.protocol.version`; empty if unknown. HAProxy's own connection says it better than a line that may be cut.
pub(super) const fn protocol_version(major: Option<u64>, line: &[u8]) -> &'static [u8] {
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
