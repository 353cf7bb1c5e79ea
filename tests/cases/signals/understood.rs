//! Prometheus' own client library reads the pages as they are meant.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::exposition::{self, Sample};
use haproxy_vitals_tests::vitals::Door;
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream, poll};

use super::{SERVER, count, measured, scrape};

#[test]
fn both_forms_are_read_by_the_library_of_prometheus() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = measured(Door::ZeroLines, "", "")
        .upstream(&upstream)
        .export_http(&receiver)
        .env("HAPROXY_VITALS_METRICS_ENABLED", "true")
        .env("HAPROXY_VITALS_METRICS_EXPORTER", "none")
        .env("OTEL_SERVICE_NAME", "edge \"one\" \\ two")
        .start();
    client::load(haproxy.addr("http"), Load::new(2, Until::Count(40), "/"));
    poll::until(SOON, "forty requests", || count(&scrape(haproxy.addr("metrics")), SERVER, &[]) == 40);
    for (accept, is_openmetrics) in [("application/openmetrics-text;version=1.0.0", true), ("text/plain", false)] {
        let page = client::get(haproxy.addr("metrics"), "/metrics", &[("accept", accept)]).text();
        let samples = exposition::read(&page, is_openmetrics);
        let of = |name: &str| samples.iter().filter(|sample| sample.name == name).collect::<Vec<_>>();
        let counted = of(&format!("{SERVER}_count"));
        let sum: f64 = counted.iter().map(|sample| sample.value).sum();
        assert!((sum - 40.0).abs() < 0.5, "{page}");
        assert!(counted.iter().all(|sample| sample.kind == "histogram"));
        let name = |sample: &&Sample| sample.labels.get("service_name").cloned();
        assert_eq!(of("target_info").first().and_then(name).as_deref(), Some("edge \"one\" \\ two"));
        let with_exemplars = of(&format!("{SERVER}_bucket")).iter().filter(|sample| sample.has_exemplar).count();
        assert_eq!(with_exemplars > 0, is_openmetrics, "{page}");
        assert!(samples.iter().any(|sample| sample.kind == "counter"), "{page}");
    }
    haproxy.finish();
}
