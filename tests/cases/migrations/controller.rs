//! From haproxy-ingress-otel: a configuration with all that the ingress controller writes, and theirs for end-to-end tests.

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::otlp::StatusCode;
use haproxy_vitals_tests::vitals::{self, CALLER};
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, SOON, SpanView, Upstream, client};

use super::traces::{ENGINES, snippet, value, variables};
use super::{at_home, blocks, section};

/// Its own frontends, maps and marks; snippets stand at the end of their sections, after its own rules.
const CONTROLLER: &str = "
global
  localpeer local
  stats socket ${dir}/runtime-api.sock level admin expose-fd listeners
  ###_config-snippet_### BEGIN
GLOBAL  ###_config-snippet_### END

defaults haproxytech
  log-format LOG-FORMAT
  timeout http-request 5000
  timeout connect 5000
  timeout client 50000
  timeout queue 5000
  timeout server 50000
  timeout tunnel 3600000
  timeout http-keep-alive 60000

frontend healthz from haproxytech
  mode http
  bind 127.0.0.1:${port:healthz}
  no log
  monitor-uri /healthz

frontend http from haproxytech
  mode http
  bind 127.0.0.1:${port:http} name v4
  log ${log} local0
  http-request set-var(txn.base) base
  http-request set-var(txn.path) path
  http-request set-var(txn.host) req.hdr(Host),field(1,:),lower
  http-request set-var(txn.host_match) var(txn.host),map(${dir}/host.map)
  http-request set-var(txn.path_match) var(txn.host_match),concat(,txn.path,),map_beg(${dir}/path-prefix.map)
  ###_config-snippet_### BEGIN
FRONTEND  ###_config-snippet_### END
  use_backend %[var(txn.path_match),field(1,.)]
  default_backend haproxy-controller_default-local-service_http

frontend stats from haproxytech
  mode http
  bind 127.0.0.1:${port:stats} name v4
  no log
  http-request set-var(txn.base) base
  stats enable
  stats uri /
  stats refresh 10s
  stats show-legends

backend haproxy-controller_default-local-service_http from haproxytech
  mode http

backend shop_svc_echo-server_http from haproxytech
  mode http
  balance roundrobin
  option forwardfor
  server SRV_1 ${upstream} enabled
";

fn controller(frontend: &str, upstream: &Upstream, receiver: &OtlpReceiver) -> Builder {
    let [values] = blocks(&section("haproxy-ingress-otel"), "yaml");
    let text = CONTROLLER
        .replace("GLOBAL", &format!("    tune.lua.bool-sample-conversion normal\n{}", global(&values)))
        .replace("FRONTEND", frontend)
        .replace("LOG-FORMAT", value(&values, "log-format"));
    let config = at_home(&text, "").upstream(upstream).mode(Mode::MasterWorker);
    let config = config.file("host.map", "echo.local echo.local\n");
    let config = config.file("path-prefix.map", "echo.local/ shop_svc_echo-server_http\n");
    let config = variables(&values).iter().fold(config, |config, (name, value)| config.env(name, value));
    config.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint()).env("OTEL_BSP_SCHEDULE_DELAY", 100)
}

fn global(values: &str) -> String {
    snippet(values, "global-config-snippet")
}

/// After health checks and statistics, the SERVER spans of a request that is routed and of one that is not.
#[track_caller]
fn spans_of(haproxy: &Haproxy, receiver: &OtlpReceiver) -> [SpanView; 2] {
    assert_eq!(client::get(haproxy.addr("healthz"), "/healthz", &[]).status, 200);
    assert_eq!(client::get(haproxy.addr("stats"), "/", &[]).status, 200);
    [(1, "echo.local", 200), (2, "nowhere.local", 503)].map(|(n, host, status)| {
        let headers = [("host", host), ("traceparent", &vitals::traceparent(n))];
        let answer = client::get(haproxy.addr("http"), "/bytes/2", &headers);
        let span = vitals::server_span(receiver, &vitals::trace_id(n));
        assert_eq!((answer.status, span.int("http.response.status_code")), (status, Some(i64::from(status))));
        span
    })
}

