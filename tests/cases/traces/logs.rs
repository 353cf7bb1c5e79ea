//! Users' own log lines beside the profile's.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream};

/// Trace id, SERVER span id and flags are native expressions on what HAProxy carries.
const IDS: &str = "trace=%[var(txn.otel.ctx),bytes(3,32)] span=%[var(txn.otel.ctx),bytes(56,16)] \
flags=%[var(txn.otel.ctx),bytes(53,2)] status=%ST request=%r end";

#[test]
fn own_log_line_names_the_span_and_ends_it_once() {
    let paths = ["/", "/denied", "/status/404", "/nowhere", "/cut"];
    for door in Door::ALL {
        let prefix = if door == Door::ZeroLines { "${VITALS_LOG}" } else { "" };
        let front = format!(
            "  log ${{log}} local0\n  log-format \"{prefix}{IDS}\"\n  http-request deny if {{ path /denied }}\n  \
             use_backend nowhere if {{ path /nowhere }}\n"
        );
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, &front, "\nbackend nowhere\n").upstream(&upstream);
        let haproxy = config.export_http(&receiver).start();
        for (n, path) in (0..).zip(paths) {
            let headers = [("traceparent", &*vitals::traceparent(n))];
            let _ = client::try_request(haproxy.addr("http"), "GET", path, &headers, b"");
        }
        for (n, path) in (0..).zip(paths) {
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            let (trace, id, status) = (&span.trace_id, &span.span_id, span.int("http.response.status_code").unwrap());
            let line = format!(": trace={trace} span={id} flags=01 status={status} request=GET {path} HTTP/1.1 end\n");
            haproxy.wait_log(&line, SOON);
            assert_eq!(haproxy.log().matches(&format!("trace={trace}")).count(), 1, "{}", haproxy.log());
        }
        let counters = vitals::wait_exported(&haproxy, &receiver, paths.len() as u64);
        assert_eq!((counters["requests.started"], counters["requests.ended"]), (5, 5), "{counters:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn unsampled_request_leaves_the_log_line_unharmed() {
    let front = format!("  log ${{log}} local0\n  log-format \"${{VITALS_LOG}}{IDS}\"\n");
    let upstream = Upstream::start();
    let haproxy = vitals::zero_lines(&front, "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none").start();
    let trace = vitals::trace_id(7);
    let headers = [("traceparent", &*format!("00-{trace}-{CALLER}-00"))];
    client::get(haproxy.addr("http"), "/", &headers);
    haproxy.wait_log(&format!(": trace={trace} span=- flags=00 status=200 request=GET / HTTP/1.1 end\n"), SOON);
    assert_eq!(vitals::counters(&haproxy)["requests.unsampled"], 1);
    haproxy.finish();
}

#[test]
fn requests_that_never_end_are_said_once() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let forgetful = "  log-format \"%ST\"\n";
    let haproxy = vitals::zero_lines(forgetful, "").upstream(&upstream).export_http(&receiver).start();
    let report = client::load(haproxy.addr("http"), Load::new(4, Until::Count(1200), "/"));
    assert_eq!(report.failed, 0);
    haproxy.wait_log("requests were started and none has ended: a log-format needs ${VITALS_LOG}", SOON);
    assert_eq!(vitals::counters(&haproxy)["requests.ended"], 0);
    assert_eq!(haproxy.log().matches("none has ended").count(), 1);
    haproxy.finish();
}
