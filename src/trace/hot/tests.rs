use super::super::carry::Carry;
use super::super::headers::write_block;
use super::super::w3c::Traceparent;
use super::*;
use crate::config::{Propagator, SamplerKind, TracesConfig};
use tokio::sync::Notify;

const CALLER: &[u8] = b"00-12345678901234567890123456789012-1234567890123456-01";

fn hot(kind: SamplerKind) -> Hot {
    let config = TracesConfig { sampler: kind, ..TracesConfig::default() };
    Hot::new(Some(Sampler::new(&config)), Arc::default(), None)
}

#[test]
fn a_request_without_a_caller_starts_a_random_trace() {
    let mut hot = hot(SamplerKind::ParentBasedAlwaysOn);
    let block = write_block(&[(b"host", b"example.org"), (b"user-agent", b"curl")]);
    let bytes = hot.begin(&Incoming::of_headers(&block)).to_vec();
    let (carry, rest) = Carry::parse(&bytes).unwrap();
    assert!(rest.is_empty());
    let sent = Traceparent::parse(carry.traceparent).unwrap();
    assert_eq!(sent.flags, FLAG_SAMPLED | FLAG_RANDOM);
    assert_eq!((carry.parent, carry.host, carry.user_agent), (None, &b"example.org"[..], &b"curl"[..]));
    assert_ne!(&sent.parent_id, carry.server_span);
    assert_ne!(bytes, hot.begin(&Incoming::of_headers(&block)));
    assert_eq!(hot.stats().started.value(), 2);
}

#[test]
fn a_caller_is_continued_and_its_random_flag_copied() {
    let mut hot = hot(SamplerKind::ParentBasedAlwaysOn);
    for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
        let caller = [&CALLER[..53], flags.as_bytes()].concat();
        let bytes = hot.begin(&Incoming::of_headers(&write_block(&[(b"traceparent", &caller)]))).to_vec();
        let sent = Traceparent::parse(&bytes[..TRACEPARENT_LEN]).unwrap();
        assert_eq!(&sent.trace_id, b"12345678901234567890123456789012");
        assert_eq!(sent.flags, u8::from_str_radix(flags, 16).unwrap() & 3);
        assert_eq!(Carry::parse(&bytes).is_some(), sampled, "{flags}");
        if let Some((carry, _)) = Carry::parse(&bytes) {
            assert_eq!(carry.parent, Some(b"1234567890123456"));
        }
    }
}

#[test]
fn without_tracing_a_caller_goes_on_as_it_came_and_a_new_context_is_not_sampled() {
    let mut hot = Hot::detached();
    let block = write_block(&[(b"traceparent", CALLER), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]);
    assert_eq!(hot.begin(&Incoming::of_headers(&block)), CALLER);
    let bytes = hot.begin(&Incoming::of_headers(&write_block(&[(b"host", b"example.org")])));
    assert_eq!((bytes.len(), Traceparent::parse(bytes).unwrap().flags), (TRACEPARENT_LEN, FLAG_RANDOM));
    let bytes = hot.begin(&Incoming::of_headers(&write_block(&[(b"tracestate", b"a=1")])));
    let (carry, _) = Carry::parse(bytes).unwrap();
    assert_eq!(carry.verdict, Verdict { recorded: false, sampled: false, tracestate: TracestateAction::Delete });
    assert_eq!((hot.stats().started.value(), hot.stats().unsampled.value()), (0, 3));
}

#[test]
fn two_traceparent_lines_start_a_new_trace_and_void_tracestate() {
    let mut hot = hot(SamplerKind::ParentBasedAlwaysOn);
    let block = write_block(&[(b"traceparent", CALLER), (b"traceparent", CALLER), (b"tracestate", b"a=1")]);
    let (carry, _) = Carry::parse(hot.begin(&Incoming::of_headers(&block))).unwrap();
    assert_ne!(&carry.traceparent[3..35], &CALLER[3..35]);
    assert_eq!(carry.verdict.tracestate, TracestateAction::Delete);
    assert_eq!(carry.tracestate, b"");
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
            let bytes = hot.begin(&Incoming::of_headers(&write_block(&headers))).to_vec();
            if kind == SamplerKind::AlwaysOff && action == TracestateAction::Keep {
                assert_eq!(bytes.len(), TRACEPARENT_LEN);
                continue;
            }
            let (carry, _) = Carry::parse(&bytes).unwrap();
            assert_eq!(
                carry.verdict,
                Verdict {
                    recorded: kind == SamplerKind::AlwaysOn,
                    sampled: kind == SamplerKind::AlwaysOn,
                    tracestate: action
                }
            );
            assert_eq!(carry.tracestate, text);
        }
    }
}

#[test]
fn only_sampled_requests_end_in_the_ring_and_a_full_one_is_counted() {
    let (writer, mut reader) = ring::ring(1024, Arc::new(Notify::new()));
    let sampler = Sampler::new(&TracesConfig::default());
    let mut hot = Hot::new(Some(sampler), Arc::default(), Some(writer));
    let record = [hot.begin(&Incoming::of_headers(&[0, 0])), b" -- 200"].concat();
    hot.end(&record);
    hot.end(&[b"CD ", &record[..]].concat());
    hot.end(b"PR 00-12345678901234567890123456789012-1234567890123456-00");
    hot.end(b"");
    let mut seen = Vec::new();
    reader.drain(9, |end, bytes| seen.push((end > 1_600_000_000_000_000_000, bytes.len())));
    assert_eq!(seen, [(true, record.len()), (true, record.len() + 3)]);
    for _ in 0..20 {
        hot.end(&record);
    }
    assert_eq!(hot.stats().ended.value(), 22);
    assert!(hot.stats().ring_full.value() > 0);
}

#[test]
fn a_door_that_has_not_asked_gets_nothing_where_there_is_a_traceparent() {
    let policies = [None, Policy::new(&TracesConfig { propagators: vec![Propagator::B3], ..TracesConfig::default() })];
    for policy in policies {
        let mut hot = hot(SamplerKind::ParentBasedAlwaysOn).with_policy(policy.map(Arc::new));
        for (value, begins) in [(None, true), (Some(CALLER), false), (Some(&b"no context"[..]), false)] {
            let headers: Vec<_> = value.map(|value| (&b"Traceparent"[..], value)).into_iter().collect();
            let block = write_block(&headers);
            assert_eq!(hot.begin_unless_begun(&Incoming::of_headers(&block)).is_some(), begins);
        }
        assert_eq!(hot.stats().started.value(), 1);
    }
}
