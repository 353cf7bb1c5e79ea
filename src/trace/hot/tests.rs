use super::super::headers::{Block, write_block};
use super::super::htx;
use super::super::record::sample::Sample;
use super::super::record::{AttributeValue, HEAD_LEN, MAX_START, Numbers, Record, bits};
use super::super::w3c::Traceparent;
use super::*;
use crate::config::{AttributesConfig, Propagator, SamplerKind, SamplingConfig, TracesConfig};
use proptest::prelude::*;
use tokio::sync::Notify;

const CALLER: &[u8] = b"00-12345678901234567890123456789012-1234567890123456-01";

fn hot(kind: SamplerKind) -> Hot {
    let config = TracesConfig { sampler: kind, ..TracesConfig::default() };
    Hot::new(Some(Sampler::new(&config)), Arc::default(), None)
}

/// A tracer that samples everything, and the ring behind it.
fn with_ring(bytes: usize) -> (Hot, ring::Reader) {
    let (writer, reader) = ring::ring(bytes, Arc::new(Notify::new()));
    (Hot::new(Some(Sampler::new(&TracesConfig::default())), Arc::default(), Some(writer)), reader)
}

fn begin(hot: &mut Hot, headers: &[(&[u8], &[u8])]) -> (Begun, Writer) {
    let mut record = Writer::new();
    let begun = hot.begin(&Incoming::of_headers(&write_block(headers)), &mut record);
    assert_eq!(record.is_recorded(), begun.recorded);
    (begun, record)
}

/// A begun record, ended.
fn ended(mut record: Writer) -> Vec<u8> {
    record.end();
    record.numbers(&Numbers::default());
    record.as_bytes().to_vec()
}

fn drained(reader: &mut ring::Reader) -> Vec<Vec<u8>> {
    let mut seen = Vec::new();
    reader.drain(usize::MAX, |end, bytes| {
        assert!(end > 1_600_000_000_000_000_000);
        seen.push(bytes.to_vec());
    });
    seen
}

#[test]
fn a_request_without_a_caller_starts_a_random_trace() {
    let mut hot = hot(SamplerKind::ParentBasedAlwaysOn);
    let headers = [(&b"host"[..], &b"example.org"[..]), (b"user-agent", b"curl")];
    let (begun, record) = begin(&mut hot, &headers);
    assert_eq!(begun.sent.flags, FLAG_SAMPLED | FLAG_RANDOM);
    let sent = Traceparent::parse(&begun.traceparent()).unwrap();
    assert_eq!((sent.trace_id, sent.parent_id, sent.flags), (begun.sent.trace_id, begun.sent.span_id, 3));
    assert_eq!(Some(begun.sent), Head::read(record.as_bytes()).map(|(head, _)| Sent::of(&head)));
    assert_ne!(begun.sent.server_span, Some(begun.sent.span_id));
    let bytes = ended(record);
    let record = Record::parse(&bytes, u64::MAX).unwrap();
    assert_eq!((record.parent, record.host, record.user_agent), (None, &b"example.org"[..], &b"curl"[..]));
    assert!(record.sampled && !record.is_only_measured && !record.is_connection && !record.is_single());
    assert!(record.start_unix_nanos > 1_600_000_000_000_000_000);
    let (other, _) = begin(&mut hot, &headers);
    assert!(other.sent.trace_id != begun.sent.trace_id && other.sent.span_id != begun.sent.span_id);
    assert_eq!(hot.stats().started.value(), 2);
}

#[test]
fn where_the_callers_traceparent_stands_is_told() {
    let mut hot = hot(SamplerKind::AlwaysOn);
    let (begun, _) = begin(&mut hot, &[(b"host", b"h")]);
    assert_eq!(begun.came, Came::Without);
    let (begun, _) = begin(&mut hot, &[(b"traceparent", CALLER), (b"traceparent", CALLER)]);
    assert_eq!(begun.came, Came::Otherwise);
    let (begun, _) = begin(&mut hot, &[(b"traceparent", &CALLER[1..])]);
    assert_eq!(begun.came, Came::Otherwise);
    let text = write_block(&[(b"host", b"h"), (b"traceparent", CALLER)]);
    let begun = hot.begin(&Incoming::of_headers(&text), &mut Writer::new());
    let at = text.windows(CALLER.len()).position(|window| window == CALLER).unwrap();
    assert_eq!(begun.came, Came::At(text.as_ptr().addr() + at));
}

