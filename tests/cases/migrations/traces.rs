//! From haproxy-otel and from haproxy-ingress-otel.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::vitals::{self, CALLER};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream, client};

use super::{at_home, blocks, section};

pub(super) const ENGINES: [&str; 2] = ["native", "lua"];

/// The whole configuration of haproxy-otel, with another frontend where one is given.
pub(super) fn haproxy_otel(
    frontend: Option<&str>,
    settings: &str,
    upstream: &Upstream,
    receiver: &OtlpReceiver,
) -> Builder {
    let [whole, ..] = blocks::<3>(&section("haproxy-otel"), "haproxy");
    let (global, rest) = whole.split_once("frontend http-in").unwrap();
    let (_, backend) = rest.split_once("\nbackend default\n").unwrap();
    let text = frontend.map_or(whole.clone(), |frontend| format!("{global}{frontend}\nbackend default\n{backend}"));
    at_home(&text.replace("127.0.0.1:8000", "${upstream}"), &exported(settings, receiver))
        .upstream(upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", 100)
}

fn exported(settings: &str, receiver: &OtlpReceiver) -> String {
    settings.replace("http://otel-collector:4318", &receiver.http_endpoint())
}

#[test]
fn haproxy_otel_has_both_spans_its_attributes_and_its_sampler() {
    let [settings, _] = blocks(&section("haproxy-otel"), "toml");
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = haproxy_otel(None, &settings, &upstream, &receiver);
        let haproxy = config.env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        let caller = format!("00-{}-{CALLER}-01", vitals::trace_id(1));
        let headers = [("traceparent", &*caller), ("User-ID", "ada"), ("host", "shop.example")];
        assert_eq!(client::get(haproxy.addr("http"), "/status/404?q=1", &headers).status, 404);
        let server = vitals::server_span(&receiver, &vitals::trace_id(1));
        let leg = receiver.client_span_of(&server).unwrap();
        let told = upstream.last().header("traceparent").unwrap().to_owned();
        assert_eq!(server.parent_id, CALLER, "{engine}");
        assert_eq!(told, format!("00-{}-{}-01", server.trace_id, leg.span_id));
        assert_eq!((server.name.as_str(), leg.name.as_str(), leg.kind), ("GET", "GET", SpanKind::Client));
        assert_eq!(
            (server.scope.as_str(), server.resource.str("service.name")),
            ("haproxy-vitals", Some("loadbalancer"))
        );
        assert_eq!((server.str("test_attribute"), server.str("user.id")), (Some("hello"), Some("ada")), "{engine}");
        assert_eq!((server.str("url.path"), server.str("url.query")), (Some("/status/404"), Some("q=1")));
        assert_eq!(server.str("server.address"), Some("shop.example"));
        assert_eq!(
            (server.str("network.peer.address"), server.str("client.address")),
            (Some("127.0.0.1"), Some("127.0.0.1"))
        );
        assert_eq!((server.str("haproxy.server.name"), leg.str("haproxy.server.name")), (Some("srv1"), Some("srv1")));
        assert_eq!((server.str("error.type"), leg.str("error.type")), (None, Some("404")), "{engine}");
        assert!(server.has("haproxy.termination_state") && leg.has("url.full") && !leg.has("url.path"), "{leg:#?}");
        assert!(!server.has("http.request.header.host") && leg.event("received response headers").is_none());

        // As `AlwaysOn` did, whatever a caller says.
        let caller = format!("00-{}-{CALLER}-00", vitals::trace_id(2));
        client::get(haproxy.addr("http"), "/", &[("traceparent", &caller)]);
        assert!(!vitals::server_span(&receiver, &vitals::trace_id(2)).has("url.query"));
        assert!(receiver.requests().iter().all(|request| request.header("content-type") == Some("application/json")));
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn zipkins_headers_are_read_and_written() {
    let [_, settings] = blocks(&section("haproxy-otel"), "toml");
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = haproxy_otel(None, &settings, &upstream, &receiver);
        let haproxy = config.env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        let trace = vitals::trace_id(3);
        let headers = [("x-b3-traceid", &*trace), ("x-b3-spanid", CALLER), ("x-b3-sampled", "1")];
        client::get(haproxy.addr("http"), "/", &headers);
        let server = vitals::server_span(&receiver, &trace);
        let leg = receiver.client_span_of(&server).unwrap();
        let seen = upstream.last();
        let told = ["x-b3-traceid", "x-b3-spanid", "x-b3-sampled"].map(|name| seen.header(name).unwrap_or_default());
        assert_eq!((server.parent_id.as_str(), told), (CALLER, [&*trace, &*leg.span_id, "1"]), "{engine}");
        assert!(seen.header("traceparent").is_none() && seen.header("b3").is_none(), "{seen:#?}");
        haproxy.finish();
    }
}

#[test]
fn without_a_span_for_the_leg_the_server_is_told_the_server_span() {
    let [_, frontend, _] = blocks(&section("haproxy-otel"), "haproxy");
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = haproxy_otel(Some(&frontend), "", &upstream, &receiver);
        let haproxy = config.env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        client::get(haproxy.addr("http"), "/", &[("traceparent", &vitals::traceparent(4))]);
        let server = vitals::server_span(&receiver, &vitals::trace_id(4));
        let told = upstream.last().header("traceparent").unwrap().to_owned();
        assert_eq!(told, format!("00-{}-{}-01", server.trace_id, server.span_id), "{engine}");
        vitals::wait_exported(&haproxy, &receiver, 1);
        assert!(receiver.client_span_of(&server).is_none());
        haproxy.finish();
    }
}

