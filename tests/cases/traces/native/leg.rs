//! The server's leg, as it was sent and as the server answered it.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::otlp::StatusCode;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, SpanView, Upstream};

use super::DOORS;

/// What the backend's rules make of requests.
const REWRITTEN: &str = "
backend inner
  http-request set-path /v2%[path]
  http-request set-query b=2&sig=1
  http-request set-method PUT
  http-request replace-header host ^.*$ inner.example:8080
  server one ${upstream}
";

#[test]
fn client_span_says_what_the_server_was_sent_after_all_rules() {
    const FRONT: &str =
        "  http-request set-path %[path,regsub(^/old,/new)]\n  use_backend inner if { path_beg /new }\n";
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, FRONT, REWRITTEN).upstream(&upstream).export_http(&receiver).start();
        for (n, get) in (0..).zip([client::get, client::h2_get]) {
            let traceparent = vitals::traceparent(n);
            let headers = [("traceparent", &*traceparent), ("host", "shop.example")];
            assert_eq!(get(haproxy.addr("http"), "/old/x?a=1", &headers).status, 200);
            let seen = upstream.last();
            assert_eq!((&*seen.method, &*seen.target), ("PUT", "/v2/new/x?b=2&sig=1"));
            assert_eq!(seen.header("host"), Some("inner.example:8080"));
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            let shown = format!("{door:?} {span:#?}");
            assert_eq!((span.name.as_str(), span.str("http.request.method")), ("GET", Some("GET")), "{shown}");
            assert_eq!((span.str("url.path"), span.str("url.query")), (Some("/old/x"), Some("a=1")), "{shown}");
            assert_eq!(span.str("haproxy.backend.name"), Some("inner"), "{shown}");
            let client = receiver.client_span_of(&span).unwrap();
            let said = ["http.request.method", "url.full", "server.address"].map(|key| client.str(key).unwrap());
            if door.is_lua() {
                // Lua's hooks see what the client asked for.
                assert_eq!((client.name.as_str(), said[0]), ("GET", "GET"), "{client:#?}");
                assert!(said[1].ends_with("/old/x?a=1"), "{client:#?}");
            } else {
                let full = "http://inner.example:8080/v2/new/x?b=2&sig=REDACTED";
                assert_eq!(said, ["PUT", full, "inner.example"], "{door:?} {client:#?}");
                assert_eq!((client.name.as_str(), client.int("server.port")), ("PUT", Some(8080)), "{client:#?}");
            }
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn a_part_that_is_not_rewritten_stays_as_it_came() {
    const ONE: &str = "
backend inner
  http-request set-path /v2%[path] if { hdr(x-part) path }
  http-request set-method PURGE if { hdr(x-part) method }
  http-request replace-header host ^.*$ inner.example if { hdr(x-part) host }
  server one ${upstream}
";
    const FRONT: &str = "  use_backend inner\n";
    for door in DOORS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, FRONT, ONE).upstream(&upstream).export_http(&receiver).start();
        for (n, (part, method, full)) in (0..).zip([
            ("none", "GET", "http://shop.example/x?a=1"),
            ("path", "GET", "http://shop.example/v2/x?a=1"),
            ("method", "_OTHER", "http://shop.example/x?a=1"),
            ("host", "GET", "http://inner.example/x?a=1"),
        ]) {
            let traceparent = vitals::traceparent(n);
            let headers = [("traceparent", &*traceparent), ("host", "shop.example"), ("x-part", part)];
            assert_eq!(client::get(haproxy.addr("http"), "/x?a=1", &headers).status, 200);
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            assert_eq!(span.str("http.request.method"), Some("GET"), "{door:?} {part} {span:#?}");
            let client = receiver.client_span_of(&span).unwrap();
            let said = (client.str("http.request.method"), client.str("url.full"));
            assert_eq!(said, (Some(method), Some(full)), "{door:?} {part} {client:#?}");
            let original = client.str("http.request.method_original");
            assert_eq!(original, (part == "method").then_some("PURGE"), "{door:?} {part}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn each_span_has_the_status_of_its_own_leg() {
    const FRONT: &str = "
  http-response set-status 418 if { status 200 }
  http-response set-status 200 if { status 500 }
  http-response deny deny_status 403 if { status 201 }
  http-response return status 404 content-type text/plain string gone if { status 204 }
";
    for door in DOORS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, FRONT, "").upstream(&upstream).export_http(&receiver).start();
        for (n, (path, status, own, error)) in (0..).zip([
            ("/status/200", 418, 200, None),
            ("/status/500", 200, 500, Some("500")),
            ("/status/201", 403, 201, Some("proxy_error")),
            ("/status/204", 404, 204, None),
            ("/status/404", 404, 404, Some("404")),
        ]) {
            let answer = client::get(haproxy.addr("http"), path, &[("traceparent", &vitals::traceparent(n))]);
            assert_eq!(answer.status, status, "{door:?} {path}");
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            assert_eq!(said(&span), (Some(status.into()), None), "{door:?} {path} {span:#?}");
            let client = receiver.client_span_of(&span).unwrap_or_else(|| panic!("{door:?} {path} {span:#?}"));
            assert_eq!(said(&client), (Some(own), error), "{door:?} {path} {client:#?}");
            assert_eq!(client.status == StatusCode::Error, error.is_some(), "{door:?} {path} {client:#?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

fn said(span: &SpanView) -> (Option<i64>, Option<&str>) {
    (span.int("http.response.status_code"), span.str("error.type"))
}

#[test]
fn retries_at_the_level_of_http_are_counted() {
    const RETRYING: &str = "
backend again
  retry-on 503 empty-response response-timeout
  retries 3
  timeout server 100ms
  server one ${upstream}
";
    const FRONT: &str = "  use_backend again\n";
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, FRONT, RETRYING).upstream(&upstream).export_http(&receiver).start();
        for (n, (path, status, retries, own)) in (0..).zip([
            ("/", 200, None, (Some(200), None)),
            ("/status/503", 503, Some(3), (Some(503), Some("503"))),
            ("/close", 502, Some(3), (None, Some("server_abort"))),
            ("/hang", 504, Some(3), (None, Some("server_timeout"))),
        ]) {
            upstream.clear();
            let answer = client::get(haproxy.addr("http"), path, &[("traceparent", &vitals::traceparent(n))]);
            assert_eq!(answer.status, status, "{door:?} {path}");
            let span = vitals::server_span(&receiver, &vitals::trace_id(n));
            let client = receiver.client_span_of(&span).unwrap();
            assert_eq!(client.int("http.request.resend_count"), retries, "{door:?} {path} {client:#?}");
            assert_eq!(span.int("haproxy.retries"), retries, "{door:?} {path} {span:#?}");
            assert_eq!(said(&span).0, Some(status.into()), "{door:?} {path} {span:#?}");
            assert_eq!(said(&client), own, "{door:?} {path} {client:#?}");
            assert!(span.start_ns <= client.start_ns && client.end_ns <= span.end_ns, "{door:?} {path}");
            // Every attempt is the same span's.
            let told = format!("00-{}-{}-01", client.trace_id, client.span_id);
            let attempts = upstream.requests();
            assert_eq!(attempts.len().to_string(), (1 + retries.unwrap_or(0)).to_string(), "{door:?} {path}");
            assert!(attempts.iter().all(|seen| seen.headers_named("traceparent") == [&*told]), "{door:?} {attempts:?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}
