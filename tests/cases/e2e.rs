//! `e2e/compose.yaml` without Docker: its configuration files as they are, and behind HAProxy what others wrote.
//!
//! `tasks/e2e` runs these, and says what it checked.

mod stage;

use std::collections::BTreeSet;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::otlp::StatusCode;
use haproxy_vitals_tests::{Mode, Port, SOON, poll, vitals};
use nix::sys::signal::Signal;

use stage::{Stage, configuration};

#[test]
fn haproxy_accepts_the_configuration_without_a_word() {
    let addr = Port::reserve().addr();
    for engine in ["native", "lua"] {
        let check =
            configuration(addr, addr, [addr; 3]).env("HAPROXY_VITALS_TRACES_ENGINE", engine).without_stats().check();
        assert!(check.ok && check.output.is_empty(), "{engine}:\n{}", check.output);
    }
}

#[test]
fn http_request_is_two_spans_under_its_caller() {
    let stage = Stage::start();
    let answer = stage.get("/items/7?x=1", &[("traceparent", &vitals::traceparent(1))]);
    let (server, client) = stage.pair(1);
    assert_eq!((answer.status, server.parent_id.as_str()), (200, vitals::CALLER));
    // The service answers with what it received.
    let received = format!("traceparent: 00-{}-{}-01", client.trace_id, client.span_id);
    assert!(answer.text().contains(&received), "not `{received}`:\n{}", answer.text());
    assert_eq!((server.name.as_str(), server.str("http.route")), ("GET /items/{id}", Some("/items/{id}")));
    assert_eq!((server.str("url.path"), server.str("url.query")), (Some("/items/7"), Some("x=1")));
    assert_eq!(server.resource.str("service.name"), Some("edge"));
    assert_eq!(client.str("haproxy.server.name"), Some("shop1"));
    for span in [&server, &client] {
        assert_eq!((span.int("http.response.status_code"), span.status), (Some(200), StatusCode::Unset), "{span}");
        assert_eq!(span.str("http.request.method"), Some("GET"), "{span}");
    }
    assert!(server.start_ns <= client.start_ns && client.end_ns <= server.end_ns, "{client} is not within {server}");
    stage.finish();
}

#[test]
fn failed_http_requests_have_their_status() {
    let stage = Stage::start();
    assert_eq!(stage.get("/missing", &[("traceparent", &vitals::traceparent(1))]).status, 404);
    let (server, client) = stage.pair(1);
    assert_eq!((server.status, client.status), (StatusCode::Unset, StatusCode::Error), "of the client's making");
    assert_eq!((client.str("error.type"), server.int("http.response.status_code")), (Some("404"), Some(404)));
    assert_eq!(stage.get("/denied", &[("traceparent", &vitals::traceparent(2))]).status, 403);
    let denied = vitals::server_span(&stage.receiver, &vitals::trace_id(2));
    assert_eq!((denied.int("http.response.status_code"), denied.str("haproxy.server.name")), (Some(403), None));
    assert_eq!(stage.receiver.children_of(&denied), []);
    stage.finish();
}

#[test]
fn grpc_call_is_two_spans_with_its_method_and_status() {
    let stage = Stage::start();
    let mut servers = BTreeSet::new();
    for n in 1..=4 {
        stage.call(&[("traceparent", &vitals::traceparent(n))]);
        let (server, client) = stage.pair(n);
        assert_eq!(server.parent_id, vitals::CALLER);
        for span in [&server, &client] {
            assert_eq!(span.str("rpc.system.name"), Some("grpc"), "{span}");
            assert_eq!(span.str("rpc.method"), Some("grpc.health.v1.Health/Check"), "{span}");
            assert_eq!((span.str("rpc.response.status_code"), span.status), (Some("OK"), StatusCode::Unset), "{span}");
        }
        servers.insert(client.str("haproxy.server.name").unwrap().to_owned());
    }
    assert_eq!(servers.into_iter().collect::<Vec<_>>(), ["node", "python"]);
    stage.finish();
}

