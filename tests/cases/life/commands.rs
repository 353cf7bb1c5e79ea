//! The commands of the stats socket, and tracing that is switched off.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{OtlpReceiver, Port, SOON, Upstream, poll};

use super::{Door, PER_THREAD, config, count, field, proxy, traced, traced_to};

#[test]
fn show_vitals_traces_counts_requests_and_spans() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = traced_to(door, &upstream, &receiver).start();
        let report = client::load(haproxy.addr("http"), Load::new(4, Until::Count(50), "/"));
        assert_eq!(report.ok, 50, "{report:?}");
        let unsampled = [("traceparent", UNSAMPLED)];
        assert_eq!(client::get(haproxy.addr("http"), "/", &unsampled).status, 200);
        poll::until(SOON, "the spans to be exported", || count(&haproxy, "spans.exported") == 100);
        let expected = [
            ("requests.started", 50),
            ("requests.ended", 50),
            ("requests.unsampled", 1),
            ("requests.dropped.ring_full", 0),
            ("requests.dropped.malformed", 0),
            ("spans.created", 100),
            ("spans.queued", 0),
            ("spans.dropped.queue_full", 0),
            ("spans.dropped.refused", 0),
            ("spans.dropped.timeout", 0),
            ("spans.dropped.rejected", 0),
            ("spans.dropped.shutdown", 0),
            ("export.retries", 0),
            ("attributes.left_out", 0),
            ("faults", 0),
            ("tasks.panicked", 0),
            ("log.lines_lost", 0),
        ];
        for (name, value) in expected {
            assert_eq!(count(&haproxy, name), value, "{door:?} {name}");
        }
        assert_ne!(count(&haproxy, "export.last_success_unix_ms"), 0);
        assert_eq!(field(&haproxy, "export.last_error"), "");
        haproxy.finish();
    }
}

#[test]
fn show_vitals_config_tells_each_setting_and_its_source() {
    let (upstream, dead) = (Upstream::start(), Port::reserve());
    let haproxy = traced(Door::ZeroLines, &upstream)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}/base", dead.addr()))
        .env("HAPROXY_VITALS_RUNTIME_WORKERS", 3)
        .start();
    let answer = haproxy.cli("show vitals config");
    let shown: Vec<Vec<&str>> = answer.lines().map(|line| line.splitn(2, " = ").map(str::trim).collect()).collect();
    let line = |key: &str| {
        let found = shown.iter().find(|line| line[0] == key);
        found.map(|line| line[1].split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let endpoint = format!("\"http://{}/base\" # environment OTEL_EXPORTER_OTLP_ENDPOINT", dead.addr());
    assert_eq!(line("export.endpoint"), Some(endpoint), "{answer}");
    assert_eq!(line("service.name").as_deref(), Some("\"edge\" # environment OTEL_SERVICE_NAME"), "{answer}");
    let workers = "3 # environment HAPROXY_VITALS_RUNTIME_WORKERS";
    assert_eq!(line("runtime.workers").as_deref(), Some(workers), "{answer}");
    let delay = "\"20ms\" # environment OTEL_BSP_SCHEDULE_DELAY";
    assert_eq!(line("export.schedule_delay").as_deref(), Some(delay), "{answer}");
    assert_eq!(line("traces.sampler").as_deref(), Some("\"parentbased_always_on\" # default"), "{answer}");
    haproxy.finish();
}

#[test]
fn show_vitals_health_tells_what_is_checked() {
    let upstream = Upstream::start();
    let haproxy = off(Door::ZeroLines, &upstream, "OTEL_TRACES_EXPORTER", "none").start();
    assert_eq!(haproxy.cli("show vitals health").trim(), "nothing is configured");
    haproxy.finish();

    let load = "lua-load-per-thread ${lua}/otel.lua config=${dir}/vitals.toml";
    let haproxy = proxy(&config(Door::ZeroLines, &[load]), &upstream)
        .file("vitals.toml", "[[health.backend]]\nname = 'back'\n")
        .env("OTEL_TRACES_EXPORTER", "none")
        .start();
    poll::until(SOON, "the server among the checked", || haproxy.cli("show vitals health").contains("back/one"));
    haproxy.finish();
}

#[test]
fn help_names_the_commands() {
    let upstream = Upstream::start();
    for load in [PER_THREAD, "lua-load ${lua}/otel.lua"] {
        let text = config(Door::ZeroLines, &["nbthread 2", load]);
        let haproxy = proxy(&text, &upstream).env("OTEL_TRACES_EXPORTER", "none").start();
        let help = haproxy.cli("help show vitals");
        for topic in ["config", "health", "traces"] {
            let lines = help.lines().filter(|line| line.trim_start().starts_with(&format!("show vitals {topic}")));
            assert_eq!(lines.count(), 1, "{load}: {topic}: {help}");
        }
        haproxy.finish();
    }
}

#[test]
fn with_the_sdk_disabled_requests_pass_and_contexts_go_on_as_they_came() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = off(door, &upstream, "OTEL_SDK_DISABLED", "true")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
            .start();
        for caller in [SAMPLED, UNSAMPLED] {
            let headers = [("traceparent", caller), ("tracestate", "a=1,b=2")];
            assert_eq!(client::get(haproxy.addr("http"), "/", &headers).status, 200);
            let seen = upstream.last();
            assert_eq!(seen.headers_named("traceparent"), [caller], "{door:?}");
            assert_eq!(seen.headers_named("tracestate"), ["a=1,b=2"], "{door:?}");
        }
        // A section that says nothing gets no hook at all.
        let is_hooked = door != Door::ZeroLines;
        for headers in [&[][..], &[("traceparent", "nonsense")]] {
            assert_eq!(client::get(haproxy.addr("http"), "/", headers).status, 200);
            let (seen, came) = (upstream.last(), headers.iter().map(|(_, value)| *value).collect::<Vec<_>>());
            if is_hooked {
                assert_eq!(flags(&seen.headers_named("traceparent")) & 1, 0, "{door:?}: {seen:?}");
            } else {
                assert_eq!(seen.headers_named("traceparent"), came);
            }
        }

        assert_eq!((count(&haproxy, "requests.started"), count(&haproxy, "requests.ended")), (0, 0), "{door:?}");
        let passed_on = if is_hooked { 4 } else { 0 };
        assert_eq!((count(&haproxy, "requests.unsampled"), count(&haproxy, "faults")), (passed_on, 0), "{door:?}");
        haproxy.soft_stop();
        haproxy.wait_exit(SOON);
        assert!(receiver.requests().is_empty());
        haproxy.finish();
    }
}

