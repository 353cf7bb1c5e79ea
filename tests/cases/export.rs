//! The way from HAProxy to the collector: protocols, compression, TLS, proxies, and what goes wrong on it.

mod circuit;
mod collector;
mod failures;
mod matrix;
mod proxies;
mod refused;
mod variables;

use haproxy_vitals_tests::haproxy::{Builder, Haproxy};
use haproxy_vitals_tests::{OtlpReceiver, Pki, SOON, Upstream, client, vitals};

/// A traced proxy that sends soon; the collector is up to the test.
fn proxy(upstream: &Upstream) -> Builder {
    vitals::zero_lines("", "").upstream(upstream).env("OTEL_BSP_SCHEDULE_DELAY", 20)
}

/// The same, as `nobody` in a chroot where the test may become somebody else.
fn confined(upstream: &Upstream) -> Builder {
    let confined = "global\n  chroot ${dir}\n  user nobody\n  group nogroup\n";
    let rest = if nix::unistd::geteuid().is_root() { confined } else { "" };
    vitals::zero_lines("", rest).upstream(upstream).env("OTEL_BSP_SCHEDULE_DELAY", 20)
}

/// Trusts this authority.
fn trusting(builder: Builder, pki: &Pki) -> Builder {
    builder.env("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.path("ca.pem").display())
}

/// Shows this authority's client certificate.
fn identified(builder: Builder, pki: &Pki) -> Builder {
    builder
        .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", pki.path("client.pem").display())
        .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", pki.path("client.key").display())
}

/// One request, and its two spans at the receiver.
#[track_caller]
fn delivers(haproxy: &Haproxy, receiver: &OtlpReceiver, what: &str) {
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200, "{what}");
    let spans = receiver.wait_for(SOON, |spans| spans.len() >= 2);
    assert_eq!(spans.len(), 2, "{what}");
    receiver.assert_clean();
}

/// One line of `show vitals traces`, without its name.
#[track_caller]
fn field(haproxy: &Haproxy, name: &str) -> String {
    let answer = haproxy.cli("show vitals traces");
    let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("show vitals traces has no `{name}`:\n{answer}")).trim().to_owned()
}

/// One number of `show vitals traces`.
#[track_caller]
fn count(haproxy: &Haproxy, name: &str) -> u64 {
    field(haproxy, name).parse().unwrap()
}