#[test]
fn one_span_for_both_legs_has_the_id_that_the_server_sees() {
    let mut record = Writer::new();
    let request = Incoming { single_span: true, ..Incoming::of_headers(b"\r\n") };
    let begun = hot(SamplerKind::AlwaysOn).begin(&request, &mut record);
    assert_eq!(begun.sent.server_span, Some(begun.sent.span_id));
    assert!(Record::parse(&ended(record), 0).unwrap().is_single());
}

#[test]
fn a_caller_is_continued_and_its_random_flag_copied() {
    let mut hot = hot(SamplerKind::ParentBasedAlwaysOn);
    for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
        let caller = [&CALLER[..53], flags.as_bytes()].concat();
        let (begun, record) = begin(&mut hot, &[(b"traceparent", &caller)]);
        assert_eq!(&begun.sent.trace_id, b"12345678901234567890123456789012");
        assert_eq!(begun.sent.flags, u8::from_str_radix(flags, 16).unwrap() & 3);
        assert_eq!(begun.recorded, sampled, "{flags}");
        if sampled {
            let (head, _) = Head::read(record.as_bytes()).unwrap();
            assert_eq!(head.parent, 0x1234_5678_9012_3456_u64.to_be_bytes());
        } else {
            assert_eq!((record.as_bytes(), begun.sent.server_span), (&b""[..], None));
        }
    }
}

