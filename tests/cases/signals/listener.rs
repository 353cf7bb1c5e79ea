//! The listener of the module's own, and exemplars.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{Mode, OtlpReceiver, Port, SOON, Upstream, poll};

use super::{SERVER, count, measured, scrape};

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5";

#[test]
fn exemplars_name_spans_that_were_exported() {
    let (upstream, receiver, port) = (Upstream::start(), OtlpReceiver::start(), Port::reserve());
    let haproxy = measured(Door::ZeroLines, "", "")
        .upstream(&upstream)
        .export_http(&receiver)
        .env("OTEL_TRACES_SAMPLER", "traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", "0.5")
        .env("OTEL_METRICS_EXPORTER", "prometheus")
        .env("OTEL_EXPORTER_PROMETHEUS_PORT", port.number())
        .env("OTEL_SERVICE_NAME", "edge \"one\"")
        .start();
    client::load(haproxy.addr("http"), Load::new(2, Until::Count(40), "/"));
    poll::until(SOON, "forty requests", || count(&scrape(port.addr()), SERVER, &[]) == 40);
    vitals::wait_exported(&haproxy, &receiver, 1);
    let known: BTreeSet<_> = receiver.spans().into_iter().map(|span| (span.trace_id, span.span_id)).collect();
    for addr in [port.addr(), haproxy.addr("metrics")] {
        let answer = client::get(addr, "/metrics", &[("accept", OPENMETRICS)]);
        let text = answer.text();
        assert_eq!(
            answer.header("content-type"),
            Some("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            "{text}"
        );
        assert!(text.ends_with("# EOF\n") && text.contains("# UNIT http_server_request_duration_seconds seconds\n"));
        assert!(text.contains("service_name=\"edge \\\"one\\\"\""), "{text}");
        let exemplars: Vec<_> = text.lines().filter_map(|line| line.split_once(" # {trace_id=\"")).collect();
        assert!(!exemplars.is_empty(), "{text}");
        for (_, exemplar) in exemplars {
            let (trace, rest) = exemplar.split_once("\",span_id=\"").unwrap();
            let (span, _) = rest.split_once("\"} ").unwrap();
            assert!(known.contains(&(trace.to_owned(), span.to_owned())), "{exemplar}: {known:?}");
        }
    }
    haproxy.finish();
}

#[test]
fn the_listener_answers_metrics_alone() {
    let (upstream, port) = (Upstream::start(), Port::reserve());
    let haproxy = vitals::actions("", "")
        .upstream(&upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .env("HAPROXY_VITALS_METRICS_LISTEN", port.addr())
        .start();
    assert_eq!(client::get(port.addr(), "/", &[]).status, 404);
    assert_eq!(client::request(port.addr(), "POST", "/metrics", &[], b"").status, 405);
    assert!(client::raw(port.addr(), b"nonsense\r\n\r\n").starts_with(b"HTTP/1.1 400"));
    assert_eq!(count(&scrape(port.addr()), "target_info", &[("service_name", "unknown_service:haproxy")]), 1);
    haproxy.finish();
}

#[test]
fn a_port_that_is_taken_is_refused_at_the_start() {
    let (upstream, taken) = (Upstream::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap();
    let refused = vitals::zero_lines("", "")
        .upstream(&upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .env("HAPROXY_VITALS_METRICS_LISTEN", address)
        .try_start();
    let why = refused.map(|_| ()).unwrap_err();
    assert!(why.contains(&format!("`metrics.listen`: cannot listen on {address}")), "{why}");
}

#[test]
fn after_a_reload_the_new_worker_answers() {
    let (upstream, port) = (Upstream::start(), Port::reserve());
    let haproxy = vitals::zero_lines("", "")
        .upstream(&upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .env("HAPROXY_VITALS_METRICS_LISTEN", port.addr())
        .mode(Mode::MasterWorker)
        .start();
    client::load(haproxy.addr("http"), Load::new(1, Until::Count(5), "/"));
    poll::until(SOON, "five requests", || count(&scrape(port.addr()), SERVER, &[]) == 5);
    // Keeps the old worker alive.
    let addr = haproxy.addr("http");
    let slow = std::thread::spawn(move || client::get(addr, "/drip/30/100", &[]).status);
    poll::until(SOON, "the slow request", || haproxy.info("CurrConns") != "0");
    haproxy.reload();
    assert_eq!(haproxy.worker_pids().len(), 2);
    // The new worker has measured nothing, and after a second the old one listens no more.
    poll::until(SOON, "the new worker alone", || (0..20).all(|_| count(&scrape(port.addr()), SERVER, &[]) == 0));
    assert_eq!(haproxy.worker_pids().len(), 2, "the old worker still serves");
    let _ = slow.join().unwrap();
    haproxy.finish();
}

#[test]
fn no_scrape_is_lost_over_reloads() {
    let (upstream, port) = (Upstream::start(), Port::reserve());
    let haproxy = vitals::zero_lines("", "")
        .upstream(&upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .env("HAPROXY_VITALS_METRICS_LISTEN", port.addr())
        .mode(Mode::MasterWorker)
        .start();
    let (done, addr) = (AtomicBool::new(false), port.addr());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = client::raw(addr, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
                    assert!(answer.starts_with(b"HTTP/1.1 200"), "a scrape was lost");
                }
            });
        }
        for _ in 0..8 {
            haproxy.reload();
            haproxy.wait_one_worker(SOON);
        }
        done.store(true, Ordering::Relaxed);
    });
    haproxy.finish();
}
