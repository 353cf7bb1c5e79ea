//! Formats of propagation: what is read is written, and what is written is read as the same.

use std::sync::Arc;

use haproxy_vitals::config::{Propagator, TracesConfig};
use haproxy_vitals::trace::headers::{Block, write_block};
use haproxy_vitals::trace::hot::Hot;
use haproxy_vitals::trace::incoming::Incoming;
use haproxy_vitals::trace::picked::Picked;
use haproxy_vitals::trace::propagation::doors::DoorPlan;
use haproxy_vitals::trace::propagation::{
    Context, Found, Lines, Policy, Seen, Sent, b3 as b3_codec, baggage as baggage_codec,
};
use haproxy_vitals::trace::propagation::{jaeger as jaeger_codec, xray as xray_codec};
use haproxy_vitals::trace::record::Writer;
use haproxy_vitals::trace::sampler::{self, Change, Sampler};
use haproxy_vitals::trace::w3c::{self, FLAG_SAMPLED, Traceparent, Tracestate, read_tracestate};

use super::until_nul;

/// W3C's `traceparent`.
pub(crate) fn traceparent(data: &[u8]) {
    let Some(read) = Traceparent::parse(data) else { return };
    assert_ne!((read.trace_id, read.parent_id), ([b'0'; 32], [b'0'; 16]));
    let written = w3c::write_traceparent(&read.trace_id, &read.parent_id, read.flags);
    assert_eq!(Traceparent::parse(&written), Some(read));
    assert_eq!(w3c::hex16(w3c::trace_id_low(&read.trace_id)), read.trace_id[16..]);
}

/// W3C's `tracestate`, one line of the input for each header; and the threshold in it.
pub(crate) fn tracestate(data: &[u8]) {
    let mut list = Vec::new();
    let lines: Vec<_> = data.split(|&byte| byte == b'\n').collect();
    let outcome = read_tracestate(lines.iter().copied(), &mut list);
    if matches!(outcome, Tracestate::Absent | Tracestate::Void) {
        return;
    }
    assert!(outcome == Tracestate::AsItCame || !list.is_empty());
    is_plain(&list);
    for change in [Change::Erase, Change::Set(0), Change::Set(0x00ab_cdef_0000_0000), Change::Leave] {
        let mut changed = list.clone();
        if sampler::change_threshold(change, &mut changed, &mut Vec::new()) {
            is_plain(&changed);
            let mut again = changed.clone();
            assert!(!sampler::change_threshold(change, &mut again, &mut Vec::new()), "{changed:?}");
        } else {
            assert_eq!(changed, list);
        }
    }
}

/// Within the bound, and read as it is.
fn is_plain(list: &[u8]) {
    assert!(list.len() <= 512);
    if !list.is_empty() {
        let mut again = Vec::new();
        assert_eq!(read_tracestate([list].into_iter(), &mut again), Tracestate::AsItCame);
        assert_eq!(again, list);
    }
}

/// B3's single header, and a block with several.
pub(crate) fn b3(data: &[u8]) {
    agrees(data, b3_codec::read_single, b3_codec::write_single);
    if let Some(Found::Context(context)) = b3_codec::read(&Lines::read(&Block::Text(data))) {
        is_valid(&context);
    }
    let values: Vec<_> = data.split(|&byte| byte == b'\n').collect();
    let names = [&b"x-b3-traceid"[..], b"x-b3-spanid", b"x-b3-sampled", b"x-b3-flags"];
    let headers: Vec<_> = names.into_iter().zip(values).filter(|(_, value)| !value.is_empty()).collect();
    let block = write_block(&headers);
    if let Some(Found::Context(context)) = b3_codec::read_multi(&Lines::read(&Block::Text(&block))) {
        agrees(&b3_codec::write_single(&sent(&context)), b3_codec::read_single, b3_codec::write_single);
    }
}

/// Jaeger's header.
pub(crate) fn jaeger(data: &[u8]) {
    agrees(data, jaeger_codec::read, jaeger_codec::write);
}

/// AWS X-Ray's header.
pub(crate) fn xray(data: &[u8]) {
    agrees(data, xray_codec::read, xray_codec::write);
}

