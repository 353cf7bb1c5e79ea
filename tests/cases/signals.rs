//! What is made of requests beside spans: metrics, and the memory of the last ones.

mod bodies;
mod correlation;
mod listener;
mod metrics;
mod otlp;
mod pushed;
mod recent;
mod understood;

use std::net::SocketAddr;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::vitals::{self, Door};
use prometheus_parse::{Scrape, Value};

/// A frontend that answers Prometheus.
pub(crate) const SERVICE: &str = "
frontend metrics
  bind 127.0.0.1:${port:metrics}
  http-request use-service lua.otel_metrics
";

/// A proxy through a door, with [`SERVICE`], which is not measured itself.
fn measured(door: Door, frontend: &str, rest: &str) -> Builder {
    vitals::config(door, frontend, &format!("{rest}{SERVICE}")).env("HAPROXY_VITALS_TRACES_FRONTENDS", "!metrics")
}

/// The metrics as a scraper of the text format reads them.
#[track_caller]
pub(crate) fn scrape(addr: SocketAddr) -> Scrape {
    let answer = client::get(addr, "/metrics", &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    Scrape::parse(answer.text().lines().map(|line| Ok(line.to_owned()))).unwrap()
}

/// The sum of a metric's samples that have these labels; histograms: of how many values there were.
pub(crate) fn total(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
    let samples = scrape.samples.iter().filter(|sample| sample.metric == name);
    let chosen = samples.filter(|sample| labels.iter().all(|(key, value)| sample.labels.get(key) == Some(*value)));
    chosen
        .map(|sample| match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
            Value::Histogram(buckets) => buckets.last().map_or(0.0, |bucket| bucket.count),
            Value::Summary(_) => panic!("{sample:?}"),
        })
        .sum()
}

/// The same as a whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a test")]
pub(crate) fn count(scrape: &Scrape, name: &str, labels: &[(&str, &str)]) -> u64 {
    total(scrape, name, labels).round() as u64
}

const SERVER: &str = "http_server_request_duration_seconds";
const CLIENT: &str = "http_client_request_duration_seconds";
