//! Many requests at once, each with its own parent.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

const STREAMS: u64 = 60;

#[test]
fn sixty_streams_of_one_connection_keep_their_parents() {
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let caller = |n: u64| format!("{:016x}", (n + 1) << 20);
        // Every third one is of the same trace.
        let trace = |n: u64| vitals::trace_id(if n.is_multiple_of(3) { 0 } else { n });
        let asked: Vec<(String, String)> = (0..STREAMS)
            .map(|n| (format!("/delay/{}?{n}", n % 7 * 5), format!("00-{}-{}-01", trace(n), caller(n))))
            .collect();
        let headers: Vec<[(&str, &str); 1]> = asked.iter().map(|(_, value)| [("traceparent", &**value)]).collect();
        let requests: Vec<(&str, &[(&str, &str)])> =
            asked.iter().zip(&headers).map(|((path, _), headers)| (&**path, &headers[..])).collect();
        let answers = client::h2_get_each(haproxy.addr("http"), &requests);
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)), "{answers:?}");

        vitals::wait_exported(&haproxy, &receiver, STREAMS);
        let spans = receiver.spans();
        assert_eq!(spans.len() as u64, 2 * STREAMS, "{door:?}");
        let seen = upstream.requests();
        for n in 0..STREAMS {
            let query = n.to_string();
            let server = spans.iter().find(|span| span.str("url.query") == Some(&*query)).unwrap();
            assert_eq!((&server.trace_id, &server.parent_id), (&trace(n), &caller(n)), "{door:?}");
            let client = receiver.client_span_of(server).unwrap();
            let told = format!("00-{}-{}-01", trace(n), client.span_id);
            let seen = seen.iter().find(|seen| seen.target.ends_with(&format!("?{n}"))).unwrap();
            assert_eq!(seen.headers_named("traceparent"), [&*told], "{door:?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}
