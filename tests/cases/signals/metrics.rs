//! Metrics of real requests, as Prometheus reads them from the service.

use std::thread;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream, poll};

use super::{CLIENT, SERVER, count, measured, scrape, total};

const FRONT: &str = "
  http-request deny if { path /denied }
  use_backend nowhere if { path /nowhere }
";

const PATHS: [&str; 6] = ["/", "/status/404", "/denied", "/nowhere", "/status/500", "/a?b=c"];

#[test]
fn every_request_is_counted_once_sampled_or_not() {
    const REQUESTS: u64 = 1_200;
    for (door, ratio) in [(Door::ZeroLines, "0.3"), (Door::LuaActions, "0.3"), (Door::ZeroLines, "0")] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = measured(door, FRONT, "\nbackend nowhere\n")
            .upstream(&upstream)
            .export_http(&receiver)
            .env("OTEL_TRACES_SAMPLER", "traceidratio")
            .env("OTEL_TRACES_SAMPLER_ARG", ratio)
            .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
            .env("HAPROXY_VITALS_METRICS_EXPORTER", "none")
            .start();
        let load = Load { paths: PATHS.map(str::to_owned).to_vec(), ..Load::new(4, Until::Count(REQUESTS), "/") };
        let report = client::load(haproxy.addr("http"), load);
        assert_eq!((report.total(), report.failed), (REQUESTS, 0), "{report:?}");
        poll::until(SOON, "every request in the metrics", || {
            count(&scrape(haproxy.addr("metrics")), SERVER, &[]) == REQUESTS
        });
        let metrics = scrape(haproxy.addr("metrics"));
        assert_eq!(count(&metrics, &format!("{SERVER}_count"), &[]), REQUESTS);
        assert_eq!(count(&metrics, CLIENT, &[]), upstream.count(), "{door:?}");
        for (status, requests) in report.by_status {
            let label = [("http_response_status_code", &*status.to_string())];
            assert_eq!(count(&metrics, SERVER, &label), requests, "{door:?} {status}");
        }

        let told = |seen: &str| seen.ends_with("-01") || seen.ends_with("-03");
        let sampled = upstream.requests().iter().filter(|seen| told(seen.header("traceparent").unwrap())).count();
        assert_eq!(sampled == 0, ratio == "0", "{door:?}: the flag says what was sampled, not what was measured");
        let started = |result| count(&metrics, "otel_sdk_span_started_total", &[("otel_span_sampling_result", result)]);
        assert_eq!(started("RECORD_AND_SAMPLE") + started("RECORD_ONLY"), REQUESTS, "{door:?}");
        assert_eq!((started("DROP"), count(&metrics, "otel_sdk_span_live", &[])), (0, 0), "{door:?}");
        vitals::wait_exported(&haproxy, &receiver, 0);
        assert_eq!(receiver.server_spans().len() as u64, started("RECORD_AND_SAMPLE"), "{door:?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn durations_and_errors_are_those_of_the_spans() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = measured(Door::ZeroLines, FRONT, "\nbackend nowhere\n")
        .upstream(&upstream)
        .export_http(&receiver)
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .env("HAPROXY_VITALS_METRICS_ATTRIBUTES", "haproxy.frontend.name,haproxy.backend.name,haproxy.server.name")
        .start();
    let paths = ["/", "/status/500", "/denied", "/nowhere", "/hang", "/cut", "/delay/50"];
    for path in paths {
        let _ = client::try_request(haproxy.addr("http"), "GET", path, &[], b"");
    }
    let requests = paths.len() as u64;
    vitals::wait_exported(&haproxy, &receiver, requests);
    let metrics = scrape(haproxy.addr("metrics"));
    assert_eq!(count(&metrics, SERVER, &[]), requests);
    let spans = receiver.server_spans();
    for error in ["500", "503", "504", "server_abort", "server_timeout"] {
        let said = |spans: &[haproxy_vitals_tests::SpanView]| {
            spans.iter().filter(|span| span.str("error.type") == Some(error)).count() as u64
        };
        assert_eq!(count(&metrics, SERVER, &[("error_type", error)]), said(&spans), "{error}");
    }
    let seconds: f64 = spans.iter().map(|span| span.duration().as_secs_f64()).sum();
    assert!((total(&metrics, &format!("{SERVER}_sum"), &[]) - seconds).abs() < 1e-6, "{seconds}");
    let clients: f64 =
        spans.iter().filter_map(|span| receiver.client_span_of(span)).map(|span| span.duration().as_secs_f64()).sum();
    assert!((total(&metrics, &format!("{CLIENT}_sum"), &[]) - clients).abs() < 1e-6, "{clients}");
    let ours = [("haproxy_frontend_name", "front"), ("haproxy_backend_name", "back"), ("haproxy_server_name", "one")];
    assert_eq!(count(&metrics, CLIENT, &ours), upstream.count());
    assert_eq!(count(&metrics, SERVER, &[("haproxy_backend_name", "nowhere")]), 1);
    haproxy.finish();
}

#[test]
fn active_requests_are_exact_by_method_while_they_run_and_when_they_ended() {
    const NAME: &str = "http_server_active_requests";
    for door in Door::ALL {
        let upstream = Upstream::start();
        let haproxy = measured(door, FRONT, "\nbackend nowhere\n")
            .upstream(&upstream)
            .env("OTEL_TRACES_EXPORTER", "none")
            .env("OTEL_TRACES_SAMPLER", "always_off")
            .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
            .env("HAPROXY_VITALS_METRICS_ACTIVE_REQUESTS", "true")
            .start();
        let addr = haproxy.addr("http");
        let slow: Vec<_> = ["GET", "PUT", "PUT"]
            .map(|method| thread::spawn(move || client::request(addr, method, "/delay/250", &[], b"").status))
            .into();
        let labels = |method| [("http_request_method", method), ("url_scheme", "http")];
        let active = |method| count(&scrape(haproxy.addr("metrics")), NAME, &labels(method));
        poll::until(SOON, "three active requests", || (active("GET"), active("PUT")) == (1, 2));
        for request in slow {
            assert_eq!(request.join().unwrap(), 200);
        }
        for path in PATHS {
            client::get(addr, path, &[]);
        }
        let _ = client::try_request(addr, "BREW", "/cut", &[], b"");
        poll::until(SOON, "no active request", || count(&scrape(haproxy.addr("metrics")), NAME, &[]) == 0);
        let scraped = scrape(haproxy.addr("metrics"));
        assert!(
            scraped.samples.iter().any(|s| s.metric == NAME && s.labels.get("http_request_method") == Some("_OTHER"))
        );
        assert_eq!(vitals::counters(&haproxy)["faults"], 0);
        haproxy.finish();
    }
}

#[test]
fn attribute_sets_beyond_the_limit_overflow_and_none_is_lost() {
    let upstream = Upstream::start();
    let haproxy = measured(Door::ZeroLines, "", "")
        .upstream(&upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .env("HAPROXY_VITALS_METRICS_CARDINALITY_LIMIT", "4")
        .start();
    for status in 200..212 {
        client::get(haproxy.addr("http"), &format!("/status/{status}"), &[]);
    }
    poll::until(SOON, "twelve requests", || count(&scrape(haproxy.addr("metrics")), SERVER, &[]) == 12);
    let metrics = scrape(haproxy.addr("metrics"));
    assert_eq!(count(&metrics, SERVER, &[("otel_metric_overflow", "true")]), 9);
    haproxy.finish();
}

#[test]
fn a_collector_that_is_down_loses_no_measurement() {
    const REQUESTS: u64 = 3_000;
    let (upstream, dead) = (Upstream::start(), haproxy_vitals_tests::Port::reserve());
    let haproxy = measured(Door::ZeroLines, "", "")
        .upstream(&upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", dead.addr()))
        .env("OTEL_BSP_MAX_QUEUE_SIZE", 512)
        .env("HAPROXY_VITALS_TRACES_RING_BYTES", 65_536)
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .start();
    // Slow enough for a small ring to be read in time.
    client::load(haproxy.addr("http"), Load::new(4, Until::Count(REQUESTS), "/delay/2"));
    let counted = || count(&scrape(haproxy.addr("metrics")), SERVER, &[]);
    poll::until(SOON, "every request in the metrics", || counted() == REQUESTS);
    let metrics = scrape(haproxy.addr("metrics"));
    let dropped = [("error_type", "queue_full")];
    assert!(count(&metrics, "otel_sdk_processor_span_processed_total", &dropped) > 0);
    assert_eq!(count(&metrics, "otel_sdk_processor_span_queue_capacity", &[]), 512);
    haproxy.finish();
}

#[test]
fn without_metrics_the_service_says_how_to_have_some() {
    let upstream = Upstream::start();
    let haproxy = measured(Door::ZeroLines, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none").start();
    let answer = client::get(haproxy.addr("metrics"), "/metrics", &[]);
    assert_eq!((answer.status, answer.text().trim()), (404, "no metrics are made: set metrics.enabled"));
    haproxy.finish();
}
