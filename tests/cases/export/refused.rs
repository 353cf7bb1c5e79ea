//! Files that cannot be used stop HAProxy before it starts, also under `haproxy -c`.

use haproxy_vitals_tests::{Pki, Upstream};

use super::{identified, proxy, trusting};

#[test]
fn a_file_that_cannot_be_used_is_refused_by_the_check_and_by_the_start() {
    let (pki, upstream) = (Pki::new(), Upstream::start());
    let empty = pki.write("empty.pem", "");
    let other_key = pki.path("server.key");
    for (variable, value, expected) in [
        ("CERTIFICATE", "/nowhere/ca.pem".to_owned(), "`export.certificate`: /nowhere/ca.pem: No such file"),
        ("CERTIFICATE", empty.display().to_string(), "no certificate in PEM form"),
        ("CLIENT_CERTIFICATE", "/nowhere/c.pem".to_owned(), "`export.client_certificate`: /nowhere/c.pem: No such"),
        ("CLIENT_KEY", empty.display().to_string(), "no private key in PEM form"),
        ("CLIENT_KEY", other_key.display().to_string(), "not the key of the certificate in"),
    ] {
        let builder = || {
            identified(trusting(proxy(&upstream), &pki), &pki)
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4318")
                .env(&format!("OTEL_EXPORTER_OTLP_TRACES_{variable}"), &value)
        };
        let check = builder().check();
        assert!(!check.ok && check.output.contains(expected), "{variable}: {}", check.output);
        let why = builder().try_start().err().unwrap();
        assert!(why.contains(expected), "{variable}: {why}");
    }
}

#[test]
fn files_that_are_right_pass_the_check() {
    let (pki, upstream) = (Pki::new(), Upstream::start());
    let check = identified(trusting(proxy(&upstream), &pki), &pki)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4318")
        .check();
    assert!(check.ok, "{}", check.output);
}

#[test]
fn half_a_client_certificate_is_refused() {
    let (pki, upstream) = (Pki::new(), Upstream::start());
    let check = proxy(&upstream).env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", pki.path("client.pem").display()).check();
    assert!(!check.ok && check.output.contains("`export.client_key`"), "{}", check.output);
}

#[test]
fn files_are_of_no_interest_where_nothing_is_sent() {
    let upstream = Upstream::start();
    let check = proxy(&upstream)
        .env("OTEL_TRACES_EXPORTER", "none")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:4318")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")
        .check();
    assert!(check.ok, "{}", check.output);
}
