//! Checks over TLS.

use haproxy_vitals_tests::grpc_backend::{GrpcBackend, Pki};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Mode, SOON};

use super::{CONFIG, SETTINGS, proxy_of, status, told, wait_down, wait_told, wait_up};

/// A proxy that checks `backend` over TLS, with further settings.
fn tls_of(backend: &GrpcBackend, pki: &Pki, more: &str) -> Builder {
    let ca = pki.path("ca.pem");
    // A handshake takes longer than a round on a busy machine.
    let settings = SETTINGS.replace("\"150ms\"", "\"1s\"").replace("interval = \"300ms\"", "interval = \"2s\"");
    let settings = settings.replace("fast_interval = \"2s\"", "fast_interval = \"300ms\"");
    let settings = settings.replace("down_interval = \"2s\"", "down_interval = \"300ms\"");
    proxy_of(backend).file("vitals.toml", &format!("{settings}tls = \"on\"\nca_file = \"{}\"\n{more}", ca.display()))
}

#[test]
fn trusted_server_is_up_and_one_of_another_authority_is_down_with_a_warning() {
    let (pki, other) = (Pki::new(), Pki::new());
    let backend = GrpcBackend::with_tls(&pki);
    let haproxy = tls_of(&backend, &pki, "").start();
    wait_up(&haproxy, "s", SOON);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    haproxy.finish();

    let backend = GrpcBackend::with_tls(&pki);
    let haproxy = tls_of(&backend, &other, "").start();
    let line = wait_told(&haproxy, "s", "class=tls");
    assert!(line.contains(" down ") && line.contains("certificate"), "{line}");
    assert_eq!(status(&haproxy, "s"), "DOWN");
    haproxy.wait_log("do `ca_file`, `server_name` and `cert_file` fit?", SOON);
    haproxy.finish();
}

#[test]
fn server_that_asks_for_a_certificate_gets_ours() {
    let pki = Pki::new();
    let backend = GrpcBackend::with_mutual_tls(&pki);
    let haproxy = tls_of(&backend, &pki, "").start();
    wait_told(&haproxy, "s", "class=tls");
    assert_eq!(backend.checks(), 0);
    haproxy.finish();

    let (cert, key) = (pki.path("client.pem"), pki.path("client.key"));
    let ours = format!("cert_file = \"{}\"\nkey_file = \"{}\"\n", cert.display(), key.display());
    let haproxy = tls_of(&backend, &pki, &ours).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn name_of_the_certificate_may_be_configured() {
    let pki = Pki::new();
    let backend = GrpcBackend::with_tls(&pki);
    let haproxy = tls_of(&backend, &pki, "server_name = \"other.example\"\n").start();
    wait_told(&haproxy, "s", "class=tls");
    haproxy.finish();
    let haproxy = tls_of(&backend, &pki, "server_name = \"shop.example\"\nauthority = \"shop\"\n").start();
    wait_up(&haproxy, "s", SOON);
    assert_eq!(backend.asked()[0].authority, "shop");
    haproxy.finish();
}

#[test]
fn certificates_are_read_before_the_chroot() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let pki = Pki::new();
    let backend = GrpcBackend::with_tls(&pki);
    let config = CONFIG.replace("SERVERS", &format!("  server s {}", backend.addr()));
    let config = config.replace("  nbthread 2\n", "  nbthread 2\n  user nobody\n  chroot ${dir}\n");
    let ca = pki.path("ca.pem");
    let settings = SETTINGS.replace("\"150ms\"", "\"1s\"").replace("\"300ms\"", "\"2s\"");
    let settings = format!("{settings}tls = \"on\"\nreuse = false\nca_file = \"{}\"\n", ca.display());
    let haproxy = haproxy_vitals_tests::Haproxy::config(&config)
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &settings)
        .allow_alert("has no server available")
        .mode(Mode::MasterWorker)
        .start();
    wait_up(&haproxy, "s", SOON);
    // Each check has a connection of its own, and looks for files that it no longer sees.
    backend.wait_checks(2, SOON);
    assert!(told(&haproxy, "s").contains("fall=0/3"), "{}", told(&haproxy, "s"));
    haproxy.finish();
}

#[test]
fn files_that_cannot_be_used_are_refused_at_the_check_of_the_configuration() {
    let pki = Pki::new();
    let backend = GrpcBackend::with_tls(&pki);
    for (more, message) in [
        ("ca_file = \"/nowhere/ca.pem\"", "`ca_file`: cannot read /nowhere/ca.pem"),
        ("metadata = { x-key = { file = \"/nowhere/key\" } }", "`metadata.x-key`: cannot read /nowhere/key"),
        ("metadata = { x-key = { env = \"VITALS_TEST_UNSET\" } }", "the environment has no VITALS_TEST_UNSET"),
    ] {
        let settings = format!("{SETTINGS}tls = \"on\"\n{more}\n");
        let outcome = proxy_of(&backend).file("vitals.toml", &settings).check();
        assert!(!outcome.ok && outcome.output.contains(message), "{}", outcome.output);
        assert!(outcome.output.contains("health.backend `b`"), "{}", outcome.output);
    }
    drop(pki);
}
