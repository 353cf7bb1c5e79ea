//! The harness itself, against a HAProxy without the module.

mod faults;
mod grpc;
mod haproxy;
mod official;
mod otlp;
mod signals;

use haproxy_vitals_tests::Upstream;
use haproxy_vitals_tests::haproxy::{Builder, Haproxy};

/// A proxy in front of one origin.
const PLAIN: &str = "
defaults
  mode http
  timeout connect 500ms
  timeout client 5s
  timeout server 500ms
  retries 0
frontend front
  bind 127.0.0.1:${port:http}
  default_backend back
backend back
  server one ${upstream}
";

fn plain(upstream: &Upstream) -> Builder {
    Haproxy::config(PLAIN).set("upstream", upstream.addr())
}
