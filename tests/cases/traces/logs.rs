//! Users' own log lines: they name the trace, and whatever they are, every request gives its spans once.

use std::fmt::Write as _;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream};

/// Trace id, SERVER span id and decision are variables, where the settings ask for them.
const IDS: &str = "trace=%[var(txn.otel.trace_id)] span=%[var(txn.otel.span_id)] sampled=%[var(txn.otel.sampled)] \
                   status=%ST request=%r end";

const VARIABLES: &str = "traces.variables = true\n";

#[test]
fn own_log_line_names_the_span_and_ends_it_once() {
    let paths = ["/", "/denied", "/status/404", "/nowhere", "/cut"];
    let front = format!(
        "  log ${{log}} local0\n  log-format \"{IDS}\"\n  http-request deny if {{ path /denied }}\n  \
         use_backend nowhere if {{ path /nowhere }}\n"
    );
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, &front, "\nbackend nowhere\n").upstream(&upstream).settings(VARIABLES);
        let haproxy = config.export_http(&receiver).start();
        for (n, path) in (0..).zip(paths) {
            let headers = [("traceparent", &*vitals::traceparent(n))];
            let _ = client::try_request(haproxy.addr("http"), "GET", path, &headers, b"");
        }
        for (n, path) in (0..).zip(paths) {
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            let (trace, id, status) = (&span.trace_id, &span.span_id, span.int("http.response.status_code").unwrap());
            let line = format!(": trace={trace} span={id} sampled=1 status={status} request=GET {path} HTTP/1.1 end\n");
            haproxy.wait_log(&line, SOON);
            assert_eq!(haproxy.log().matches(&format!("trace={trace}")).count(), 1, "{}", haproxy.log());
        }
        let counters = vitals::wait_exported(&haproxy, &receiver, paths.len() as u64);
        assert_eq!((counters["requests.started"], counters["requests.ended"]), (5, 5), "{door:?} {counters:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn unsampled_request_leaves_the_log_line_unharmed() {
    let front = format!("  log ${{log}} local0\n  log-format \"{IDS}\"\n");
    for door in Door::ALL {
        let upstream = Upstream::start();
        let config = vitals::config(door, &front, "").upstream(&upstream).settings(VARIABLES);
        let haproxy = config.env("OTEL_TRACES_EXPORTER", "none").start();
        let trace = vitals::trace_id(7);
        let headers = [("traceparent", &*format!("00-{trace}-{CALLER}-00"))];
        client::get(haproxy.addr("http"), "/", &headers);
        haproxy.wait_log(&format!(": trace={trace} span=- sampled=0 status=200 request=GET / HTTP/1.1 end\n"), SOON);
        assert_eq!(vitals::counters(&haproxy)["requests.unsampled"], 1, "{door:?}");
        haproxy.finish();
    }
}

/// A frontend's name, what it says of its log, and how many lines two of its requests leave: one ends with 200, one with 503.
const LOGS: [(&str, &str, usize); 10] = [
    ("httplog", "  log ${log} local0\n  option httplog\n", 2),
    ("httpslog", "  log ${log} local0\n  option httpslog\n", 2),
    ("own", "  log ${log} local0\n  log-format \"%f %ST\"\n", 2),
    ("json", "  log ${log} local0\n  log-format \"%{+json}o %(frontend)f %(status)ST\"\n", 2),
    ("failures", "  log ${log} local0\n  option httplog\n  option dontlog-normal\n", 1),
    ("steps", "  log ${log} local0\n  log-format \"%f %ST\"\n  log-steps all\n", 8),
    ("silent", "  log ${log} local0\n  option httplog\n  http-request set-log-level silent\n", 0),
    ("off", "  no log\n", 0),
    ("profile", "  log ${log} profile short local0\n  option httplog\n", 2),
    ("early", "  log ${log} local0\n  log-format \"%f %ST\"\n  option logasap\n", 2),
];

const PROFILE: &str = "
log-profile short
  on any format \"%f %ST\"
";

