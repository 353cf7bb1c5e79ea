//! Nothing is lost between a request and the collector.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

const FRONT: &str = "
  http-request deny if { path /denied }
  use_backend nowhere if { path /nowhere }
";

const PATHS: [&str; 6] = ["/", "/status/404", "/denied", "/nowhere", "/bytes/3000", "/a?b=c"];

#[test]
fn every_request_of_mixed_traffic_is_exported_without_a_line_in_the_frontend() {
    check(Door::ZeroLines, requests());
}

#[test]
fn every_request_of_mixed_traffic_is_exported_through_the_filter() {
    check(Door::Filter, 2_000);
}

#[test]
fn every_request_of_mixed_traffic_is_exported_through_the_actions() {
    check(Door::Actions, 2_000);
}

#[test]
fn every_request_of_mixed_traffic_is_exported_through_lua_s_filter() {
    check(Door::LuaFilter, 2_000);
}

#[test]
fn every_request_of_mixed_traffic_is_exported_through_lua_s_actions() {
    check(Door::LuaActions, 2_000);
}

fn check(door: Door, requests: u64) {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::config(door, FRONT, "\nbackend nowhere\n").upstream(&upstream);
    // Room for every span: a receiver that decodes and keeps them all is slower than the proxy.
    let haproxy = config.export_http(&receiver).env("OTEL_BSP_MAX_QUEUE_SIZE", 262_144).start();
    let paths = PATHS.map(str::to_owned).to_vec();
    let load = Load { paths, ..Load::new(8, Until::Count(requests), "/") };
    let report = client::load(haproxy.addr("http"), load);
    assert_eq!((report.total(), report.failed, report.retried), (requests, 0, 0), "{report:?}");

    let counters = vitals::wait_exported(&haproxy, &receiver, requests);
    assert_eq!((counters["requests.started"], counters["requests.ended"]), (requests, requests), "{counters:#?}");
    assert_eq!(counters["spans.created"], requests + upstream.count(), "{counters:#?}");
    let servers = receiver.server_spans();
    assert_eq!(servers.len() as u64, requests);
    assert_eq!(receiver.span_count() as u64, counters["spans.exported"]);
    for (status, count) in report.by_status {
        let said = servers.iter().filter(|span| span.int("http.response.status_code") == Some(status.into()));
        assert_eq!(said.count() as u64, count, "{status}");
    }
    receiver.assert_clean();
    haproxy.finish();
}

/// `VITALS_LONG=1` asks for more.
fn requests() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a setting of this case alone")]
    let long = std::env::var_os("VITALS_LONG").is_some_and(|value| value == "1");
    if long { 100_000 } else { 20_000 }
}
