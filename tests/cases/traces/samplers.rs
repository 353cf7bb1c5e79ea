//! Which requests are recorded, and what the server is told of it.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::haproxy::Haproxy;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

/// Name, argument, and the flags sent to the server: without a caller, with one that sampled, with one that did not.
#[rustfmt::skip]
const SAMPLERS: [(&str, &str, [&str; 3]); 14] = [
    ("always_on", "", ["03", "01", "01"]),
    ("always_off", "", ["02", "00", "00"]),
    ("traceidratio", "0", ["02", "00", "00"]),
    ("traceidratio", "1", ["03", "01", "01"]),
    ("parentbased_always_on", "", ["03", "01", "00"]),
    ("parentbased_always_off", "", ["02", "01", "00"]),
    ("parentbased_traceidratio", "0", ["02", "01", "00"]),
    ("parentbased_traceidratio", "1", ["03", "01", "00"]),
    ("consistent_probability", "0", ["02", "00", "00"]),
    ("consistent_probability", "1", ["03", "01", "01"]),
    ("parentbased_consistent_probability", "0", ["02", "01", "00"]),
    ("parentbased_consistent_probability", "1", ["03", "01", "00"]),
    ("traceidratio", "0.5", ["", "01", "01"]),
    ("parentbased_traceidratio", "0.5", ["", "01", "00"]),
];

#[test]
fn every_sampler_decides_as_its_name_says() {
    let upstream = Upstream::start();
    for (name, ratio, flags) in SAMPLERS {
        for door in Door::ALL {
            let receiver = OtlpReceiver::start();
            let haproxy = start(door, name, ratio, &upstream, &receiver);
            // Low enough for any ratio but 0.
            let trace = "00000000000000000000000000000001";
            let callers = [None, Some("01"), Some("00")].map(|f| f.map(|f| format!("00-{trace}-{CALLER}-{f}")));
            let mut sampled = 0;
            for (caller, flags) in callers.iter().zip(flags).filter(|(_, flags)| !flags.is_empty()) {
                let headers = caller.as_ref().map(|value| ("traceparent", value.as_str()));
                client::get(haproxy.addr("http"), "/", headers.as_slice());
                let told = upstream.last().header("traceparent").unwrap().to_owned();
                assert_eq!(&told[53..], flags, "{name} {ratio} {door:?} {caller:?}");
                sampled += u64::from(flags.ends_with(['1', '3']));
            }
            let counters = vitals::wait_exported(&haproxy, &receiver, sampled);
            assert_eq!(counters["requests.started"], sampled, "{name} {ratio} {door:?}");
            assert_eq!(receiver.server_spans().len() as u64, sampled, "{name} {ratio} {door:?}");
            haproxy.finish();
        }
    }
}

#[test]
fn half_of_the_traces_are_recorded_at_a_ratio_of_a_half() {
    const REQUESTS: u64 = 2_000;
    for name in ["traceidratio", "parentbased_traceidratio"] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = start(Door::ZeroLines, name, "0.5", &upstream, &receiver);
        client::load(haproxy.addr("http"), Load::new(4, Until::Count(REQUESTS), "/"));
        let counters = vitals::counters(&haproxy);
        let (started, unsampled) = (counters["requests.started"], counters["requests.unsampled"]);
        assert_eq!(started + unsampled, REQUESTS);
        // Five standard deviations.
        assert!(started.abs_diff(REQUESTS / 2) < 112, "{name}: {started}");
        let counters = vitals::wait_exported(&haproxy, &receiver, started);
        assert_eq!((counters["requests.ended"], receiver.server_spans().len() as u64), (started, started));
        let told =
            upstream.requests().iter().filter(|seen| seen.header("traceparent").unwrap().ends_with("-03")).count();
        assert_eq!(told as u64, started);
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn samplers_that_are_not_known_here_are_a_warning_and_the_default_decides() {
    for name in ["jaeger_remote", "parentbased_jaeger_remote", "xray", "my_own"] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = start(Door::ZeroLines, name, "", &upstream, &receiver);
        assert!(haproxy.log_contains(&format!("found `{name}`; ignored")), "{name}");
        client::get(haproxy.addr("http"), "/", &[]);
        assert!(upstream.last().header("traceparent").unwrap().ends_with("-03"), "{name}");
        haproxy.finish();
    }
}

