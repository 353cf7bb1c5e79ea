//! `traces.response_header`: how the client is told of its trace.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

const FRONT: &str = "
  http-request deny if { path /denied }
  http-request return status 204 if { path /returned }
  http-response add-header server-timing db;dur=53
";

#[test]
fn the_client_is_told_its_trace_and_the_server_span() {
    for (header, prefix) in [("traceresponse", ""), ("server-timing", "trace;desc=")] {
        for door in Door::ALL {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = vitals::config(door, FRONT, "").upstream(&upstream).export_http(&receiver);
            let haproxy = config.env("HAPROXY_VITALS_TRACES_RESPONSE_HEADER", header).start();
            for (n, (path, get)) in (1..)
                .zip(["/", "/denied", "/returned", "/status/404"].into_iter().flat_map(|p| [(p, false), (p, true)]))
            {
                let get = if get { client::h2_get } else { client::get };
                let response = get(haproxy.addr("http"), path, &[("traceparent", &vitals::traceparent(n))]);
                let span = vitals::server_span(&receiver, &vitals::trace_id(n));
                let expected = format!("{prefix}00-{}-{}-01", span.trace_id, span.span_id);
                let told = values(&response.headers, header);
                // HAProxy's own answers go past every filter; natively a rule of the module's tells the client.
                let is_told = door != Door::LuaFilter || !matches!(path, "/denied" | "/returned");
                assert_eq!(told.contains(&expected.as_str()), is_told, "{path} {door:?}: {:?}", response.headers);
                let others: &[&str] =
                    if header == "server-timing" && matches!(path, "/" | "/status/404") { &["db;dur=53"] } else { &[] };
                assert_eq!(told.iter().filter(|v| **v != expected).copied().collect::<Vec<_>>(), others);
            }
            // Nothing is recorded: a span that nobody sees, of the right trace.
            let caller = format!("00-{}-{CALLER}-00", vitals::trace_id(99));
            let response = client::get(haproxy.addr("http"), "/", &[("traceparent", &caller)]);
            let told = values(&response.headers, header);
            let start = format!("{prefix}00-{}-", vitals::trace_id(99));
            assert!(told.iter().any(|v| v.starts_with(&start) && v.ends_with("-00")), "{told:?}");
            // A tracestate that must be mended leaves no room for a span either.
            let headers = [("traceparent", &*caller), ("tracestate", "A=1")];
            let response = client::get(haproxy.addr("http"), "/", &headers);
            let told = values(&response.headers, header);
            assert!(told.iter().any(|v| v.starts_with(&start) && !v.contains("-0000000000000000-")), "{told:?}");
            receiver.assert_clean();
            haproxy.finish();
        }
    }
}

#[test]
fn rules_that_ask_twice_tell_the_client_once() {
    const TWICE: &str = "  http-response lua.otel_end\n";
    let upstream = Upstream::start();
    for door in Door::ALL {
        for header in ["traceresponse", "server-timing"] {
            let config = vitals::config(door, TWICE, "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
            let haproxy = config.env("HAPROXY_VITALS_TRACES_RESPONSE_HEADER", header).start();
            for _ in 0..2 {
                let response = client::get(haproxy.addr("http"), "/", &[]);
                assert_eq!(values(&response.headers, header).len(), 1, "{door:?} {:?}", response.headers);
            }
            haproxy.finish();
        }
    }
}

#[test]
fn the_client_is_told_nothing_unless_asked_for() {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let haproxy = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none").start();
        let response = client::get(haproxy.addr("http"), "/", &[]);
        assert!(response.header("traceresponse").is_none() && response.header("server-timing").is_none());
        haproxy.finish();
    }
}

fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
}