#[test]
fn without_tracing_a_caller_goes_on_as_it_came_and_a_new_context_is_not_sampled() {
    let mut hot = Hot::detached();
    let caller = [(&b"traceparent"[..], CALLER), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")];
    let (begun, _) = begin(&mut hot, &caller);
    assert_eq!((&begun.traceparent()[..], begun.tracestate), (CALLER, TracestateAction::Keep));
    let (begun, record) = begin(&mut hot, &[(b"host", b"example.org")]);
    assert_eq!((begun.sent.flags, begun.recorded, record.as_bytes()), (FLAG_RANDOM, false, &b""[..]));
    assert!(Traceparent::parse(&begun.traceparent()).is_some());
    let (begun, _) = begin(&mut hot, &[(b"tracestate", b"a=1")]);
    assert_eq!((begun.recorded, begun.tracestate), (false, TracestateAction::Delete));
    assert_eq!((hot.stats().started.value(), hot.stats().unsampled.value()), (0, 3));
    let begun = Hot::detached_request();
    assert!(Traceparent::parse(&begun.traceparent()).is_some() && !begun.recorded);
}

#[test]
fn two_traceparent_lines_start_a_new_trace_and_void_tracestate() {
    let mut hot = hot(SamplerKind::ParentBasedAlwaysOn);
    let (begun, record) =
        begin(&mut hot, &[(b"traceparent", CALLER), (b"traceparent", CALLER), (b"tracestate", b"a=1")]);
    assert_ne!(&begun.sent.trace_id, &CALLER[3..35]);
    assert_eq!((begun.tracestate, hot.tracestate()), (TracestateAction::Delete, &b""[..]));
    assert_eq!(Record::parse(&ended(record), 0).unwrap().tracestate, b"");
}

#[test]
fn tracestate_is_kept_combined_or_deleted_also_when_unsampled() {
    for kind in [SamplerKind::AlwaysOn, SamplerKind::AlwaysOff] {
        let mut hot = hot(kind);
        for (lines, action, text) in [
            (&[&b"a=1"[..]][..], TracestateAction::Keep, &b"a=1"[..]),
            (&[b"a=1", b"b=2"], TracestateAction::Replace, b"a=1,b=2"),
            (&[b""], TracestateAction::Delete, b""),
            (&[b"A=1"], TracestateAction::Delete, b""),
        ] {
            let mut headers = vec![(&b"traceparent"[..], CALLER)];
            headers.extend(lines.iter().map(|line| (&b"tracestate"[..], *line)));
            let (begun, record) = begin(&mut hot, &headers);
            assert_eq!((begun.recorded, begun.tracestate), (kind == SamplerKind::AlwaysOn, action));
            assert_eq!(hot.tracestate(), text);
            if begun.recorded {
                assert_eq!(Record::parse(&ended(record), 0).unwrap().tracestate, text);
            }
        }
    }
}

#[test]
fn only_recorded_requests_end_in_the_ring_and_a_full_one_is_counted() {
    let (mut hot, mut reader) = with_ring(1024);
    let record = ended(begin(&mut hot, &[]).1);
    hot.end(&record);
    hot.end(&record[..HEAD_LEN]);
    let mut unrecorded = record.clone();
    unrecorded[0] = 0;
    for none in [&unrecorded[..], &record[..HEAD_LEN - 1], b""] {
        hot.end(none);
    }
    assert_eq!(drained(&mut reader), [&record[..], &record[..HEAD_LEN]]);
    for _ in 0..20 {
        hot.end(&record);
    }
    assert_eq!(hot.stats().ended.value(), 22);
    assert!(hot.stats().ring_full.value() > 0);
}

#[test]
fn a_request_ends_once_however_many_rules_ask_for_it() {
    let (mut hot, mut reader) = with_ring(4096);
    let [first, second] = [(); 2].map(|()| begin(&mut hot, &[(b"host", b"example.org")]).1.as_bytes().to_vec());
    let numbers = Numbers { status: 204, ..Numbers::default() };
    for carried in [&first, &first, &second, &second, &second] {
        hot.finish(carried, |record| {
            record.present(Field::Frontend, b"www");
            record.numbers(&numbers);
        });
    }
    let asked = std::cell::Cell::new(false);
    for none in [&b""[..], &first[..HEAD_LEN - 1], &[0; HEAD_LEN]] {
        hot.finish(none, |_| asked.set(true));
    }
    assert!(!asked.get());
    let ends = drained(&mut reader);
    assert_eq!((ends.len(), hot.stats().ended.value()), (2, 2));
    for (end, begun) in ends.iter().zip([&first, &second]) {
        assert!(end.starts_with(begun));
        let record = Record::parse(end, 0).unwrap();
        assert_eq!((record.host, record.response.frontend), (&b"example.org"[..], &b"www"[..]));
        assert_eq!(record.response.status, Some(204));
    }
}

#[test]
fn every_request_is_recorded_where_metrics_want_it_and_counted_while_it_is_active() {
    let wants = Wants { every_request: true, active_requests: true, content_length: true };
    let mut hot = hot(SamplerKind::AlwaysOff).with(wants);
    let text = write_block(&[(b"content-length", b"17")]);
    let mut record = Writer::new();
    let begun = hot.begin(&Incoming { method: b"POST", ..Incoming::of_headers(&text) }, &mut record);
    assert_eq!((begun.recorded, begun.sent.is_sampled()), (true, false));
    let active = |hot: &Hot| {
        let sum = |all: &[crate::stats::Counter]| all.iter().map(crate::stats::Counter::value).sum::<u64>();
        (sum(&hot.stats().active_begun), sum(&hot.stats().active_ended))
    };
    assert_eq!((active(&hot), hot.stats().recorded_only.value()), ((1, 0), 1));
    let bytes = ended(record);
    hot.end(&bytes);
    assert_eq!(active(&hot), (1, 1));
    let record = Record::parse(&bytes, 0).unwrap();
    assert!(record.is_only_measured && !record.sampled);
    assert_eq!(record.content_length, Some(17));
}

#[test]
fn what_is_kept_for_its_end_is_recorded_and_not_only_measured() {
    let sampling = SamplingConfig { keep_errors: true, ..SamplingConfig::default() };
    let config = TracesConfig { sampler: SamplerKind::AlwaysOff, sampling, ..TracesConfig::default() };
    let mut hot = Hot::new(Some(Sampler::new(&config)), Arc::default(), None);
    let (begun, record) = begin(&mut hot, &[]);
    assert_eq!((begun.recorded, begun.sent.is_sampled()), (true, false));
    let bytes = ended(record);
    let record = Record::parse(&bytes, 0).unwrap();
    assert!(!record.sampled && !record.is_only_measured);
}

#[test]
fn a_door_that_has_not_asked_gets_nothing_where_there_is_a_traceparent() {
    let policies = [None, Policy::new(&TracesConfig { propagators: vec![Propagator::B3], ..TracesConfig::default() })];
    for policy in policies {
        let mut hot = hot(SamplerKind::ParentBasedAlwaysOn).with_policy(policy.map(Arc::new));
        for (value, begins) in [(None, true), (Some(CALLER), false), (Some(&b"no context"[..]), false)] {
            let headers: Vec<_> = value.map(|value| (&b"traceparent"[..], value)).into_iter().collect();
            let block = write_block(&headers);
            let mut record = Writer::new();
            assert_eq!(hot.begin_unless_begun(&Incoming::of_headers(&block), &mut record).is_some(), begins);
            assert_eq!(record.is_recorded(), begins);
        }
        assert_eq!(hot.stats().started.value(), 1);
    }
}

/// What everything on records: hops, headers, gRPC, baggage.
fn rich() -> Hot {
    let traces = TracesConfig {
        propagators: vec![Propagator::TraceContext, Propagator::Baggage],
        baggage_attributes: vec!["user".to_owned()],
        ..TracesConfig::default()
    };
    let attributes = AttributesConfig {
        request_headers: vec!["x-a".to_owned()],
        trusted_networks: vec!["10.0.0.0/8".parse().unwrap()],
        rpc: true,
        ..AttributesConfig::default()
    };
    Hot::new(Some(Sampler::new(&traces)), Arc::default(), None)
        .with_policy(Policy::new(&traces).map(Arc::new))
        .with_wanted(Wanted::new(&attributes).map(Arc::new))
}

fn any_headers() -> impl Strategy<Value = Vec<(&'static [u8], Vec<u8>)>> {
    let names: Vec<&'static [u8]> = vec![
        b"host",
        b"user-agent",
        b"traceparent",
        b"tracestate",
        b"upgrade",
        b"content-type",
        b"x-forwarded-for",
        b"x-a",
        b"baggage",
        b"x-forwarded-host",
        b"cookie",
    ];
    let value = prop_oneof![
        3 => proptest::collection::vec(0x20_u8.., 0..40),
        1 => proptest::collection::vec(0x20_u8.., 0..3000),
        1 => proptest::sample::select(vec![CALLER, b"a=1", b"application/grpc", b"user=me"]).prop_map(<[u8]>::to_vec),
    ];
    proptest::collection::vec((proptest::sample::select(names), value), 0..12)
}

