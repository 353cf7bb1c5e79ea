//! Sizes of bodies.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::Door;
use haproxy_vitals_tests::{SOON, Upstream, poll};

use super::{count, measured, scrape};

#[test]
fn bodies_with_a_length_are_measured_through_every_door() {
    for door in Door::ALL {
        let upstream = Upstream::start();
        let haproxy = measured(door, "", "")
            .upstream(&upstream)
            .env("OTEL_TRACES_EXPORTER", "none")
            .env("OTEL_TRACES_SAMPLER", "always_off")
            .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
            .env("HAPROXY_VITALS_METRICS_BODY_SIZES", "true")
            .start();
        client::request(haproxy.addr("http"), "POST", "/bytes/3000", &[], &[b'x'; 500]);
        client::get(haproxy.addr("http"), "/chunked/5", &[]);
        poll::until(SOON, "both requests", || count(&scrape(haproxy.addr("metrics")), super::SERVER, &[]) == 2);
        let metrics = scrape(haproxy.addr("metrics"));
        for (name, bytes) in [("request", 500), ("response", 3000)] {
            let name = format!("http_server_{name}_body_size_bytes");
            assert_eq!(count(&metrics, &format!("{name}_count"), &[]), 1, "{door:?} {name}");
            assert_eq!(count(&metrics, &format!("{name}_sum"), &[]), bytes, "{door:?} {name}");
        }
        haproxy.finish();
    }
}
