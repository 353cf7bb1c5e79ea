//! What checks came to, as metrics: pulled through HAProxy and from the listener, and pushed.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, Port, SOON, poll};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use prometheus_parse::Scrape;

use super::api::scripted_with;
use super::{CONFIG, SETTINGS, wait_down, wait_up};
use crate::signals::{SERVICE, count, scrape};

const CHECKS: &str = "haproxy_health_checks_total";
const DURATION: &str = "haproxy_health_check_duration_seconds";
const STATE: &str = "haproxy_health_server_state";
const SINGLE: &str = "haproxy_health_single_checks_total";

/// Nothing is traced; metrics are not pushed.
fn settings(metrics: &str) -> String {
    format!("[metrics]\nenabled = true\n{metrics}\n{SETTINGS}")
}

fn proxy(servers: &[(&str, &GrpcBackend)], settings: &str) -> Builder {
    let lines: Vec<_> = servers.iter().map(|(name, backend)| format!("  server {name} {}", backend.addr())).collect();
    Haproxy::config(&format!("{}{SERVICE}", CONFIG.replace("SERVERS", &lines.join("\n"))))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", settings)
        .allow_alert("has no server available")
}

/// Waits for figures that fit to what the server has seen, with no check under way.
#[track_caller]
fn wait_counted(scraped: impl Fn() -> Scrape, name: &str, labels: &[(&str, &str)], backend: &GrpcBackend) -> Scrape {
    poll::until_some(SOON, "every check counted once", || {
        let seen = backend.checks() as u64;
        let scrape = scraped();
        (seen == backend.checks() as u64 && count(&scrape, name, labels) == seen).then_some(scrape)
    })
}

#[test]
fn every_check_is_counted_once_with_its_result_and_every_state_is_a_series() {
    let (one, two, port) = (GrpcBackend::start(), GrpcBackend::start(), Port::reserve());
    let settings = settings(&format!("exporter = \"none\"\nlisten = \"{}\"", port.addr()));
    let haproxy = proxy(&[("one", &one), ("two", &two)], &settings).start();
    wait_up(&haproxy, "one", SOON);
    wait_up(&haproxy, "two", SOON);
    assert_eq!(count(&scrape(port.addr()), "haproxy_health_connections", &[]), 2);
    two.set_not_serving("");
    wait_down(&haproxy, "two", SOON);
    one.answer(Answer::Hang);
    wait_down(&haproxy, "one", SOON);
    for addr in [port.addr(), haproxy.addr("metrics")] {
        for (name, backend) in [("one", &one), ("two", &two)] {
            let labels = [("haproxy_backend_name", "b"), ("haproxy_server_name", name)];
            let metrics = wait_counted(|| scrape(addr), CHECKS, &labels, backend);
            assert_eq!(count(&metrics, DURATION, &labels), count(&metrics, CHECKS, &labels), "each took some time");
            let with = |more: (&'static str, &'static str)| [labels[0], labels[1], more];
            for (state, is_so) in [("up", 0), ("drain", 0), ("down", 1), ("unknown", 0)] {
                assert_eq!(count(&metrics, STATE, &with(("haproxy_health_state", state))), is_so, "{name} {state}");
                let series = metrics
                    .samples
                    .iter()
                    .filter(|sample| sample.metric == STATE && sample.labels.get("haproxy_server_name") == Some(name));
                assert_eq!(series.count(), 4);
            }
            for (to, changes) in [("up", 1), ("drain", 0), ("down", 1)] {
                let label = with(("haproxy_health_state_to", to));
                assert_eq!(count(&metrics, "haproxy_health_server_state_changes_total", &label), changes, "{to}");
            }
            let changed = count(&metrics, "haproxy_health_server_last_change_timestamp_seconds", &labels);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            assert!(changed <= now && changed + 60 > now, "{changed}");
        }
        let metrics = scrape(addr);
        let failed = |why| count(&metrics, CHECKS, &[("haproxy_health_result", "fail"), ("error_type", why)]);
        assert!(failed("timeout") >= 3 && failed("not_serving") > 0, "{metrics:?}");
        let passed = metrics.samples.iter().filter(|sample| sample.labels.get("haproxy_health_result") == Some("pass"));
        assert!(
            passed.clone().count() == 2 && passed.into_iter().all(|sample| sample.labels.get("error_type").is_none())
        );
        assert!(count(&metrics, "haproxy_health_check_lateness_seconds", &[]) >= count(&metrics, CHECKS, &[]));
        assert!(count(&metrics, "haproxy_health_active_checks", &[]) <= 2);
        assert!(!metrics.samples.iter().any(|sample| sample.metric.starts_with("http_")), "nothing is traced");
        assert!(!metrics.samples.iter().any(|sample| sample.metric.starts_with("check_")), "nobody asked for them");
    }
    haproxy.finish();
}

