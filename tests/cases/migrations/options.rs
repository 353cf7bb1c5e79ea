//! Every value of haproxy-otel's options, as the page's table converts it, and what keeps dashboards as they were.

use haproxy_vitals_tests::otlp::{Protocol, SpanKind};
use haproxy_vitals_tests::vitals::{self, CALLER};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream, client};

use super::traces::{ENGINES, haproxy_otel};
use super::{blocks, section};

/// What the table writes in place of the option whose row begins so.
#[track_caller]
fn instead_of(beginning: &str) -> String {
    let section = section("haproxy-otel");
    let row = section.lines().find(|line| line.starts_with(&format!("| `{beginning}")));
    let row = row.unwrap_or_else(|| panic!("no row for {beginning}"));
    row.split(" | ").nth(1).unwrap().split('`').nth(1).unwrap().to_owned()
}

#[test]
fn samplers_decide_as_theirs_of_a_new_trace_and_of_one_that_a_caller_leaves_out() {
    for (theirs, new, left_out) in [("AlwaysOn", true, true), ("AlwaysOff", false, false), ("ParentBased", true, false)]
    {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let settings = instead_of(&format!("sampler = \"{theirs}\""));
        let haproxy = haproxy_otel(None, &settings, &upstream, &receiver).start();
        let is_sampled = |headers: &[(&str, &str)]| {
            client::get(haproxy.addr("http"), "/", headers);
            let told = upstream.last().header("traceparent").unwrap().to_owned();
            // New trace ids are random, which has a flag of its own.
            told.ends_with("-01") || told.ends_with("-03")
        };
        let caller = format!("00-{}-{CALLER}-00", vitals::trace_id(1));
        assert_eq!((is_sampled(&[]), is_sampled(&[("traceparent", &caller)])), (new, left_out), "{theirs}");
        let expected = 2 * [new, left_out].into_iter().filter(|sampled| *sampled).count();
        receiver.wait_spans(expected, SOON);
        assert_eq!(vitals::counters(&haproxy)["spans.created"], expected as u64, "{theirs}");
        haproxy.finish();
    }
}

#[test]
fn propagators_read_and_write_what_theirs_do() {
    let (trace, traceparent) = (vitals::trace_id(1), vitals::traceparent(1));
    let (jaeger, single) = (format!("{trace}:{CALLER}:0:1"), format!("{trace}-{CALLER}-1"));
    for (theirs, caller, told) in [
        ("w3c", ("traceparent", &traceparent), "traceparent: 00-TRACE-LEG-01"),
        ("jaeger", ("uber-trace-id", &jaeger), "uber-trace-id: TRACE:LEG:0:1"),
        ("zipkin", ("b3", &single), "x-b3-spanid: LEG"),
    ] {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let settings = instead_of(&format!("propagator = \"{theirs}\""));
        let haproxy = haproxy_otel(None, &settings, &upstream, &receiver).start();
        client::get(haproxy.addr("http"), "/", &[(caller.0, caller.1)]);
        vitals::wait_exported(&haproxy, &receiver, 1);
        let server = vitals::server_span(&receiver, &trace);
        assert_eq!(server.parent_id, CALLER, "{theirs}");
        let leg = receiver.client_span_of(&server).unwrap();
        let (name, value) = told.split_once(": ").unwrap();
        let value = value.replace("TRACE", &trace).replace("LEG", &leg.span_id);
        assert_eq!(upstream.last().header(name), Some(value.as_str()), "{theirs}");
        haproxy.finish();
    }
}

#[test]
fn protocols_and_both_endpoints_reach_the_collector() {
    for (theirs, came) in [("json", Protocol::Json), ("binary", Protocol::Http)] {
        for (row, path) in [("otlp.endpoint` |", ""), ("otlp.endpoint` with another path", "/v1/traces")] {
            let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
            let (name, endpoint) = (instead_of("name`"), instead_of(row));
            let protocol = instead_of(&format!("otlp.protocol = \"{theirs}\""));
            let address = receiver.http_endpoint();
            let settings = format!("{name} = \"haproxy\"\n{endpoint} = \"{address}{path}\"\n{protocol}\n");
            let config = haproxy_otel(None, &settings, &upstream, &receiver);
            let haproxy = config.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").start();
            client::get(haproxy.addr("http"), "/", &[]);
            let spans = receiver.wait_spans(2, SOON);
            assert!(spans.iter().all(|span| span.resource.str("service.name") == Some("haproxy")), "{theirs}");
            assert!(receiver.requests().iter().all(|request| request.protocol == came), "{theirs}");
            haproxy.finish();
        }
    }
}

#[test]
fn options_in_lua_come_from_a_file_of_ones_own() {
    let [own] = blocks(&section("haproxy-otel"), "lua");
    let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
    let [whole, ..] = blocks::<3>(&section("haproxy-otel"), "haproxy");
    let loader = whole.lines().find(|line| line.contains("lua-load")).unwrap();
    let whole =
        whole.replace(loader, "    lua-load-per-thread ${dir}/own.lua").replace("127.0.0.1:8000", "${upstream}");
    let own = own.replace("http://otel-collector:4318", &receiver.http_endpoint());
    let config = super::at_home(&whole, "").upstream(&upstream).file("own.lua", &own);
    let haproxy = config.env("OTEL_BSP_SCHEDULE_DELAY", 100).start();
    client::get(haproxy.addr("http"), "/", &[]);
    let spans = receiver.wait_spans(2, SOON);
    assert!(spans.iter().all(|span| span.resource.str("service.name") == Some("loadbalancer")));
    assert!([SpanKind::Server, SpanKind::Client].iter().all(|kind| spans.iter().any(|span| span.kind == *kind)));
    assert!(upstream.last().header("x-b3-traceid").is_some());
    assert!(receiver.requests().iter().all(|request| request.protocol == Protocol::Json));
    haproxy.finish();
}

#[test]
fn what_dashboards_look_for_can_be_kept() {
    let section = section("What changes in the spans");
    let ([frontend], [settings]) = (blocks(&section, "haproxy"), blocks(&section, "toml"));
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = haproxy_otel(Some(&frontend), &settings, &upstream, &receiver);
        let haproxy = config.env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        let headers = [("host", "shop.example"), ("traceparent", &vitals::traceparent(1))];
        client::get(haproxy.addr("http"), "/", &headers);
        vitals::wait_exported(&haproxy, &receiver, 1);
        let server = vitals::server_span(&receiver, &vitals::trace_id(1));
        assert_eq!(server.name, "GET shop.example", "{engine}");
        assert_eq!(server.strs("http.request.header.host"), Some(vec!["shop.example"]), "{engine}");
        let leg = receiver.client_span_of(&server).unwrap();
        assert!(leg.event("haproxy.response.headers").is_some(), "{engine}: {:#?}", leg.events);
        haproxy.finish();
    }
}