#[test]
fn with_the_exporter_none_requests_are_propagated_and_counted_and_nothing_is_sent() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = off(door, &upstream, "OTEL_TRACES_EXPORTER", "none")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
            .start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[("traceparent", SAMPLED)]).status, 200);
        let seen = upstream.last();
        let sent = seen.headers_named("traceparent");
        assert_eq!(flags(&sent) & 1, 1, "{door:?}: {sent:?}");
        assert_eq!((&sent[0][..35], sent[0] == SAMPLED), (&SAMPLED[..35], false), "{door:?}: {sent:?}");
        assert_eq!(client::get(haproxy.addr("http"), "/", &[("traceparent", UNSAMPLED)]).status, 200);
        assert_eq!(flags(&upstream.last().headers_named("traceparent")) & 1, 0, "{door:?}");

        poll::until(SOON, "the end of the request", || count(&haproxy, "requests.ended") == 1);
        assert_eq!(count(&haproxy, "requests.started"), 1, "{door:?}");
        assert_eq!((count(&haproxy, "requests.unsampled"), count(&haproxy, "spans.created")), (1, 0), "{door:?}");
        haproxy.soft_stop();
        haproxy.wait_exit(SOON);
        assert!(receiver.requests().is_empty() && !haproxy.log_contains("did not reach"));
        haproxy.finish();
    }
}

/// A proxy with tracing switched off in one way.
fn off(door: Door, upstream: &Upstream, variable: &str, value: &str) -> Builder {
    traced(door, upstream).env(variable, value)
}

/// The flags of the one `traceparent`, which must be valid.
#[track_caller]
fn flags(lines: &[&str]) -> u8 {
    let [line] = lines else { panic!("not one traceparent: {lines:?}") };
    let parts: Vec<&str> = line.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{line}") };
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(version == "00" && trace.len() == 32 && span.len() == 16 && flags.len() == 2, "{line}");
    assert!(parts.iter().all(|part| hex(part)), "{line}");
    assert!(![trace, span].iter().any(|id| id.trim_matches('0').is_empty()), "{line}");
    u8::from_str_radix(flags, 16).unwrap()
}

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
