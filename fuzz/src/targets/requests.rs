//! A request's way through the tracing side: headers, the record, spans.

use std::net::IpAddr;
use std::sync::Arc;

use haproxy_vitals::config::{AttributesConfig, Config, Forwarded};
use haproxy_vitals::export::ring as rings;
use haproxy_vitals::trace::headers::{Block, write_block};
use haproxy_vitals::trace::htx::{self, Layout, Message};
use haproxy_vitals::trace::incoming::{Arrival, Incoming};
use haproxy_vitals::trace::recent::Query;
use haproxy_vitals::trace::record::{
    Field, HEAD_LEN, Head, MAX_LEN, MAX_START, Numbers, RECORDED, Record, RecordError, Writer, first_field,
};
use haproxy_vitals::trace::w3c::Traceparent;

use super::setup::{Setup, both};
use super::{halves, spans, until_nul};

/// A finished request, read from anywhere.
pub(crate) fn records(data: &[u8]) {
    // As it is, and as one whose end is wanted.
    let mut wanted = data.to_vec();
    wanted.first_mut().into_iter().for_each(|bits| *bits |= RECORDED);
    for payload in [data, &wanted] {
        let _ = first_field(payload, Field::Active);
        match Record::parse(payload, spans::END) {
            Ok(record) => {
                assert_eq!(Head::read(payload).map(|(head, _)| head.trace_id), Some(record.trace_id));
                assert!(record.attributes().count() <= payload.len());
                for setup in both() {
                    spans::of(&record, setup);
                    spans::beside(&record, payload, setup);
                    spans::measured(&record, setup);
                }
            }
            Err(RecordError::Head) => assert!(payload.len() < HEAD_LEN),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A message in HAProxy's buffer, read from anywhere.
pub(crate) fn message(data: &[u8]) {
    for layout in LAYOUTS {
        if let Some(trailers) = Message::trailers(data, layout) {
            pairs_lie_in(data, trailers);
        }
        let Some(message) = Message::new(data, layout) else { continue };
        let [method, target, version] = message.start_line().map_or([&b""[..]; 3], |line| line.parts);
        assert!(method.len() + target.len() + version.len() <= data.len());
        pairs_lie_in(data, message.headers());
        let request = Incoming { headers: Block::Message(message), method, target, version, ..Incoming::default() };
        for setup in both() {
            begun(setup, &request);
        }
    }
}

/// A request line, perhaps with frontend, source and `tls`; headers; an empty line; how it ended.
pub(crate) fn whole(data: &[u8]) {
    let (head, end) = halves(data, b"\n\n");
    let mut lines = head.split(|&byte| byte == b'\n');
    let words: Vec<_> = lines.next().unwrap_or_default().split(|&byte| byte == b' ').collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let source = std::str::from_utf8(word(4)).ok().and_then(|source| source.parse().ok());
    let arrival = (words.len() > 3).then(|| Arrival { frontend: word(3), source, tls: word(5) == b"tls" });
    let named = lines.filter_map(|line| {
        let (name, value) = halves(line, b": ");
        // HAProxy's names are in lower case, and this short.
        (!name.contains(&b':') && name.len() < 256).then(|| (name.to_ascii_lowercase(), value))
    });
    let named: Vec<_> = named.collect();
    let pairs: Vec<_> = named.iter().map(|(name, value)| (name.as_slice(), *value)).collect();
    let text = write_block(&pairs);
    let messages = LAYOUTS.map(|layout| (layout, htx::write(layout, [word(0), word(1), word(2)], &pairs)));
    let messages = messages.each_ref().map(|(layout, bytes)| Message::new(bytes, *layout).expect("a message"));
    for message in &messages {
        assert_eq!(message.start_line().map(|line| line.parts), Some([word(0), word(1), word(2)]));
        assert!(message.headers().eq(pairs.iter().copied()));
    }
    let [older, newer, newest] = messages.map(Block::Message);
    for setup in both() {
        let records = [Block::Text(&text), older, newer, newest].map(|headers| {
            let version = word(2).strip_prefix(b"HTTP/").unwrap_or_default();
            let single_span = word(0) == b"ONE";
            let (method, target) = (word(0), word(1));
            let request = Incoming { headers, method, target, version, single_span, arrival, ..Incoming::default() };
            request_of(setup, &request, end);
            begun(setup, &request)
        });
        // All say the same, but for ids.
        assert!(records.iter().all(|record| *record == records[0]));
    }
}

/// The first line is the value of the forwarding headers, the second the client's address.
pub(crate) fn forwarding(data: &[u8]) {
    let (hops, peer) = halves(until_nul(data), b"\n");
    let peer = peer.split(|&byte| byte == b' ').next().unwrap_or_default();
    let peer = std::str::from_utf8(peer).ok().and_then(|peer| peer.parse::<IpAddr>().ok());
    let block = write_block(&[(b"x-forwarded-for", hops), (b"Forwarded", hops), (b"x-forwarded-host", hops)]);
    for forwarded in [Forwarded::XForwarded, Forwarded::Standard] {
        let trusted = ["192.0.2.0/24", "10.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network"));
        let attributes =
            AttributesConfig { trusted_networks: trusted.to_vec(), forwarded, ..AttributesConfig::default() };
        let setup = Setup::new(Config { attributes, ..Config::default() });
        let payload = payload(&setup, &Incoming::of_headers(&block), |record| {
            address(record, Field::ClientAddress, peer);
            record.numbers(&Numbers::default());
        });
        let Some(payload) = payload else { continue };
        let record = Record::parse(&payload, spans::END).expect("a whole record");
        let made = spans::of(&record, &setup);
        let is_trusted = |peer: IpAddr| setup.config.attributes.trusted_networks.iter().any(|net| net.contains(&peer));
        let client = spans::address(&made[0], "client.address").map(|client| client.to_canonical());
        if let Some(peer) = peer.map(|peer| peer.to_canonical()) {
            // Who is not trusted speaks for nobody but himself.
            assert!(client.is_some() && (is_trusted(peer) || client == Some(peer)), "{client:?} {peer}");
        } else {
            assert_eq!(client, None);
        }
    }
}

/// A query of an operator's: words, and a payload after the first line.
pub(crate) fn recent(data: &[u8]) {
    let (words, payload) = halves(data, b"\n");
    let Ok(words) = std::str::from_utf8(words) else { return };
    match Query::parse(words.split_whitespace()) {
        Ok(query) => spans::shown(payload, &query),
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

/// A request from its begin to its spans.
fn request_of(setup: &Setup, incoming: &Incoming<'_>, end: &[u8]) {
    let Some(payload) = payload(setup, incoming, |record| write_end(end, record)) else { return };
    assert!(payload.len() <= MAX_LEN + 3 + NUMBERS_LEN);
    let record = Record::parse(&payload, spans::END).expect("what is written is read");
    let kept = &incoming.method[..incoming.method.len().min(Field::Method.max_len())];
    // Headers that come before it may have taken the room.
    assert!(record.request.method == kept || record.request.method.is_empty());
    spans::of(&record, setup);
    spans::beside(&record, &payload, setup);
}

/// What the start of a request writes, without ids and times; `None` where its end is not wanted.
fn begun(setup: &Setup, incoming: &Incoming<'_>) -> Option<Vec<u8>> {
    let (mut hot, _) = setup.hot();
    let mut record = Writer::new();
    let begun = hot.begin(incoming, &mut record);
    assert_eq!(begun.recorded, record.is_recorded());
    assert!(record.as_bytes().len() <= MAX_START && hot.tracestate().len() <= 512);
    let sent = Traceparent::parse(&begun.traceparent()).expect("a valid header for the server");
    assert_eq!((sent.trace_id, sent.parent_id), (begun.sent.trace_id, begun.sent.span_id));
    let (head, fields) = Head::read(record.as_bytes())?;
    assert_eq!(haproxy_vitals::trace::propagation::Sent::of(&head), begun.sent);
    Some([&[u8::from(head.verdict.sampled), head.flags], fields].concat())
}

/// What arrives at the other end of the ring when the request ends; `None` if nothing does. It ends once.
pub(super) fn payload(setup: &Setup, incoming: &Incoming<'_>, rest: impl Fn(&mut Writer)) -> Option<Vec<u8>> {
    let (mut hot, mut reader) = setup.hot();
    let mut record = Writer::new();
    let recorded = hot.begin(incoming, &mut record).recorded;
    let carried = record.as_bytes().to_vec();
    for _ in 0..2 {
        hot.finish(&carried, |record| rest(record));
    }
    let mut arrived = None;
    let count = reader.drain(usize::MAX, |_, payload| arrived = Some(payload.to_vec()));
    assert_eq!((count, arrived.is_some()), (usize::from(recorded), recorded));
    assert!(arrived.as_ref().is_none_or(|payload| payload.starts_with(&carried)));
    arrived
}

/// [`Numbers`] as they are in a record, then lines: a letter that names a field, and its value.
fn write_end(end: &[u8], record: &mut Writer) {
    let (numbers, lines) = end.split_at_checked(NUMBERS_LEN).unwrap_or((end, b""));
    for line in lines.split(|&byte| byte == b'\n') {
        let Some((letter, value)) = line.split_first() else { continue };
        let field = match letter {
            b'f' => Field::Frontend,
            b'b' => Field::Backend,
            b's' => Field::Server,
            b't' => Field::Tls,
            b'm' => Field::SentMethod,
            b'u' => Field::SentTarget,
            b'h' => Field::SentHost,
            b'r' => Field::RpcStatus,
            b'a' | b'c' => {
                let text = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                address(record, if *letter == b'a' { Field::ServerAddress } else { Field::ClientAddress }, text);
                continue;
            }
            place => {
                record.gathered(*place, value, 512);
                continue;
            }
        };
        record.present(field, value);
    }
    record.numbers(&Numbers::read(numbers).unwrap_or_default());
}

fn address(record: &mut Writer, field: Field, address: Option<IpAddr>) {
    match address {
        Some(IpAddr::V4(address)) => drop(record.field(field, &address.octets())),
        Some(IpAddr::V6(address)) => drop(record.field(field, &address.octets())),
        None => {}
    }
}

/// Every name and value is part of the message, in order and apart from each other.
fn pairs_lie_in<'a>(data: &'a [u8], pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let bounds = data.as_ptr_range();
    let mut count = 0;
    for (name, value) in pairs {
        count += 1;
        assert!(bounds.start <= name.as_ptr() && name.as_ptr_range().end == value.as_ptr());
        assert!(value.as_ptr_range().end <= bounds.end);
    }
    // Each has a descriptor of its own.
    assert!(count <= data.len() / 8);
}

/// How versions of HAProxy lay a message out.
const LAYOUTS: [Layout; 3] = [
    Layout { positions: 8, contents: 48 },
    Layout { positions: 8, contents: 40 },
    Layout { positions: 12, contents: 40 },
];

/// Bytes of [`Numbers`].
const NUMBERS_LEN: usize = 100;
