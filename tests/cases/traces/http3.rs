//! HTTP/3: requests of one connection over QUIC, each with its own parent.

use std::collections::BTreeSet;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{OtlpReceiver, Upstream};

use super::tls::certificate;

const STREAMS: u64 = 40;

#[test]
fn streams_of_one_http3_connection_keep_their_parents() {
    const FRONT: &str = "  bind quic4@127.0.0.1:${port:quic} ssl crt ${dir}/server.pem alpn h3\n";
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, FRONT, "").upstream(&upstream).export_http(&receiver);
        let haproxy = config.file("server.pem", &certificate("shop.example")).start();
        let asked: Vec<_> =
            (0..STREAMS).map(|n| (format!("/delay/{}?{n}", n % 5 * 5), vitals::traceparent(n))).collect();
        let statuses = client::h3_get_each(haproxy.addr("quic"), &asked);
        assert_eq!(statuses, vec![200; asked.len()], "{door:?}");

        vitals::wait_exported(&haproxy, &receiver, STREAMS);
        let spans = receiver.server_spans();
        assert_eq!(spans.len() as u64, STREAMS, "{door:?}");
        let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
        assert_eq!(ids.len(), spans.len(), "{door:?}");
        for n in 0..STREAMS {
            let span = spans.iter().find(|span| span.trace_id == vitals::trace_id(n)).unwrap();
            let query = n.to_string();
            let said = (span.str("url.query"), span.parent_id.as_str(), span.str("network.protocol.version"));
            assert_eq!(said, (Some(&*query), CALLER, Some("3")), "{door:?} {span:#?}");
            assert_eq!(span.str("url.scheme"), Some("https"), "{door:?} {span:#?}");
            assert!(receiver.client_span_of(span).is_some(), "{door:?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}