#[test]
fn routed_requests_have_both_spans_lost_ones_one_and_health_checks_none() {
    let [values] = blocks(&section("haproxy-ingress-otel"), "yaml");
    let rules = snippet(&values, "frontend-config-snippet");
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = controller(&rules, &upstream, &receiver);
        let haproxy = config.env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        let [routed, lost] = spans_of(&haproxy, &receiver);
        vitals::wait_exported(&haproxy, &receiver, 2);
        assert_eq!((routed.parent_id.as_str(), routed.status), (CALLER, StatusCode::Unset), "{engine}");
        for (name, value) in [
            ("haproxy.frontend.name", "http"),
            ("haproxy.backend.name", "shop_svc_echo-server_http"),
            ("haproxy.server.name", "SRV_1"),
            ("haproxy.termination_state", "--"),
            ("server.address", "echo.local"),
        ] {
            assert_eq!(routed.str(name), Some(value), "{engine}: {name}");
        }
        let leg = receiver.client_span_of(&routed).unwrap();
        let told = format!("00-{}-{}-01", routed.trace_id, leg.span_id);
        assert_eq!(upstream.last().header("traceparent"), Some(told.as_str()), "{engine}");
        assert_eq!((lost.status, receiver.client_span_of(&lost)), (StatusCode::Error, None), "{engine}");
        assert_eq!(receiver.span_count(), 3, "{engine}");
        haproxy.wait_log(&format!("trace_id={} span_id={}", routed.trace_id, routed.span_id), SOON);
        haproxy.finish();
    }
}

#[test]
fn names_of_frontends_do_in_place_of_the_frontends_snippet() {
    let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
    assert!(section("haproxy-ingress-otel").contains("`HAPROXY_VITALS_TRACES_FRONTENDS` is `http,https`"));
    // A plain name that no section has would keep HAProxy from starting, and here is no certificate for `https`.
    let config = controller("", &upstream, &receiver).env("HAPROXY_VITALS_TRACES_FRONTENDS", "http");
    let haproxy = config.start();
    spans_of(&haproxy, &receiver);
    vitals::wait_exported(&haproxy, &receiver, 2);
    assert_eq!(receiver.span_count(), 3);
    haproxy.finish();
}

#[test]
fn their_end_to_end_configuration_answers_and_logs_with_the_ids() {
    let [text] = blocks(&section("haproxy-ingress-otel"), "haproxy");
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = at_home(&text.replace("127.0.0.1:8000", "${upstream}"), "")
            .upstream(&upstream)
            .env("HAPROXY_VITALS_TRACES_ENGINE", engine)
            .env("OTEL_SERVICE_NAME", "haproxy-e2e-test")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
            .env("OTEL_TRACES_SAMPLER", "always_on")
            .env("OTEL_PROPAGATORS", "tracecontext")
            .env("OTEL_BSP_SCHEDULE_DELAY", 100);
        let haproxy = config.start();
        assert_eq!(client::get(haproxy.addr("stats"), "/stats", &[]).status, 200);
        for (n, path, backend, legs) in [(1, "/bytes/1", "app", 1), (2, "/health", "health", 0)] {
            let answer = client::get(haproxy.addr("http"), path, &[("traceparent", &vitals::traceparent(n))]);
            let server = vitals::server_span(&receiver, &vitals::trace_id(n));
            vitals::wait_exported(&haproxy, &receiver, n);
            assert_eq!(answer.header("x-trace-id"), Some(server.trace_id.as_str()), "{engine}: {path}");
            // Rules for responses are for those of servers.
            assert_eq!(
                answer.header("x-span-id"),
                Some(server.span_id.as_str()).filter(|_| legs > 0),
                "{engine}: {path}"
            );
            assert_eq!(server.str("http.target"), Some(path), "{engine}");
            assert_eq!(server.str("haproxy.frontend.name"), Some("http-in"));
            assert_eq!(server.str("haproxy.backend.name"), Some(backend));
            assert_eq!(server.resource.str("service.name"), Some("haproxy-e2e-test"));
            assert_eq!(receiver.children_of(&server).len(), legs, "{engine}: {path}");
            haproxy.wait_log(&format!("trace_id={} span_id={}", server.trace_id, server.span_id), SOON);
        }
        assert_eq!(receiver.span_count(), 3, "{engine}: statistics are not traced");
        haproxy.finish();
    }
}
