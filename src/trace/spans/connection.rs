//! A connection in TCP mode in OpenTelemetry's words: one SERVER span.
//!
//! No semantic convention names such a span. It has the general attributes (`network.*`, `client.*`, `server.*`, `tls.*`, semantic
//! conventions 1.44.0) and HAProxy's own.

use super::asked::rules;
use super::span::{Identity, Kind, Span};
use super::text::Text;
use super::{NANOS_PER_MILLI, interval, lossy, protocol, tls};
use crate::trace::outcome;
use crate::trace::protobuf::key;
use crate::trace::record::{Field, Record, Server};
use crate::trace::wording::Wording;

/// Appends a connection's span to `out` as a `ScopeSpans.spans` entry.
pub(super) fn encode(record: &Record<'_>, wording: &Wording, out: &mut Vec<u8>) {
    let interval = interval(record);
    let identity = Identity {
        kind: Kind::Server,
        id: record.server_span,
        parent: record.parent,
        name: &[b"TCP ", &*lossy(record.response.frontend)].concat(),
        start: interval.start,
        end: interval.end,
    };
    let mut span = Span::begin(out, record, &identity);
    network(&mut span, record);
    protocol(&mut span, tls(record.response.tls_version));
    span.present(key!("tls.cipher"), record.carried(Field::Cipher));
    span.present(key!("tls.next_protocol"), record.carried(Field::NextProtocol));
    handling(&mut span, record);
    span.timer(key!("haproxy.timer.total"), Some((interval.end - interval.start) / NANOS_PER_MILLI));
    span.outcome(outcome::connection(&record.ending()));
    rules(&mut span, record);
    let (fixed, count) = &wording.fixed;
    span.encoded(fixed, *count);
    span.end(&wording.limits);
}

fn network(span: &mut Span<'_>, record: &Record<'_>) {
    let response = &record.response;
    span.string(key!("network.transport"), b"tcp");
    if let Some(client) = response.client_ip {
        span.string(key!("network.type"), if client.is_ipv4() { b"ipv4" } else { b"ipv6" });
        let client = Text::of(client);
        span.string(key!("client.address"), client.as_bytes());
        span.port(key!("client.port"), response.client_port);
        span.string(key!("network.peer.address"), client.as_bytes());
        span.port(key!("network.peer.port"), response.client_port);
    }
    let local = record.address(Field::LocalAddress).map(Text::of);
    let local = local.as_ref().map(Text::as_bytes).unwrap_or_default();
    span.present(key!("network.local.address"), local);
    span.port(key!("network.local.port"), response.frontend_port);
    let name = record.carried(Field::ServerName);
    let called = if name.is_empty() { local } else { name };
    if !called.is_empty() {
        span.string(key!("server.address"), called);
        span.port(key!("server.port"), response.frontend_port);
    }
}

fn handling(span: &mut Span<'_>, record: &Record<'_>) {
    let response = &record.response;
    span.string(key!("haproxy.termination_state"), &response.state.0);
    if let Some(kept) = record.kept {
        span.string(key!("haproxy.sampling.kept"), kept.word().as_bytes());
    }
    span.present(key!("haproxy.frontend.name"), response.frontend);
    span.present(key!("haproxy.backend.name"), response.backend);
    if let Server::Real(name) | Server::Applet(name) = response.server {
        span.string(key!("haproxy.server.name"), name);
        if let Some(address) = response.server_ip {
            span.string(key!("haproxy.server.address"), Text::of(address).as_bytes());
        }
        span.port(key!("haproxy.server.port"), response.server_port);
    }
    if response.retries.count > 0 {
        span.unsigned(key!("haproxy.retries"), response.retries.count);
    }
    if response.retries.redispatched {
        span.bool(b"haproxy.redispatched", true);
    }
    if let Some(bytes) = response.bytes_in {
        span.unsigned(key!("haproxy.bytes.in"), bytes);
    }
    if let Some(bytes) = response.bytes_out {
        span.unsigned(key!("haproxy.bytes.out"), bytes);
    }
    span.timer(key!("haproxy.timer.handshake"), response.timers.handshake.filter(|&millis| millis > 0));
    span.timer(key!("haproxy.timer.queue"), response.timers.queue);
    span.timer(key!("haproxy.timer.connect"), response.timers.connect);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;
    use prost::Message;

    use super::*;
    use crate::trace::record::bits;
    use crate::trace::record::sample::Sample;

    #[test]
    fn a_connection_is_one_server_span_of_its_values() {
        let mut sample = Sample::ended("sD")
            .numbers(|numbers| {
                (numbers.retries, numbers.bits, numbers.status) = (2, bits::REDISPATCHED, 0);
                (numbers.bytes_in, numbers.bytes_out) = (10, 20);
            })
            .address(Field::LocalAddress, "192.0.2.1")
            .carrying(Field::ServerName, b"db.example")
            .carrying(Field::NextProtocol, b"h 2");
        sample.head.verdict.connection = true;
        let payload = sample.payload();
        let mut out = Vec::new();
        encode(&Record::parse(&payload, 1_700_000_000_030_000_000).unwrap(), &Wording::default(), &mut out);
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

    #[test]
    fn a_frontend_s_name_that_is_not_utf_8_makes_no_batch_invalid() {
        let mut sample = Sample::default().with(Field::Frontend, b"\xff");
        sample.head.verdict.connection = true;
        let mut out = Vec::new();
        encode(&Record::parse(&sample.payload(), 0).unwrap(), &Wording::default(), &mut out);
        assert_eq!(ScopeSpans::decode(&out[..]).unwrap().spans[0].name, "TCP \u{FFFD}");
    }
}
