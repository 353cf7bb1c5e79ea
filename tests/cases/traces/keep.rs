//! Requests that were not sampled and are exported for how they ended.

use std::collections::BTreeMap;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, CALLER, Door, Doors};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream, poll};

const DOORS: Doors = Door::ALL;

#[test]
fn errors_and_slow_requests_are_exported_though_not_sampled() {
    const SETTINGS: &str = "[traces]\nsampler = 'always_off'\nkeep = { errors = true, slower_than = '150ms' }\n";
    for door in DOORS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
        let haproxy = config.settings(SETTINGS).start();
        for (path, status) in [("/", 200), ("/status/404", 404), ("/status/503", 503), ("/delay/200", 200)] {
            assert_eq!(client::get(haproxy.addr("http"), path, &[]).status, status, "{door:?}");
            let told = upstream.last().header("traceparent").unwrap().to_owned();
            assert!(told.ends_with("-02"), "{door:?} {path}: {told}");
        }
        let spans = receiver.wait_spans(4, SOON);
        for (path, why) in [("/status/503", "error"), ("/delay/200", "slow")] {
            let found: Vec<_> = receiver.server_spans();
            let span = found.iter().find(|span| span.str("url.path") == Some(path)).unwrap();
            assert_eq!(span.str("haproxy.sampling.kept"), Some(why), "{door:?}");
            // What the server was told stays true: not sampled.
            assert_eq!(span.flags & 1, 0, "{door:?}");
            let client = receiver.client_span_of(span).unwrap();
            assert_eq!(client.str("haproxy.sampling.kept"), None);
        }
        assert_eq!(spans.len(), 4, "{door:?} {spans:#?}");
        let counters = settled(&haproxy, 8);
        assert_eq!((counters["requests.kept"], counters["requests.discarded"]), (2, 2), "{door:?}");
        assert_eq!((counters["requests.started"], counters["requests.unsampled"]), (4, 0), "{door:?}");
        haproxy.finish();
    }
}

#[test]
fn sampled_requests_are_as_they_were_and_say_nothing_of_being_kept() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::zero_lines("", "").upstream(&upstream).export_http(&receiver);
    let haproxy = config.settings("traces.keep.errors = true\n").start();
    client::get(haproxy.addr("http"), "/status/500", &[("traceparent", &vitals::traceparent(1))]);
    let span = vitals::server_span(&receiver, &vitals::trace_id(1));
    assert_eq!((span.str("haproxy.sampling.kept"), span.flags & 1), (None, 1));
    // One whose caller did not sample is kept, as a child of a span that nobody exports.
    let caller = format!("00-{}-{CALLER}-00", vitals::trace_id(2));
    client::get(haproxy.addr("http"), "/status/500", &[("traceparent", &caller)]);
    let span = vitals::server_span(&receiver, &vitals::trace_id(2));
    assert_eq!((span.str("haproxy.sampling.kept"), span.parent_id.as_str()), (Some("error"), CALLER));
    assert!(upstream.last().header("traceparent").unwrap().ends_with("-00"));
    haproxy.finish();
}

#[test]
fn a_request_that_gets_no_response_is_kept_and_one_that_a_rule_drops_is_not() {
    const SETTINGS: &str = "[traces]\nsampler = 'always_off'\nkeep.errors = true\n\
                            [[traces.rule]]\npath = '/status/500'\ndrop = true\n";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::zero_lines("  http-request reject if { path /rejected }\n", "");
    let haproxy = config.upstream(&upstream).export_http(&receiver).settings(SETTINGS).start();
    client::get(haproxy.addr("http"), "/status/500", &[]);
    client::raw(haproxy.addr("http"), b"GET /rejected HTTP/1.1\r\nhost: x\r\n\r\n");
    receiver.wait_spans(1, SOON);
    let counters = settled(&haproxy, 1);
    assert_eq!((counters["requests.kept"], counters["requests.unsampled"]), (1, 1), "{counters:#?}");
    assert_eq!(receiver.server_spans()[0].str("error.type"), Some("rejected"));
    haproxy.finish();
}

#[test]
fn every_request_is_accounted_for_under_load() {
    const REQUESTS: u64 = 2_000;
    for door in DOORS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
        let settings = "traces = { sampler = 'traceidratio', ratio = 0.5, keep.errors = true }\n";
        let haproxy = config.settings(settings).start();
        let paths = ["/", "/status/500", "/status/404", "/"].map(str::to_owned).to_vec();
        let load = Load { paths, ..Load::new(4, Until::Count(REQUESTS), "/") };
        let report = client::load(haproxy.addr("http"), load);
        let counters = settled(&haproxy, 2 * REQUESTS);
        let (kept, discarded) = (counters["requests.kept"], counters["requests.discarded"]);
        let errors = receiver.server_spans().iter().filter(|span| span.str("error.type").is_some()).count();
        assert_eq!(errors as u64, report.by_status[&500], "{door:?}: every error is there");
        assert_eq!(counters["requests.ended"], REQUESTS, "{door:?} {counters:#?}");
        assert!(kept.abs_diff(REQUESTS / 8) < 100 && discarded.abs_diff(REQUESTS * 3 / 8) < 150, "{kept} {discarded}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

/// Waits until each record was read and what is exported has arrived: `spans`, two of them for each discarded request.
#[track_caller]
fn settled(haproxy: &Haproxy, spans: u64) -> BTreeMap<String, u64> {
    let done = |counters: &BTreeMap<String, u64>| {
        let made = counters["spans.created"];
        made + 2 * counters["requests.discarded"] == spans && counters["spans.exported"] == made
    };
    let settled = poll::try_until(SOON, || Some(vitals::counters(haproxy)).filter(done));
    settled.unwrap_or_else(|| panic!("not {spans} spans: {:#?}", vitals::counters(haproxy)))
}
