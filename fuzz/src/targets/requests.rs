//! A request's way through the tracing side: headers, what HAProxy carries, the finished record, spans.

use std::net::IpAddr;
use std::sync::Arc;

use haproxy_vitals::config::{AttributesConfig, Config, Forwarded};
use haproxy_vitals::export::ring as rings;
use haproxy_vitals::trace::carry::{AttributeValue, Carry, Field, MAX_LEN, TRACEPARENT_LEN, Verdict, with_attribute};
use haproxy_vitals::trace::headers::write_block;
use haproxy_vitals::trace::incoming::Incoming;
use haproxy_vitals::trace::recent::Query;
use haproxy_vitals::trace::record::{Record, RecordError};
use haproxy_vitals::trace::w3c::Traceparent;

use super::setup::{Setup, both};
use super::{halves, spans, until_nul};

/// What HAProxy carries, read from anywhere.
pub(crate) fn carry(data: &[u8]) {
    let Some((carry, rest)) = Carry::parse(data) else { return };
    assert!(data.ends_with(rest));
    let before = carry.attributes().count();
    let _ = carry.attributes().beside(Field::Header).count();
    for value in [AttributeValue::Text(rest), AttributeValue::Integer(i64::MIN), AttributeValue::Bool(true)] {
        let Some(longer) = with_attribute(data, b"app.rule", value) else { continue };
        assert!(longer.len() <= MAX_LEN);
        let (read, after) = Carry::parse(&longer).expect("what is written is read");
        assert!(after.is_empty());
        // One that cannot be read ends the walk, and cannot be written.
        assert!(read.attributes().count() <= before + 1);
    }
}

/// A finished request, read from anywhere.
pub(crate) fn records(data: &[u8]) {
    for setup in both() {
        if let Ok(record) = Record::parse(data, spans::END, setup.gathered()) {
            spans::of(&record, setup);
            spans::beside(&record, data, setup);
            spans::measured(&record, setup);
        }
    }
}

/// What the profile hands over, an empty line, and how the request ended: the values after the context, or `!`, two bytes of
/// termination state, and the values, if there was a response.
pub(crate) fn whole(data: &[u8]) {
    let (profile, end) = halves(until_nul(data), b"\n\n");
    let profile = [profile, b"\n\n"].concat();
    for setup in both() {
        request(setup, &Incoming::of_profile(&profile), end);
    }
}

/// The first line is the value of the forwarding headers, the second the client's address.
pub(crate) fn forwarding(data: &[u8]) {
    let (hops, peer) = halves(until_nul(data), b"\n");
    let peer = peer.split(|&byte| byte == b' ').next().unwrap_or_default();
    let block = write_block(&[(b"x-forwarded-for", hops), (b"Forwarded", hops), (b"x-forwarded-host", hops)]);
    for forwarded in [Forwarded::XForwarded, Forwarded::Standard] {
        let trusted = ["192.0.2.0/24", "10.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network"));
        let attributes =
            AttributesConfig { trusted_networks: trusted.to_vec(), forwarded, ..AttributesConfig::default() };
        let setup = Setup::new(Config { attributes, ..Config::default() });
        let end = [b"-- 200 b s - - ", peer, b" 80 www 443 - 0 0 0 0 0 0 0 1700000000000000 1 1 0 0 0 GET / HTTP/1.1"];
        let Some(payload) = payload(&setup, &Incoming::of_headers(&block), &end.concat()) else { continue };
        let record = Record::parse(&payload, spans::END, 0).expect("a whole record");
        let made = spans::of(&record, &setup);
        let is_trusted = |peer: IpAddr| setup.config.attributes.trusted_networks.iter().any(|net| net.contains(&peer));
        let peer = std::str::from_utf8(peer).ok().and_then(|peer| peer.parse::<IpAddr>().ok());
        if let Some(peer) = peer.map(|peer| peer.to_canonical()) {
            let client = spans::address(&made[0], "client.address").map(|client| client.to_canonical());
            // Who is not trusted speaks for nobody but himself.
            assert!(client.is_some() && (is_trusted(peer) || client == Some(peer)), "{client:?} {peer}");
        }
    }
}

/// A query of an operator's: words, and a payload after the first line.
pub(crate) fn recent(data: &[u8]) {
    let (words, payload) = halves(data, b"\n");
    let Ok(words) = std::str::from_utf8(words) else { return };
    match Query::parse(words.split_whitespace()) {
        Ok(query) => both().into_iter().for_each(|setup| spans::shown(payload, setup, &query)),
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
}

/// Each byte is a step: a record of so many bytes, or for the highest ones so many records read.
pub(crate) fn ring(data: &[u8]) {
    let (mut writer, mut reader) = rings::ring(1024, Arc::default());
    let mut sent = std::collections::VecDeque::new();
    for (number, &step) in (0_u64..).zip(data) {
        if step < 0xf0 {
            let payload = vec![step; usize::from(step) * 5];
            if writer.push(number, &payload).is_ok() {
                sent.push_back((number, payload));
            }
        } else {
            reader.drain(usize::from(step - 0xf0), |end, payload| {
                assert_eq!(sent.pop_front(), Some((end, payload.to_vec())));
            });
        }
    }
    drop(writer);
    reader.drain(usize::MAX, |end, payload| assert_eq!(sent.pop_front(), Some((end, payload.to_vec()))));
    assert!(sent.is_empty() && reader.is_finished());
}

fn request(setup: &Setup, incoming: &Incoming<'_>, end: &[u8]) {
    let Some(payload) = payload(setup, incoming, end) else { return };
    match Record::parse(&payload, spans::END, setup.gathered()) {
        Ok(record) => {
            spans::of(&record, setup);
            spans::beside(&record, &payload, setup);
        }
        Err(error) => assert!(matches!(error, RecordError::Fields { .. }), "{error}"),
    }
}

/// What arrives at the other end of the ring when the request ends; `None` if nothing does.
pub(super) fn payload(setup: &Setup, incoming: &Incoming<'_>, end: &[u8]) -> Option<Vec<u8>> {
    let (mut hot, mut reader) = setup.hot();
    let carried = hot.begin(incoming).to_vec();
    assert!(carried.len() <= MAX_LEN && !carried.contains(&0));
    Traceparent::parse(&carried[..TRACEPARENT_LEN]).expect("a valid header for the server");
    let recorded = Verdict::is_recorded(&carried);
    if recorded || carried.len() > TRACEPARENT_LEN {
        let (carry, rest) = Carry::parse(&carried).expect("what is written is read");
        assert!(rest.is_empty() && carry.verdict.recorded == recorded);
    }
    let payload = match end {
        [b'!', cause, phase] => [&[*cause, *phase, b' '], &carried[..]].concat(),
        [b'!', cause, phase, values @ ..] => {
            [&[*cause, *phase, b' '], &carried[..], b" ", &carried, b" ", values].concat()
        }
        values => [&carried, &b" "[..], values].concat(),
    };
    hot.end(&payload);
    let mut arrived = None;
    let count = reader.drain(usize::MAX, |_, payload| arrived = Some(payload.to_vec()));
    assert_eq!((count, arrived.is_some()), (usize::from(recorded), recorded));
    assert!(arrived.is_none() || arrived.as_ref() == Some(&payload));
    arrived
}
