//! `traces.trust`: what a caller's context is worth, by frontend.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream};

/// What a caller that is not trusted would like the server to see.
const FOREIGN: [(&str, &str); 7] = [
    ("tracestate", "a=1"),
    ("baggage", "user=root"),
    ("b3", "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-d"),
    ("X-B3-TraceId", "80f198ee56343ba864fe8b2a57d3eff7"),
    ("X-B3-ParentSpanId", "e457b5a2e4d86bd1"),
    ("uber-trace-id", "1:1:0:1"),
    ("X-Amzn-Trace-Id", "Root=1-80f198ee-56343ba864fe8b2a57d3eff7;Parent=e457b5a2e4d86bd1"),
];

#[test]
fn callers_that_are_not_trusted_get_a_new_trace_and_tell_the_server_nothing() {
    for (trust, linked) in [("restart", true), ("ignore", false)] {
        for door in Door::ALL {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
            let haproxy = config.env("HAPROXY_VITALS_TRACES_TRUST", trust).start();
            for (n, get) in (1..).zip([client::get, client::h2_get]) {
                receiver.clear();
                let traceparent = vitals::traceparent(n);
                let headers = [&[("traceparent", &*traceparent)][..], &FOREIGN].concat();
                assert_eq!(get(haproxy.addr("http"), "/", &headers).status, 200);
                let spans = receiver.wait_spans(2, SOON);
                let server = spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
                assert!(server.is_root() && server.trace_id != vitals::trace_id(n), "{server:#?}");
                assert_eq!(server.trace_state, "");
                let links: Vec<_> = server.links.iter().map(|link| (&*link.trace_id, &*link.span_id)).collect();
                let caller = vitals::trace_id(n);
                assert_eq!(links, if linked { vec![(&*caller, CALLER)] } else { vec![] }, "{trust} {door:?}");
                let client = receiver.client_span_of(server).unwrap();
                assert_eq!((client.links.len(), &client.trace_id), (0, &server.trace_id));
                let told = upstream.last();
                let expected = format!("00-{}-{}-03", server.trace_id, client.span_id);
                assert_eq!(told.headers_named("traceparent"), [&*expected], "{trust} {door:?}");
                for (name, _) in FOREIGN {
                    assert_eq!(told.headers_named(name), [""; 0], "{name} {trust} {door:?}");
                }
            }
            receiver.assert_clean();
            haproxy.finish();
        }
    }
}

#[test]
fn a_new_trace_is_sampled_whatever_an_untrusted_caller_has_decided() {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let config = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
        let haproxy = config.env("HAPROXY_VITALS_TRACES_TRUST", "restart").start();
        let caller = format!("00-{}-{CALLER}-00", vitals::trace_id(1));
        client::get(haproxy.addr("http"), "/", &[("traceparent", &caller)]);
        assert!(upstream.last().header("traceparent").unwrap().ends_with("-03"));
        haproxy.finish();
    }
}

#[test]
fn each_frontend_has_its_own_trust() {
    let cases = [
        ("trust_of = { front = 'ignore', inner = 'accept' }", [false, true, true]),
        ("trust = 'restart'\ntrust_of = { inner = 'accept' }", [false, true, false]),
        ("trust = 'restart'\ntrust_of = { inner = 'accept', 'a.b:c-d_e' = 'accept' }", [false, true, true]),
        ("trust = 'accept'\n[traces.trust_of]\ninner = 'restart'", [true, false, true]),
    ];
    for door in Door::ALL {
        let rules = door.rules();
        let more: String = [("inner", "in"), ("a.b:c-d_e", "odd")]
            .map(|(name, port)| {
                format!("\nfrontend {name}\n  bind 127.0.0.1:${{port:{port}}}\n  timeout client 5s\n{rules}  default_backend back\n")
            })
            .concat();
        for (settings, trusted) in cases {
            let upstream = Upstream::start();
            let config = vitals::config(door, "", &more).upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
            let haproxy = config.settings(&format!("[traces]\n{settings}\n")).start();
            for (port, trusted) in ["http", "in", "odd"].into_iter().zip(trusted) {
                assert_eq!(is_continued(&haproxy, port, &upstream), trusted, "{settings} {port} {door:?}");
            }
            haproxy.finish();
        }
    }
}

#[test]
fn untrusted_formats_are_replaced_by_ours() {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let config = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
        let config = config.env("OTEL_PROPAGATORS", "jaeger,b3");
        let haproxy = config.env("HAPROXY_VITALS_TRACES_TRUST", "ignore").start();
        let traceparent = vitals::traceparent(1);
        client::get(haproxy.addr("http"), "/", &[&[("traceparent", &*traceparent)][..], &FOREIGN].concat());
        let told = upstream.last();
        let b3 = told.headers_named("b3");
        assert!(b3.len() == 1 && b3[0].ends_with("-1") && !b3[0].contains("80f198ee"), "{b3:?}");
        let (trace, rest) = b3[0].split_once('-').unwrap();
        assert_eq!(told.headers_named("uber-trace-id"), [format!("{trace}:{}:0:1", &rest[..16])], "{door:?}");
        for name in ["traceparent", "tracestate", "baggage", "x-b3-traceid", "x-b3-parentspanid", "x-amzn-trace-id"] {
            assert_eq!(told.headers_named(name), [""; 0], "{name} {door:?}");
        }
        haproxy.finish();
    }
}

#[test]
fn a_frontend_that_is_not_there_stops_the_start() {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let config = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
        let refused = config.settings("[traces.trust_of]\nfrnt = 'restart'\n").try_start();
        let Err(said) = refused else { panic!("it started") };
        assert!(said.contains("`traces.trust_of.frnt`: HAProxy has no frontend of this name"), "{said}");
    }
}

fn is_continued(haproxy: &Haproxy, port: &str, upstream: &Upstream) -> bool {
    let caller = format!("00-{}-{CALLER}-01", vitals::trace_id(7));
    let headers = [("traceparent", &*caller), ("tracestate", "a=1"), ("tracestate", "b=\tx"), ("baggage", "b=2")];
    let broken = client::get(haproxy.addr(port), "/", &headers);
    assert_eq!((broken.status, upstream.last().header("tracestate")), (200, None));
    let headers = [("traceparent", &*caller), ("tracestate", "a=1"), ("tracestate", " b=2 ,c=3"), ("baggage", "b=2")];
    assert_eq!(client::get(haproxy.addr(port), "/", &headers).status, 200);
    let told = upstream.last();
    let continued = told.header("traceparent").unwrap()[3..35] == vitals::trace_id(7);
    // Several lines become one.
    assert_eq!(told.headers_named("tracestate"), if continued { vec!["a=1,b=2,c=3"] } else { vec![] });
    assert_eq!(told.header("baggage"), continued.then_some("b=2"));
    continued
}