#[test]
fn each_delegate_of_a_parent_based_sampler_decides_for_its_callers() {
    for (sampled, not_sampled, flags) in [
        ("always_off", "always_on", ["03", "00", "01"]),
        ("traceidratio", "consistent_probability", ["03", "01", "01"]),
        ("follow", "follow", ["03", "01", "00"]),
    ] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let settings = format!("[traces]\nparent_sampled = '{sampled}'\nparent_not_sampled = '{not_sampled}'\n");
        let config = vitals::zero_lines("", "").upstream(&upstream).export_http(&receiver).settings(&settings);
        let haproxy = config.start();
        for (caller, expected) in [None, Some("01"), Some("00")].into_iter().zip(flags) {
            let caller = caller.map(|flags| format!("00-00000000000000000000000000000001-{CALLER}-{flags}"));
            let headers = caller.as_ref().map(|value| ("traceparent", value.as_str()));
            client::get(haproxy.addr("http"), "/", headers.as_slice());
            let told = upstream.last().header("traceparent").unwrap().to_owned();
            assert_eq!(&told[53..], expected, "{sampled} {not_sampled} {caller:?}");
        }
        haproxy.finish();
    }
}

#[test]
fn a_consistent_sampler_tells_its_threshold_to_the_server_and_on_the_spans() {
    const HIGH: &str = "000000000000000000c0000000000000";
    const LOW: &str = "000000000000000000bfffffffffffff";
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = start(door, "consistent_probability", "0.25", &upstream, &receiver);
        // Trace, the list that came, flags, the list that goes on.
        for (trace, came, flags, goes) in [
            (HIGH, "", "01", Some("ot=th:c")),
            (HIGH, "a=1,b=2", "01", Some("ot=th:c,a=1,b=2")),
            (LOW, "a=1", "00", Some("a=1")),
            (LOW, "a=1,ot=th:0", "00", Some("a=1")),
            (LOW, "ot=th:0", "00", None),
            (LOW, "a=1,ot=p:8;rv:ffffffffffffff;th:8", "01", Some("ot=p:8;rv:ffffffffffffff;th:c,a=1")),
            (HIGH, "ot=rv:00000000000000;th:0", "00", Some("ot=rv:00000000000000")),
        ] {
            receiver.clear();
            let caller = format!("00-{trace}-{CALLER}-01");
            let mut headers = vec![("traceparent", caller.as_str())];
            headers.extend((!came.is_empty()).then_some(("tracestate", came)));
            client::get(haproxy.addr("http"), "/", &headers);
            let seen = upstream.last();
            assert_eq!(&seen.header("traceparent").unwrap()[53..], flags, "{door:?} {trace} {came}");
            assert_eq!(
                seen.headers_named("tracestate"),
                goes.into_iter().collect::<Vec<_>>(),
                "{door:?} {trace} {came}"
            );
            if flags == "01" {
                assert_eq!(vitals::server_span(&receiver, trace).trace_state, goes.unwrap(), "{door:?} {trace} {came}");
            }
        }
        haproxy.finish();
    }
}

fn start(door: Door, sampler: &str, ratio: &str, upstream: &Upstream, receiver: &OtlpReceiver) -> Haproxy {
    let config = vitals::config(door, "", "").upstream(upstream).export_http(receiver);
    config.env("OTEL_TRACES_SAMPLER", sampler).env("OTEL_TRACES_SAMPLER_ARG", ratio).start()
}
