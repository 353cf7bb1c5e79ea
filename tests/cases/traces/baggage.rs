//! Baggage: passed on untouched, and put on spans where the settings ask for it.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream};

#[test]
fn wanted_baggage_is_on_the_server_span_and_goes_on_untouched() {
    const LINES: [&str; 3] = ["user.tier=gold%20plus;ttl=1 , other=no", "city=%C3%A9,user.tier = platinum", "empty="];
    for door in Door::ALL {
        for (propagators, read) in [("tracecontext,baggage", true), ("tracecontext", false)] {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
            let config = config.env("OTEL_PROPAGATORS", propagators);
            let wanted = "user.tier,city,empty,absent";
            let haproxy = config.env("HAPROXY_VITALS_TRACES_BAGGAGE_ATTRIBUTES", wanted).start();
            for get in [client::get, client::h2_get] {
                receiver.clear();
                get(haproxy.addr("http"), "/", &LINES.map(|line| ("baggage", line)));
                assert_eq!(upstream.last().headers_named("baggage"), LINES);
                let spans = receiver.wait_spans(2, SOON);
                let server = spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
                let found = ["user.tier", "city", "empty", "absent", "other"].map(|key| server.str(key));
                let expected = [Some("platinum"), Some("é"), Some(""), None, None];
                assert_eq!(found, if read { expected } else { [None; 5] }, "{door:?}");
                assert!(!receiver.client_span_of(server).unwrap().has("city"));
            }
            receiver.assert_clean();
            haproxy.finish();
        }
    }
}

#[test]
fn baggage_without_room_is_left_out_and_counted_and_that_of_untrusted_callers_is_not_read() {
    let long = (0..8).map(|n| format!("k{n}={}", "v".repeat(500))).collect::<Vec<_>>().join(",");
    let wanted = (0..8).map(|n| format!("k{n}")).collect::<Vec<_>>().join(",");
    for door in Door::ALL {
        for trust in ["accept", "restart"] {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
            let config = config.env("HAPROXY_VITALS_TRACES_BAGGAGE_ATTRIBUTES", &wanted);
            let haproxy = config.env("HAPROXY_VITALS_TRACES_TRUST", trust).start();
            client::get(haproxy.addr("http"), "/", &[("baggage", &long)]);
            let counters = vitals::wait_exported(&haproxy, &receiver, 1);
            let span = &receiver.server_spans()[0];
            let kept = (0..8).filter(|n| span.str(&format!("k{n}")).is_some_and(|v| v.len() == 500)).count() as u64;
            if trust == "accept" {
                assert!(kept > 1 && kept + counters["attributes.left_out"] == 8, "{kept} {counters:#?}");
            } else {
                assert_eq!((kept, counters["attributes.left_out"]), (0, 0));
            }
            haproxy.finish();
        }
    }
}