/// W3C's `baggage`: a header block.
pub(crate) fn baggage(data: &[u8]) {
    let keys = ["user", "tenant", "a", ""].map(str::to_owned);
    let mut last = None;
    baggage_codec::each_wanted(&Block::Text(data), &keys, |at, value| {
        assert!(at < keys.len() && last.is_none_or(|last| last < at));
        assert!(value.len() <= baggage_codec::MAX_BYTES && value.trim_ascii() == value);
        last = Some(at);
    });
    let mut decoded = Vec::new();
    baggage_codec::push_decoded(&mut decoded, data);
    assert!(decoded.len() <= data.len());
    let encode = |byte: &u8| [&b"%"[..], &w3c::hex2(*byte)].concat();
    let encoded: Vec<u8> = data.iter().flat_map(encode).collect();
    decoded.clear();
    baggage_codec::push_decoded(&mut decoded, &encoded);
    assert_eq!(decoded, data);
}

/// A header block through every format: what the server is told, each format alone says to the next proxy.
pub(crate) fn formats(data: &[u8]) {
    let block = until_nul(data);
    let config = TracesConfig { propagators: ALL.to_vec(), ..TracesConfig::default() };
    let mut hot =
        Hot::new(Some(Sampler::new(&config)), Arc::default(), None).with_policy(Policy::new(&config).map(Arc::new));
    let begun = hot.begin(&Incoming::of_headers(block), &mut Writer::new());
    let told = Traceparent::parse(&begun.traceparent()).expect("a valid header for the server");
    let mut changes = DoorPlan::new(&config).request_headers(&begun.sent, b"www");
    changes.push(("traceparent", Some(begun.traceparent().to_vec())));
    let headers: Vec<_> =
        changes.iter().filter_map(|(name, value)| Some((name.as_bytes(), value.as_deref()?))).collect();
    let onward = write_block(&headers);
    for format in ALL {
        let alone = TracesConfig { propagators: vec![format], ..TracesConfig::default() };
        let request = Incoming::of_headers(&onward);
        let picked = Picked::read(&request.headers);
        let seen = match Policy::new(&alone) {
            Some(policy) => policy.read(&request, &picked),
            None => Seen::of(&picked),
        };
        let parent = seen.parent.expect("a context in every format");
        assert_eq!((parent.trace_id, parent.parent_id), (told.trace_id, told.parent_id), "{format:?}");
        assert_eq!(parent.flags & FLAG_SAMPLED, told.flags & FLAG_SAMPLED, "{format:?}");
        let keeps_debug = matches!(format, Propagator::B3 | Propagator::B3Multi | Propagator::Jaeger);
        assert_eq!(seen.is_debug(), keeps_debug && begun.sent.debug, "{format:?}");
    }
}

/// Every format.
pub(crate) fn every() -> Vec<Propagator> {
    ALL.into_iter().chain([Propagator::Baggage]).collect()
}

const ALL: [Propagator; 5] =
    [Propagator::TraceContext, Propagator::B3, Propagator::B3Multi, Propagator::Jaeger, Propagator::XRay];

/// What is read from `data`, written, and read again is the same.
fn agrees(data: &[u8], read: impl Fn(&[u8]) -> Option<Found>, write: impl Fn(&Sent) -> Vec<u8>) {
    let Some(Found::Context(context)) = read(data) else { return };
    is_valid(&context);
    // An open decision is made before it is written: not sampled, here.
    let decided = Context { sampled: Some(context.sampled.unwrap_or(false)), ..context };
    assert_eq!(read(&write(&sent(&decided))), Some(Found::Context(decided)));
}

fn sent(context: &Context) -> Sent {
    let flags = if context.sampled == Some(true) { FLAG_SAMPLED } else { 0 };
    let Context { trace_id, span_id, debug, .. } = *context;
    Sent { trace_id, span_id, server_span: None, flags, debug }
}

fn is_valid(context: &Context) {
    let is_id = |id: &[u8]| {
        id.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) && id.iter().any(|&digit| digit != b'0')
    };
    assert!(is_id(&context.trace_id) && is_id(&context.span_id), "{context:?}");
    assert!(!context.debug || context.sampled == Some(true), "{context:?}");
}