#[test]
fn whatever_a_frontend_logs_one_line_of_the_loader_gives_each_request_its_two_spans() {
    let mut text = format!("global\n  nbthread 2\n{}{PROFILE}\ndefaults{TIMEOUTS}", vitals::LOAD);
    for (name, log, _) in LOGS {
        let _ = write!(
            text,
            "frontend {name}\n  bind 127.0.0.1:${{port:{name}}}\n{log}  use_backend nowhere if {{ path /nowhere }}\n  \
             default_backend back\n"
        );
    }
    text += BACK;
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = vitals::whole(&text).upstream(&upstream).export_http(&receiver).start();
    for (n, (name, ..)) in (0..).zip(LOGS) {
        for (trace, path, status) in [(2 * n, "/", 200), (2 * n + 1, "/nowhere", 503)] {
            let headers = [("traceparent", &*vitals::traceparent(trace))];
            assert_eq!(client::get(haproxy.addr(name), path, &headers).status, status, "{name}");
            let span = vitals::server_span(&receiver, &vitals::trace_id(trace));
            assert_eq!(span.str("haproxy.frontend.name"), Some(name), "{span:#?}");
            assert_eq!(span.int("http.response.status_code"), Some(status.into()), "{name} {span:#?}");
            assert_eq!(receiver.client_span_of(&span).is_some(), status == 200, "{name} {span:#?}");
            assert_eq!(span.parent_id, CALLER, "{name}");
        }
    }
    let requests = 2 * LOGS.len() as u64;
    let counters = vitals::wait_exported(&haproxy, &receiver, requests);
    assert_eq!(counters["spans.created"], requests + requests / 2, "{counters:#?}");
    for (name, _, lines) in LOGS {
        assert_eq!(said_by(&haproxy, name), lines, "{name}: {}", haproxy.log());
    }
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn forty_frontends_with_defaults_of_their_own_are_traced_by_one_line() {
    const FRONTENDS: usize = 40;
    let mut text = format!("global\n  nbthread 2\n{}", vitals::LOAD);
    for n in 0..FRONTENDS {
        let (_, log, _) = LOGS[n % LOGS.len()];
        // A `defaults` section of rules is no other section's.
        let (log, rules): (Vec<&str>, Vec<&str>) = log.lines().partition(|line| !line.contains("http-request"));
        let (log, rules) = (log.join("\n"), rules.join("\n"));
        let _ = write!(
            text,
            "{}\ndefaults d{n}{TIMEOUTS}{log}\nfrontend f{n} from d{n}\n  bind 127.0.0.1:${{port:f{n}}}\n{rules}\n  \
             default_backend back\n",
            if n == 0 { PROFILE } else { "" }
        );
    }
    let _ = write!(text, "\ndefaults{TIMEOUTS}{BACK}");
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = vitals::whole(&text).upstream(&upstream).export_http(&receiver).start();
    for n in 0..FRONTENDS {
        let headers = [("traceparent", &*vitals::traceparent(n as u64))];
        assert_eq!(client::get(haproxy.addr(&format!("f{n}")), "/", &headers).status, 200, "f{n}");
    }
    for n in 0..FRONTENDS {
        let span = vitals::server_span(&receiver, &vitals::trace_id(n as u64));
        assert_eq!(span.str("haproxy.frontend.name"), Some(&*format!("f{n}")));
        assert!(receiver.client_span_of(&span).is_some(), "f{n}");
    }
    let counters = vitals::wait_exported(&haproxy, &receiver, FRONTENDS as u64);
    assert_eq!(counters["spans.created"], 2 * FRONTENDS as u64, "{counters:#?}");
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn requests_that_never_end_are_said_once() {
    const FORGETFUL: &str = "frontend forgetful\n  bind 127.0.0.1:${port:forgetful}\n  http-request lua.otel_start\n  \
                             default_backend back\n";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::config(Door::LuaActions, "", FORGETFUL).upstream(&upstream);
    let haproxy = config.export_http(&receiver).start();
    let report = client::load(haproxy.addr("forgetful"), Load::new(4, Until::Count(1200), "/"));
    assert_eq!(report.failed, 0);
    haproxy.wait_log(
        "requests were started and none has ended: lua.otel_start needs `http-after-response lua.otel_end`",
        SOON,
    );
    assert_eq!(vitals::counters(&haproxy)["requests.ended"], 0);
    assert_eq!(haproxy.log().matches("none has ended").count(), 1);
    haproxy.finish();
}

#[test]
fn native_actions_need_no_line_for_the_end() {
    const ONE_LINE: &str = "frontend one\n  bind 127.0.0.1:${port:one}\n  http-request lua.otel_start\n  \
                            default_backend back\n";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = vitals::config(Door::Actions, "", ONE_LINE).upstream(&upstream);
    let haproxy = config.export_http(&receiver).start();
    client::get(haproxy.addr("one"), "/", &[("traceparent", &vitals::traceparent(0))]);
    let span = vitals::server_span(&receiver, &vitals::trace_id(0));
    assert!(receiver.client_span_of(&span).is_some());
    vitals::wait_exported(&haproxy, &receiver, 1);
    receiver.assert_clean();
    haproxy.finish();
}

/// Lines of a frontend's requests.
fn said_by(haproxy: &Haproxy, frontend: &str) -> usize {
    let words = [format!(" {frontend} "), format!(" {frontend}~ "), format!("\"{frontend}\"")];
    let log = haproxy.log();
    log.lines().filter(|line| line.starts_with('<') && words.iter().any(|word| line.contains(word))).count()
}

const TIMEOUTS: &str = "
  mode http
  timeout connect 100ms
  timeout client 5s
  timeout server 2s
";

const BACK: &str = "
backend nowhere
backend back
  server one ${upstream}
";
