//! A connection in TCP mode in OpenTelemetry's words: one SERVER span.
//!
//! No semantic convention names such a span. It has the general attributes (`network.*`, `client.*`, `server.*`, `tls.*`, semantic
//! conventions 1.44.0) and HAProxy's own.

use super::asked::rules;
use super::span::{Identity, Kind, Span};
use super::{NANOS_PER_MILLI, interval, protocol, tls};
use crate::trace::connection::Connection;
use crate::trace::outcome;
use crate::trace::protobuf::key;
use crate::trace::record::{Response, Server};
use crate::trace::wording::Wording;

/// Appends a connection's span to `out` as a `ScopeSpans.spans` entry.
pub fn encode_connection(connection: &Connection<'_>, wording: &Wording, out: &mut Vec<u8>) {
    let record = &connection.record;
    let Some(noted) = connection.noted() else { return };
    let interval = interval(record);
    let identity = Identity {
        kind: Kind::Server,
        id: record.server_span,
        parent: record.parent,
        name: &[b"TCP ", noted.frontend].concat(),
        start: interval.start,
        end: interval.end,
    };
    let mut span = Span::begin(out, record, &identity);
    network(&mut span, connection, noted);
    security(&mut span, connection, noted);
    handling(&mut span, connection, noted);
    span.timer(key!("haproxy.timer.total"), Some((interval.end - interval.start) / NANOS_PER_MILLI));
    span.outcome(outcome::connection(&connection.ending()));
    rules(&mut span, record);
    let (fixed, count) = &wording.fixed;
    span.encoded(fixed, *count);
    span.end(&wording.limits);
}

fn network(span: &mut Span<'_>, connection: &Connection<'_>, noted: &Response<'_>) {
    span.string(key!("network.transport"), b"tcp");
    if !noted.client_ip.is_empty() {
        let kind: &[u8] = if noted.client_ip.contains(&b':') { b"ipv6" } else { b"ipv4" };
        span.string(key!("network.type"), kind);
    }
    span.present(key!("client.address"), noted.client_ip);
    span.port(key!("client.port"), noted.client_port);
    span.present(key!("network.peer.address"), noted.client_ip);
    span.port(key!("network.peer.port"), noted.client_port);
    span.present(key!("network.local.address"), &connection.local_ip);
    span.port(key!("network.local.port"), noted.frontend_port);
    let asked = if connection.server_name.is_empty() { &connection.local_ip } else { &connection.server_name };
    if !asked.is_empty() {
        span.string(key!("server.address"), asked);
        span.port(key!("server.port"), noted.frontend_port);
    }
}

fn security(span: &mut Span<'_>, connection: &Connection<'_>, noted: &Response<'_>) {
    protocol(span, tls(noted.tls_version));
    span.present(key!("tls.cipher"), &connection.cipher);
    span.present(key!("tls.next_protocol"), &connection.next_protocol);
}

fn handling(span: &mut Span<'_>, connection: &Connection<'_>, noted: &Response<'_>) {
    span.string(key!("haproxy.termination_state"), &connection.record.state.0);
    if let Some(kept) = connection.record.kept {
        span.string(key!("haproxy.sampling.kept"), kept.word().as_bytes());
    }
    span.present(key!("haproxy.frontend.name"), noted.frontend);
    span.present(key!("haproxy.backend.name"), noted.backend);
    if let Server::Real(name) | Server::Applet(name) = noted.server {
        span.string(key!("haproxy.server.name"), name);
        span.present(key!("haproxy.server.address"), noted.server_ip);
        span.port(key!("haproxy.server.port"), noted.server_port);
    }
    if noted.retries.count > 0 {
        span.unsigned(key!("haproxy.retries"), noted.retries.count);
    }
    if noted.retries.redispatched {
        span.bool(b"haproxy.redispatched", true);
    }
    if let Some(bytes) = connection.bytes_in {
        span.unsigned(key!("haproxy.bytes.in"), bytes);
    }
    if let Some(bytes) = connection.bytes_out {
        span.unsigned(key!("haproxy.bytes.out"), bytes);
    }
    span.timer(key!("haproxy.timer.handshake"), noted.timers.handshake.filter(|&millis| millis > 0));
    span.timer(key!("haproxy.timer.queue"), noted.timers.queue);
    span.timer(key!("haproxy.timer.connect"), noted.timers.connect);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;
    use prost::Message;

    use super::*;
    use crate::trace::connection::tests::{VALUES, payload};

    #[test]
    fn a_connection_is_one_server_span_of_its_values() {
        let payload = payload(&[("%ts", "sD"), ("%rc", "+2")], VALUES);
        let mut out = Vec::new();
        encode_connection(
            &Connection::parse(&payload, 1_700_000_000_030_000_000).unwrap(),
            &Wording::default(),
            &mut out,
        );
        let span = &ScopeSpans::decode(&out[..]).unwrap().spans[0];
        assert_eq!((span.name.as_str(), span.kind), ("TCP www", Kind::Server as i32));
        let found: Vec<_> = span.attributes.iter().map(|a| format!("{}={:?}", a.key, a.value)).collect();
        let has = |key: &str, value: &str| {
            let hit = found.iter().any(|one| one.starts_with(&format!("{key}=")) && one.contains(value));
            assert!(hit, "{key}: {found:#?}");
        };
        has("network.type", "ipv4");
        has("server.address", "db.example");
        has("network.local.address", "192.0.2.1");
        has("haproxy.retries", "IntValue(2)");
        has("haproxy.redispatched", "true");
        has("haproxy.bytes.out", "IntValue(20)");
        has("tls.next_protocol", "h 2");
        has("error.type", "server_timeout");
        assert!(!found.iter().any(|one| one.starts_with("http.") || one.starts_with("url.")), "{found:#?}");
    }
}