proptest! {
    #[test]
    fn headers_as_text_and_as_a_message_give_the_same_record(
        headers in any_headers(), positions in proptest::sample::select(vec![8_usize, 12]), contents in proptest::sample::select(vec![40_usize, 48]),
    ) {
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let text = write_block(&pairs);
        let layout = htx::Layout { positions, contents };
        let bytes = htx::write(layout, [b"GET", b"/", b"HTTP/1.1"], &pairs);
        let blocks = [Block::Text(&text), Block::Message(htx::Message::new(&bytes, layout).unwrap())];
        let [of_text, of_message] = blocks.map(|headers| {
            let request = Incoming { headers, method: b"GET", target: b"/", version: b"1.1", ..Incoming::default() };
            let mut record = Writer::new();
            let begun = rich().begin(&request, &mut record);
            (begun.recorded, begun.tracestate, record.as_bytes().get(HEAD_LEN..).map(<[u8]>::to_vec))
        });
        prop_assert_eq!(of_text, of_message);
    }

    #[test]
    fn whatever_clients_send_leaves_room_for_the_end(
        headers in any_headers(), method in proptest::collection::vec(any::<u8>(), 0..100),
        target in proptest::collection::vec(any::<u8>(), 0..3000),
    ) {
        let pairs: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let text = write_block(&pairs);
        let (mut hot, mut record) = (rich(), Writer::new());
        let request = Incoming { method: &method, target: &target, version: b"1.1", ..Incoming::of_headers(&text) };
        if hot.begin(&request, &mut record).recorded {
            prop_assert!(record.as_bytes().len() <= MAX_START);
            for n in 0..20 {
                record.attribute(format!("rule{n}").as_bytes(), AttributeValue::Text(&[b'v'; 500]));
            }
            prop_assert!(record.as_bytes().len() <= MAX_START);
            let sample = Sample::default().numbers(|numbers| numbers.bits = bits::REDISPATCHED);
            record.end();
            for field in [Field::Frontend, Field::Backend, Field::Server, Field::Tls] {
                prop_assert!(record.field(field, &[b'n'; 300]));
            }
            record.numbers(&sample.numbers);
            let read = Record::parse(record.as_bytes(), 0).unwrap();
            prop_assert_eq!(read.request.method, &method[..method.len().min(64)]);
            prop_assert_eq!(read.response.frontend, [b'n'; 255]);
            prop_assert!(read.response.retries.redispatched);
        }
    }
}