#[test]
fn checks_are_pushed_where_nothing_is_traced_and_once_more_at_the_end() {
    for temporality in ["cumulative", "delta"] {
        let (backend, receiver) = (GrpcBackend::start(), OtlpReceiver::start());
        let settings = settings(&format!("interval = \"100ms\"\ntemporality = \"{temporality}\""));
        let haproxy = proxy(&[("s", &backend)], &settings).export_grpc(&receiver).start();
        wait_up(&haproxy, "s", SOON);
        backend.set_not_serving("");
        wait_down(&haproxy, "s", SOON);
        receiver.wait_metrics(SOON, |pushes| {
            let failed = ["haproxy.health.result=fail", "error.type=not_serving"];
            pushes.iter().any(|push| points(push, "haproxy.health.checks").iter().any(|point| point.has(&failed)))
        });
        haproxy.soft_stop();
        haproxy.wait_exit(SOON);
        let pushes = receiver.metrics();
        let sum = |push: &ExportMetricsServiceRequest| -> i64 {
            points(push, "haproxy.health.checks").iter().map(|point| point.value).sum()
        };
        let counted = if temporality == "delta" { pushes.iter().map(sum).sum() } else { sum(pushes.last().unwrap()) };
        // One may have been under way at the end.
        let seen = i64::try_from(backend.checks()).unwrap();
        assert!(counted == seen || counted + 1 == seen, "{temporality}: {counted} of {seen}");
        let states: Vec<_> = pushes.iter().flat_map(|push| points(push, "haproxy.health.server.state")).collect();
        let down = ["haproxy.backend.name=b", "haproxy.server.name=s", "haproxy.health.state=down"];
        assert!(states.iter().any(|point| point.has(&down) && point.value == 1), "{states:?}");
        assert!(states.iter().any(|point| point.has(&down) && point.value == 0), "{states:?}");
        let all: Vec<_> = pushes.iter().flat_map(metric_names).collect();
        assert!(all.iter().all(|name| name.starts_with("haproxy.health.")), "{all:?}");
        assert_eq!(receiver.span_count(), 0);
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn names_of_haproxy_grpc_agent_are_sums_of_all_checks_for_prometheus() {
    let (backend, other, receiver) = (GrpcBackend::start(), GrpcBackend::start(), OtlpReceiver::start());
    let settings = settings("interval = \"100ms\"\ngrpc_agent_names = true");
    let settings = format!("[agent]\nlisten = \"127.0.0.1:${{port:agent}}\"\n{settings}");
    let haproxy = scripted_with(&backend, SERVICE).file("vitals.toml", &settings).export_http(&receiver).start();
    wait_up(&haproxy, "s", SOON);
    let answer = client::get(haproxy.addr("http"), &format!("/check/{}", other.addr()), &[]).text();
    assert_eq!(answer, "true up ok SERVING");
    other.answer(Answer::Hang);
    poll::until(SOON, "a check that the script did not wait for", || {
        client::get(haproxy.addr("http"), &format!("/check/{}?50", other.addr()), &[]).text().contains("timeout")
    });
    let mut agent = BufReader::new(TcpStream::connect(haproxy.addr("agent")).unwrap());
    for (line, reply) in [("b/s\n", "up\n"), ("nonsense\n", "")] {
        agent.get_mut().write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        agent.read_line(&mut answer).unwrap();
        assert!(answer.ends_with(reply), "{answer}");
    }
    let scraped = || scrape(haproxy.addr("metrics"));
    let single = wait_counted(scraped, SINGLE, &[], &other);
    assert_eq!(count(&single, SINGLE, &[("haproxy_health_result", "pass")]), 1);
    assert_eq!(count(&single, SINGLE, &[("error_type", "timeout")]), other.checks() as u64 - 1);
    let metrics = wait_counted(scraped, CHECKS, &[], &backend);
    let all = (backend.checks() + other.checks()) as u64;
    assert_eq!(count(&metrics, "check_requests_total", &[]), all);
    assert_eq!(count(&metrics, "check_requests_total", &[("result", "up")]), backend.checks() as u64 + 1);
    assert_eq!(count(&metrics, "check_duration_seconds", &[]), all);
    assert_eq!(count(&metrics, "check_errors_total", &[("error_type", "timeout")]), other.checks() as u64 - 1);
    assert_eq!(count(&metrics, "check_errors_total", &[("error_type", "protocol_error")]), 1);
    assert_eq!(count(&metrics, "haproxy_connections_active", &[]), 1);
    assert_eq!(count(&metrics, "grpc_channels_active", &[]), count(&metrics, "haproxy_health_connections", &[]));
    let door = |name: &str| {
        count(&metrics, &format!("haproxy_health_listener_{name}"), &[("haproxy_health_listener", "agent")])
    };
    let told = [
        "active_connections",
        "accepted_connections_total",
        "shed_connections_total",
        "answers_total",
        "refusals_total",
    ];
    assert_eq!(told.map(door), [1, 1, 0, 2, 1]);
    let pushed = receiver.wait_metrics(SOON, |pushes| !pushes.is_empty());
    let names: Vec<_> = pushed.iter().flat_map(metric_names).collect();
    assert!(!names.iter().any(|name| name.starts_with("check_") || name.starts_with("grpc_")), "{names:?}");
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn checks_are_measured_beside_requests() {
    let backend = GrpcBackend::start();
    let settings = settings("exporter = \"none\"").replace("[traces]\nenabled = false", "[traces]\nenabled = true");
    let haproxy = proxy(&[("s", &backend)], &settings).env("OTEL_TRACES_EXPORTER", "none").start();
    wait_up(&haproxy, "s", SOON);
    let metrics = wait_counted(|| scrape(haproxy.addr("metrics")), CHECKS, &[], &backend);
    assert!(metrics.samples.iter().any(|sample| sample.metric == "otel_sdk_span_live"), "{metrics:?}");
    haproxy.finish();
}

#[test]
fn a_disabled_sdk_makes_metrics_of_checks_only_where_settings_ask_for_them() {
    let backend = GrpcBackend::start();
    let silent = SETTINGS.replace("[traces]\nenabled = false\n", "");
    for (metrics, status) in [("", 404), ("[metrics]\nenabled = true\nexporter = \"none\"\n", 200)] {
        let haproxy = proxy(&[("s", &backend)], &format!("{metrics}{silent}"))
            .env("OTEL_SDK_DISABLED", "true")
            .env("OTEL_METRICS_EXPORTER", "console")
            .start();
        wait_up(&haproxy, "s", SOON);
        assert_eq!(client::get(haproxy.addr("metrics"), "/metrics", &[]).status, status, "{metrics}");
        haproxy.finish();
    }
}

#[derive(Debug)]
struct Point {
    attributes: Vec<String>,
    value: i64,
}

impl Point {
    fn has(&self, attributes: &[&str]) -> bool {
        attributes.iter().all(|wanted| self.attributes.iter().any(|found| found == wanted))
    }
}

fn metrics(
    push: &ExportMetricsServiceRequest,
) -> impl Iterator<Item = &opentelemetry_proto::tonic::metrics::v1::Metric> {
    push.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics)
}

fn metric_names(push: &ExportMetricsServiceRequest) -> Vec<String> {
    metrics(push).map(|metric| metric.name.clone()).collect()
}

/// The numbers of a metric.
fn points(push: &ExportMetricsServiceRequest, name: &str) -> Vec<Point> {
    let found = metrics(push).filter(|metric| metric.name == name);
    let data = found.flat_map(|metric| match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => sum.data_points.clone(),
        Data::Gauge(gauge) => gauge.data_points.clone(),
        other => panic!("{other:?}"),
    });
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => format!("{}={text}", pair.key),
        other => panic!("{other:?}"),
    };
    let value = |value: Option<Number>| match value {
        Some(Number::AsInt(value)) => value,
        other => panic!("{other:?}"),
    };
    data.map(|point| Point { attributes: point.attributes.iter().map(text).collect(), value: value(point.value) })
        .collect()
}
