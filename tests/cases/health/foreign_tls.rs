//! TLS as other authors' servers speak it, fast, slowly and not at all.

use std::time::Duration;

use haproxy_vitals_tests::grpc_backend::Pki;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Foreign, ForeignBackend, GrpcBackend, Haproxy, HealthServer, Relay, SOON, poll};

use super::foreign::{patient, proxy_of_all};
use super::{is_up, proxy, status, told, wait_down, wait_told, wait_up};

#[test]
fn certificate_of_a_trusted_authority_is_taken_and_any_other_is_not() {
    let (pki, other) = (Pki::new(), Pki::new());
    let (tonic, python, node) =
        (GrpcBackend::with_tls(&pki), Foreign::Python.with_tls(&pki), Foreign::Node.with_tls(&pki));
    let servers: [(&str, &dyn HealthServer); 3] = [("tonic", &tonic), ("python", &python), ("node", &node)];
    let haproxy = trusting(&servers, &pki, "").start();
    for (name, server) in servers {
        wait_up(&haproxy, name, SOON);
        server.set_not_serving("");
        wait_down(&haproxy, name, SOON);
        server.set_serving("");
    }
    haproxy.finish();
    let haproxy = trusting(&servers, &other, "").start();
    for (name, _) in servers {
        let line = wait_told(&haproxy, name, "class=tls");
        assert!(line.contains(" down ") && line.contains("certificate"), "{line}");
    }
    haproxy.finish();
}

#[test]
fn server_that_asks_for_a_certificate_lets_in_who_has_one() {
    let pki = Pki::new();
    let (tonic, python, node) = (
        GrpcBackend::with_mutual_tls(&pki),
        Foreign::Python.with_mutual_tls(&pki),
        Foreign::Node.with_mutual_tls(&pki),
    );
    let servers: [(&str, &dyn HealthServer); 3] = [("tonic", &tonic), ("python", &python), ("node", &node)];
    let haproxy = trusting(&servers, &pki, "").start();
    for (name, server) in servers {
        let line = wait_told(&haproxy, name, " down ");
        assert!(line.contains("class=tls"), "{line}");
        assert_eq!(server.checks(), 0, "{name}");
    }
    haproxy.finish();
    let (cert, key) = (pki.path("client.pem"), pki.path("client.key"));
    let ours = format!("cert_file = \"{}\"\nkey_file = \"{}\"", cert.display(), key.display());
    let haproxy = trusting(&servers, &pki, &ours).start();
    for (name, _) in servers {
        wait_up(&haproxy, name, SOON);
    }
    haproxy.finish();
}

#[test]
fn slow_handshake_within_the_bound_passes_and_one_beyond_it_does_not() {
    let pki = Pki::new();
    for whose in Foreign::ALL {
        let server = whose.with_tls(&pki);
        let relay = Relay::to(server.addr());
        // Every answer of the server's: at least two of TLS, and its HTTP/2 settings.
        relay.delay(Duration::from_millis(80));
        let haproxy = relayed(&relay, &pki);
        wait_up(&haproxy, "s", SOON);
        relay.delay(Duration::from_secs(2));
        wait_down(&haproxy, "s", SOON);
        let line = told(&haproxy, "s");
        assert!(line.contains("no TLS handshake within 700 ms") && line.contains("class=tls"), "{line}");
        relay.delay(Duration::ZERO);
        wait_up(&haproxy, "s", SOON);
        haproxy.finish();
    }
}

#[test]
fn handshake_that_never_ends_is_a_failure_within_its_bound_and_others_are_checked() {
    let pki = Pki::new();
    let (python, node, other) =
        (Foreign::Python.with_tls(&pki), Foreign::Node.with_tls(&pki), Foreign::Node.with_tls(&pki));
    let servers: [(&str, &dyn HealthServer); 3] = [("python", &python), ("node", &node), ("other", &other)];
    // As many at once as there are servers that hang: they must not keep the room.
    let settings = settings(&pki, "reuse = false").replace("[traces]", "[health]\nmax_concurrent = 2\n[traces]");
    let haproxy = proxy_of_all(&servers).file("vitals.toml", &settings).start();
    for (name, _) in servers {
        wait_up(&haproxy, name, SOON);
    }
    stalled(&python, "python", &haproxy);
    stalled(&node, "node", &haproxy);
    let checks = other.checks();
    poll::until(SOON, "the other server is checked", || other.checks() >= checks + 2);
    assert!(is_up(&status(&haproxy, "other")));
    for (name, server) in [("python", &python), ("node", &node)] {
        server.thaw();
        wait_up(&haproxy, name, SOON);
    }
    haproxy.finish();
}

/// The kernel still takes the connection; nobody answers the first message of TLS.
fn stalled(server: &ForeignBackend, name: &str, haproxy: &Haproxy) {
    server.freeze();
    wait_down(haproxy, name, SOON);
    let line = told(haproxy, name);
    assert!(line.contains("no TLS handshake within 700 ms") && line.contains("class=tls"), "{line}");
}

/// A proxy that trusts this authority.
fn trusting(servers: &[(&str, &dyn HealthServer)], pki: &Pki, more: &str) -> Builder {
    proxy_of_all(servers).file("vitals.toml", &settings(pki, more))
}

fn relayed(relay: &Relay, pki: &Pki) -> Haproxy {
    proxy(&[("s", &relay.addr().to_string())]).file("vitals.toml", &settings(pki, "reuse = false")).start()
}

fn settings(pki: &Pki, more: &str) -> String {
    patient(&format!("tls = \"on\"\nca_file = \"{}\"\n{more}", pki.path("ca.pem").display()))
}
