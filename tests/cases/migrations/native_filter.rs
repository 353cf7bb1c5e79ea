//! From the filter that HAProxy can be compiled with.

use haproxy_vitals_tests::{OtlpReceiver, Upstream, client, vitals};

use super::traces::{ENGINES, haproxy_otel};
use super::{blocks, section};

#[test]
fn attributes_of_samples_are_set_for_requests_and_for_responses() {
    let [frontend] = blocks(&section("HAProxy's own filter"), "haproxy");
    for engine in ENGINES {
        let (receiver, upstream) = (OtlpReceiver::start(), Upstream::start());
        let config = haproxy_otel(Some(&frontend), "", &upstream, &receiver);
        let haproxy = config.env("HAPROXY_VITALS_TRACES_ENGINE", engine).start();
        for (n, path, content) in [(1, "/bytes/3", Some("3")), (2, "/status/500", None)] {
            client::get(haproxy.addr("http"), path, &[("traceparent", &vitals::traceparent(n))]);
            let server = vitals::server_span(&receiver, &vitals::trace_id(n));
            assert_eq!((server.str("http.version"), server.str("hdr.content")), (Some("1.1"), content), "{engine}");
        }
        haproxy.finish();
    }
}
