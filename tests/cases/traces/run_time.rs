//! Sampling that is changed on the stats socket.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, SOON, Upstream, poll};

const API: &str = "
frontend api
  bind 127.0.0.1:${port:api}
  timeout client 5s
  default_backend back
";

#[test]
fn the_share_is_changed_shown_and_reset() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        assert_eq!(haproxy.cli("vitals trace sample show").trim(), "sampling.override none");
        assert!(!haproxy.cli("show vitals traces").contains("sampling.override"));
        assert!(samples(&haproxy, &upstream, "http", None));

        assert_eq!(haproxy.cli("vitals trace sample 0").trim(), "sampling.override 0");
        assert!(!samples(&haproxy, &upstream, "http", None), "{door:?}");
        // Callers are followed as before.
        assert!(samples(&haproxy, &upstream, "http", Some("01")) && !samples(&haproxy, &upstream, "http", Some("00")));
        assert!(haproxy.cli("show vitals config").contains("sampling.override = 0  # stats socket"));
        assert!(
            haproxy
                .cli("show vitals traces")
                .lines()
                .any(|line| line.split_whitespace().eq(["sampling.override", "0"]))
        );

        assert_eq!(haproxy.cli("vitals trace sample reset").trim(), "sampling.override none");
        assert!(samples(&haproxy, &upstream, "http", None), "{door:?}");
        haproxy.finish();
    }
}

#[test]
fn one_frontend_has_a_share_of_its_own_where_frontends_are_told_apart() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::zero_lines("", API).upstream(&upstream).export_http(&receiver);
    let haproxy = config.settings("[traces]\nsampler = 'always_off'\nper_frontend = true\n").start();
    let both = || ["http", "api"].map(|port| samples(&haproxy, &upstream, port, None));
    for (command, answer, expected) in [
        ("1 api", "api 1", [false, true]),
        ("1", "1, api 1", [true, true]),
        ("0 api", "1, api 0", [true, false]),
        ("reset api", "1", [true, true]),
        ("reset", "none", [false, false]),
    ] {
        assert_eq!(
            haproxy.cli(&format!("vitals trace sample {command}")).trim(),
            format!("sampling.override {answer}")
        );
        assert_eq!(both(), expected, "{command}");
    }
    haproxy.finish();
}

#[test]
fn what_makes_no_sense_is_answered_with_a_reason_and_changes_nothing() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = vitals::zero_lines("", API).upstream(&upstream).export_http(&receiver).start();
    for (words, expected) in [
        ("", "expected a share from 0 to 1, `reset` or `show`, found nothing"),
        ("2", "found `2`"),
        ("half", "found `half`"),
        ("0.5 api", "frontends are not told apart: set `traces.per_frontend = true`"),
        ("0.5 api more", "expected no more than a frontend, found `more`"),
    ] {
        let answer = haproxy.cli(&format!("vitals trace sample {words}"));
        assert!(answer.contains(expected), "{words}: {answer}");
    }
    assert_eq!(haproxy.cli("vitals trace sample show").trim(), "sampling.override none");
    haproxy.finish();

    let config = vitals::zero_lines("", "").upstream(&upstream).export_http(&receiver);
    let haproxy = config.settings("traces.per_frontend = true").start();
    assert_eq!(haproxy.cli("vitals trace sample 0.5 nowhere").trim(), "there is no frontend `nowhere`");
    assert!(haproxy.cli("help vitals").contains("vitals trace sample <0..1>|reset [frontend] | show"));
    haproxy.finish();

    let config = vitals::zero_lines("", "").upstream(&upstream).env("OTEL_SDK_DISABLED", "true");
    let haproxy = config.start();
    assert_eq!(haproxy.cli("vitals trace sample 0.5").trim(), "tracing is off");
    haproxy.finish();
}

#[test]
fn changes_under_load_are_seen_by_every_thread_and_lose_nothing() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = vitals::zero_lines("", "").upstream(&upstream).export_http(&receiver).start();
    let load = Load::new(4, Until::Stopped, "/").spawn(haproxy.addr("http"));
    let count = |name: &str| vitals::counters(&haproxy)[name];
    for (share, name) in [("0", "requests.unsampled"), ("1", "requests.started"), ("0", "requests.unsampled")] {
        haproxy.cli(&format!("vitals trace sample {share}"));
        let (before, other) = (count(name), if share == "0" { "requests.started" } else { "requests.unsampled" });
        poll::until(SOON, "requests that follow the change", || count(name) > before + 100);
        let settled = count(other);
        poll::until(SOON, "more of them", || count(name) > before + 300);
        assert_eq!(count(other), settled, "after {share}");
    }
    let report = load.stop();
    assert_eq!((report.ok, report.failed), (report.total(), 0), "{report:?}");
    let counters = vitals::wait_exported(&haproxy, &receiver, count("requests.started"));
    assert_eq!(counters["requests.started"] + counters["requests.unsampled"], report.total());
    haproxy.finish();
}

#[test]
fn a_reload_forgets_what_was_set() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::zero_lines("", "").upstream(&upstream).export_http(&receiver);
    let haproxy = config.mode(Mode::MasterWorker).start();
    haproxy.cli("vitals trace sample 0");
    assert!(!samples(&haproxy, &upstream, "http", None));
    haproxy.reload();
    assert_eq!(haproxy.cli("vitals trace sample show").trim(), "sampling.override none");
    assert!(samples(&haproxy, &upstream, "http", None));
    haproxy.finish();
}

/// Whether the server is told that a request to this port is sampled; with these flags of a caller, if any.
fn samples(haproxy: &Haproxy, upstream: &Upstream, port: &str, caller: Option<&str>) -> bool {
    let caller = caller.map(|flags| format!("00-00000000000000000000000000000001-{CALLER}-{flags}"));
    let headers = caller.as_ref().map(|value| ("traceparent", value.as_str()));
    client::get(haproxy.addr(port), "/", headers.as_slice());
    upstream.last().header("traceparent").unwrap().ends_with(['1', '3'])
}
