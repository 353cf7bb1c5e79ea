//! Weights that follow the load that servers tell.

use std::collections::BTreeMap;

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{CONFIG, SETTINGS, SWEEP, proxy, served_by, wait_told, wait_up};

const WEIGHTS: &str = "weight_metadata = \"x-lb-weight\"\nweight_smoothing = 0\nweight_min = 1\n";

/// What `get weight` says: `50 (initial 100)`.
fn weight(haproxy: &Haproxy, server: &str) -> String {
    haproxy.cli(&format!("get weight b/{server}")).trim().to_owned()
}

#[track_caller]
fn wait_weight(haproxy: &Haproxy, server: &str, expected: &str) {
    let found = poll::try_until(SOON, || (weight(haproxy, server) == expected).then_some(()));
    found.unwrap_or_else(|| panic!("{server} has {}, not {expected}", weight(haproxy, server)));
}

/// How many of so many requests each server answers.
fn share(haproxy: &Haproxy, requests: usize) -> BTreeMap<String, usize> {
    let mut share = BTreeMap::new();
    for _ in 0..requests {
        *share.entry(served_by(haproxy)).or_default() += 1;
    }
    share
}

#[test]
fn traffic_follows_the_weight_that_a_server_tells_and_comes_back() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    one.metadata("x-lb-weight", "100");
    two.metadata("x-lb-weight", "100");
    let line = |backend: &GrpcBackend| format!("{} weight 100", backend.addr());
    let haproxy = proxy(&[("one", &line(&one)), ("two", &line(&two))])
        .file("vitals.toml", &format!("{SETTINGS}{WEIGHTS}weight_expiry = \"1s\"\n"))
        .start();
    wait_up(&haproxy, "one", SOON);
    wait_up(&haproxy, "two", SOON);
    assert_eq!(share(&haproxy, 20), BTreeMap::from([("one".to_owned(), 10), ("two".to_owned(), 10)]));
    one.metadata("x-lb-weight", "25");
    wait_weight(&haproxy, "one", "25 (initial 100)");
    wait_told(&haproxy, "one", " weight=25%");
    let shifted = share(&haproxy, 50);
    assert!((8..=12).contains(&shifted["one"]), "{shifted:?}");
    // What an operator sets is load's to say.
    haproxy.cli("set weight b/one 80");
    wait_weight(&haproxy, "one", "25 (initial 100)");
    one.no_metadata();
    wait_weight(&haproxy, "one", "100 (initial 100)");
    haproxy.wait_log("b/one: no load report for 1 s: its weight is whole again", SOON);
    haproxy.cli("set weight b/one 80");
    poll::always(SWEEP * 2, "an operator's weight stays", || weight(&haproxy, "one") == "80 (initial 100)");
    haproxy.finish();
}

#[test]
fn a_load_report_makes_the_weight_of_a_server_that_is_full_the_least() {
    let backend = GrpcBackend::start();
    backend.metadata("endpoint-load-metrics", "TEXT cpu_utilization=1.3");
    let haproxy = proxy(&[("s", &format!("{} weight 200", backend.addr()))])
        .file("vitals.toml", &format!("{SETTINGS}orca = \"cpu\"\nweight_min = 20\n"))
        .start();
    wait_weight(&haproxy, "s", "40 (initial 200)");
    haproxy.finish();
}

#[test]
fn a_small_weight_is_warned_of_and_not_emptied() {
    let backend = GrpcBackend::start();
    backend.metadata("x-lb-weight", "10");
    let haproxy =
        proxy(&[("s", &backend.addr().to_string())]).file("vitals.toml", &format!("{SETTINGS}{WEIGHTS}")).start();
    haproxy.wait_log("b/s: its weight in HAProxy's configuration is 1, so percentages of it round badly", SOON);
    wait_up(&haproxy, "s", SOON);
    assert_eq!(weight(&haproxy, "s"), "1 (initial 1)");
    assert_eq!(served_by(&haproxy), "s");
    haproxy.finish();
}

#[test]
fn an_algorithm_without_weights_is_said_once() {
    let backend = GrpcBackend::start();
    backend.metadata("x-lb-weight", "50");
    let servers = format!("  server s {} weight 100", backend.addr());
    let haproxy =
        Haproxy::config(&CONFIG.replace("balance roundrobin", "balance static-rr").replace("SERVERS", &servers))
            .module()
            .set("load", "lua-load")
            .file("vitals.toml", &format!("{SETTINGS}{WEIGHTS}"))
            .allow_alert("has no server available")
            .start();
    haproxy.wait_log("b/s: HAProxy refuses a weight from its load: ", SOON);
    wait_up(&haproxy, "s", SOON);
    assert_eq!(weight(&haproxy, "s"), "100 (initial 100)");
    haproxy.finish();
}
