//! Which requests are recorded, and what the server is told of it.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::haproxy::Haproxy;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

/// Name, argument, and the flags sent to the server: without a caller, with one that sampled, with one that did not.
#[rustfmt::skip]
const SAMPLERS: [(&str, &str, [&str; 3]); 10] = [
    ("always_on", "", ["03", "01", "01"]),
    ("always_off", "", ["02", "00", "00"]),
    ("traceidratio", "0", ["02", "00", "00"]),
    ("traceidratio", "1", ["03", "01", "01"]),
    ("parentbased_always_on", "", ["03", "01", "00"]),
    ("parentbased_always_off", "", ["02", "01", "00"]),
    ("parentbased_traceidratio", "0", ["02", "01", "00"]),
    ("parentbased_traceidratio", "1", ["03", "01", "00"]),
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
        let haproxy = start(Door::Profile, name, "0.5", &upstream, &receiver);
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

fn start(door: Door, sampler: &str, ratio: &str, upstream: &Upstream, receiver: &OtlpReceiver) -> Haproxy {
    let config = vitals::config(door, "", "").upstream(upstream).export_http(receiver);
    config.env("OTEL_TRACES_SAMPLER", sampler).env("OTEL_TRACES_SAMPLER_ARG", ratio).start()
}