#[test]
fn a_condition_on_the_action_leaves_requests_out() {
    let [_, _, frontend] = blocks(&section("haproxy-otel"), "haproxy");
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = haproxy_otel(Some(&frontend), "", &upstream, &receiver);
        let haproxy = config.env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        client::get(haproxy.addr("http"), "/health", &[("traceparent", &vitals::traceparent(5))]);
        client::get(haproxy.addr("http"), "/", &[("traceparent", &vitals::traceparent(6))]);
        vitals::server_span(&receiver, &vitals::trace_id(6));
        vitals::wait_exported(&haproxy, &receiver, 1);
        assert!(receiver.spans().iter().all(|span| span.trace_id == vitals::trace_id(6)), "{engine}");
        haproxy.finish();
    }
}

/// The chart's values as the controller would write them: its snippets in their sections, its variables. The image's own
/// file comes before what the controller writes, and the controller checks that alone.
fn ingress(is_in_image: bool, upstream: &Upstream, receiver: &OtlpReceiver) -> Builder {
    let [values] = blocks(&section("haproxy-ingress-otel"), "yaml");
    let image =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../package/image/container.cfg")).unwrap();
    let text = [
        if is_in_image { image.as_str() } else { "" },
        "global\n",
        &snippet(&values, "global-config-snippet"),
        "defaults\n    mode http\n    log ${log} local0\n    timeout connect 5s\n    timeout client 5s\n    timeout server 5s\n",
        "    log-format ",
        value(&values, "log-format"),
        "\nfrontend http\n    bind :8080\n",
        &snippet(&values, "frontend-config-snippet"),
        "    http-request deny if { path /denied }\n    default_backend app\nbackend app\n    server SRV_1 ${upstream}\n",
    ];
    let builder = at_home(&text.concat(), "")
        .upstream(upstream)
        .env("OTEL_BSP_SCHEDULE_DELAY", 100)
        .env("LUA_BOOLEANS", "normal");
    let at_home = |value: &str| value.replace("http://otel-collector.observability:4318", &receiver.http_endpoint());
    variables(&values).iter().fold(builder, |builder, (name, value)| builder.env(name, at_home(value)))
}