#[test]
fn grpc_server_that_says_not_serving_is_taken_out_and_comes_back() {
    let stage = Stage::start();
    let goes_to = |calls: usize| {
        let before = stage.receiver.server_spans().len();
        (0..calls).for_each(|_| stage.call(&[]));
        poll::until(SOON, "the calls' spans", || stage.receiver.server_spans().len() >= before + calls);
        let spans = stage.receiver.server_spans();
        spans[before..]
            .iter()
            .filter_map(|span| Some(span.str("haproxy.server.name")?.to_owned()))
            .collect::<BTreeSet<_>>()
    };
    let both = BTreeSet::from(["node".to_owned(), "python".to_owned()]);
    assert_eq!(goes_to(4), both);
    stage.python.signal(Signal::SIGUSR1);
    stage.wait_state("python", "DOWN");
    assert_eq!(goes_to(4), BTreeSet::from(["node".to_owned()]));
    stage.python.signal(Signal::SIGUSR2);
    stage.wait_state("python", "UP");
    assert_eq!(goes_to(4), both);
    stage.finish();
}

#[test]
fn collector_that_comes_back_gets_what_it_missed() {
    let stage = Stage::start();
    stage.collector.stop();
    for _ in 0..REQUESTS {
        assert_eq!(stage.get("/", &[]).status, 200);
    }
    poll::until(SOON, "further attempts", || vitals::counters(&stage.haproxy)["export.retries"] > 0);
    assert_eq!(stage.receiver.spans(), []);
    stage.collector.restart();
    vitals::wait_exported(&stage.haproxy, &stage.receiver, REQUESTS);
    stage.finish();
}

#[test]
fn what_a_dead_collector_loses_is_counted() {
    let stage = Stage::with(|haproxy| haproxy.env("OTEL_BSP_EXPORT_TIMEOUT", 300));
    let prometheus = stage.prometheus();
    stage.collector.stop();
    for _ in 0..REQUESTS {
        assert_eq!(stage.get("/", &[]).status, 200);
    }
    let count = |name: &str| vitals::counters(&stage.haproxy)[name];
    poll::until(SOON, "every span is given up", || count("spans.dropped.timeout") == 2 * REQUESTS);
    assert_eq!((count("spans.created"), count("spans.exported")), (2 * REQUESTS, 0));
    prometheus.wait_sum("otel_sdk_exporter_span_exported_total{error_type=\"timeout\"}", 2 * REQUESTS);
    stage.collector.restart();
    assert_eq!(stage.get("/", &[("traceparent", &vitals::traceparent(1))]).status, 200);
    stage.pair(1);
    stage.finish();
}

#[test]
fn reload_under_load_fails_no_request_and_loses_no_span() {
    let stage = Stage::with(|haproxy| haproxy.mode(Mode::MasterWorker));
    let load = Load::new(4, Until::Stopped, "/items/1").spawn(stage.http.addr());
    let mut calls = 0;
    for _ in 0..3 {
        load.wait_for(100);
        stage.haproxy.reload();
        (0..4).for_each(|_| stage.call(&[]));
        calls += 4;
    }
    let report = load.stop();
    stage.haproxy.wait_one_worker(SOON);
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    stage.wait_spans(2 * (report.total() + calls));
    stage.finish();
}

#[test]
fn prometheus_counts_what_was_requested() {
    let stage = Stage::start();
    let prometheus = stage.prometheus();
    let report = client::load(stage.http.addr(), Load::new(2, Until::Count(REQUESTS), "/items/1"));
    assert_eq!(report.ok, REQUESTS, "{report:?}");
    assert_eq!(stage.get("/missing", &[]).status, 404);
    (0..4).for_each(|_| stage.call(&[]));
    prometheus.wait_sum("up{job=\"haproxy\"}", 1);
    let http =
        |labels: &str| format!("http_server_request_duration_seconds_count{{haproxy_frontend_name=\"www\"{labels}}}");
    prometheus.wait_sum(&http(",http_route=\"/items/{id}\""), REQUESTS);
    prometheus.wait_sum(&http(",http_response_status_code=\"404\""), 1);
    prometheus.wait_sum(&http(""), REQUESTS + 1);
    prometheus.wait_sum("rpc_server_call_duration_seconds_count{rpc_response_status_code=\"OK\"}", 4);
    // No scrape is traced: what was started is what was requested.
    prometheus.wait_sum("otel_sdk_span_started_total", REQUESTS + 5);
    prometheus.wait_sum("haproxy_health_server_state{haproxy_health_state=\"up\"}", 2);
    stage.python.signal(Signal::SIGUSR1);
    prometheus.wait_sum("haproxy_health_server_state{haproxy_health_state=\"up\"}", 1);
    stage.finish();
}

/// Few enough to fit into one scrape's time.
const REQUESTS: u64 = 40;