/// The lines under `key: |`.
pub(super) fn snippet(values: &str, key: &str) -> String {
    let mut lines = values.lines().skip_while(|line| line.trim() != format!("{key}: |"));
    let depth = |line: &str| line.len() - line.trim_start().len();
    let own = depth(lines.next().unwrap_or_else(|| panic!("no {key}")));
    let mut text = String::new();
    for line in lines.take_while(|line| depth(line) > own) {
        let _ = writeln!(text, "    {}", line.trim());
    }
    assert!(!text.is_empty(), "{key}");
    text
}

/// What stands behind `key:`, in its quotes.
pub(super) fn value<'a>(values: &'a str, key: &str) -> &'a str {
    let line = values.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key}"))
}

/// `extraEnvs`.
pub(super) fn variables(values: &str) -> Vec<(String, String)> {
    let field = |line: &str, key: &str| Some(line.trim().strip_prefix(key)?.trim_matches('"').to_owned());
    let names = values.lines().filter_map(|line| field(line, "- name: "));
    let variables: Vec<_> = names.zip(values.lines().filter_map(|line| field(line, "value: "))).collect();
    assert_eq!(variables.len(), 6, "{variables:?}");
    variables
}

#[test]
fn the_ingress_controllers_snippets_trace_log_and_answer_with_the_ids() {
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        assert!(ingress(false, &upstream, &receiver).check().ok);
        let haproxy = ingress(true, &upstream, &receiver).env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        let headers = [("traceparent", &*vitals::traceparent(7)), ("User-ID", "ada")];
        let answer = client::get(haproxy.addr("http"), "/", &headers);
        let server = vitals::server_span(&receiver, &vitals::trace_id(7));
        let leg = receiver.client_span_of(&server).unwrap();
        assert_eq!((server.parent_id.as_str(), server.str("user.id")), (CALLER, Some("ada")), "{engine}");
        assert_eq!(server.resource.str("service.name"), Some("haproxy-ingress"));
        assert_eq!((server.str("haproxy.frontend.name"), leg.str("haproxy.backend.name")), (Some("http"), Some("app")));
        let told = upstream.last().header("traceparent").unwrap().to_owned();
        assert_eq!(told, format!("00-{}-{}-01", server.trace_id, leg.span_id));
        let ids = ["x-trace-id", "x-span-id"].map(|name| answer.header(name).unwrap_or_default().to_owned());
        assert_eq!(ids, [server.trace_id.clone(), server.span_id.clone()], "{engine}");
        haproxy.wait_log(&format!("trace_id={} span_id={}", server.trace_id, server.span_id), SOON);
        let protobuf = |request: &haproxy_vitals_tests::otlp::Received| {
            request.header("content-type") == Some("application/x-protobuf")
        };
        assert!(receiver.requests().iter().all(protobuf));

        // What HAProxy answers itself has its span too.
        assert_eq!(
            client::get(haproxy.addr("http"), "/denied", &[("traceparent", &vitals::traceparent(8))]).status,
            403
        );
        assert_eq!(vitals::server_span(&receiver, &vitals::trace_id(8)).int("http.response.status_code"), Some(403));
        unsampled_callers_are_followed(&haproxy, &upstream, &receiver);
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[track_caller]
fn unsampled_callers_are_followed(haproxy: &Haproxy, upstream: &Upstream, receiver: &OtlpReceiver) {
    let caller = format!("00-{}-{CALLER}-00", vitals::trace_id(9));
    client::get(haproxy.addr("http"), "/", &[("traceparent", &caller)]);
    let told = upstream.last().header("traceparent").unwrap().to_owned();
    assert!(told.starts_with(&format!("00-{}-", vitals::trace_id(9))) && told.ends_with("-00"), "{told}");
    haproxy.wait_log(&format!("trace_id={} span_id=-", vitals::trace_id(9)), SOON);
    assert!(receiver.spans().iter().all(|span| span.trace_id != vitals::trace_id(9)));
}
