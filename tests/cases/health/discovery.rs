//! Which servers are found: backends by pattern, templates, servers of the stats socket.

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, SOON};

use super::{CONFIG, SETTINGS, wait_told};

/// `b` has no server; the other backends have one each.
fn backends(more: &str, names: &str) -> haproxy_vitals_tests::haproxy::Builder {
    Haproxy::config(&format!("{}{more}", CONFIG.replace("SERVERS", "")))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &SETTINGS.replace("name = \"b\"", &format!("name = \"{names}\"")))
        .allow_alert("has no server available")
}

fn lines(haproxy: &Haproxy) -> Vec<String> {
    let text = haproxy.cli("show vitals health");
    let words = text.lines().filter_map(|line| line.split(' ').next()).filter(|word| word.contains('/'));
    words.map(str::to_owned).collect()
}

#[test]
fn backends_that_match_a_pattern_are_checked_and_no_others() {
    let backend = GrpcBackend::start();
    let at = backend.addr();
    let more = format!(
        "backend grpc_cart\n  server s {at}\nbackend grpc_pay\n  server s {at}\nbackend web\n  server s {at}\n\
         listen grpc_listen\n  bind 127.0.0.1:${{port:listen}}\n  server s {at}\n"
    );
    let haproxy = backends(&more, "grpc_*").start();
    assert_eq!(lines(&haproxy), ["grpc_cart/s", "grpc_listen/s", "grpc_pay/s"]);
    haproxy_vitals_tests::poll::until(SOON, "each is up", || {
        haproxy.cli("show vitals health").starts_with("servers: 3, up: 3, ")
    });
    haproxy.finish();
}

#[test]
fn name_comes_before_the_pattern_that_fits_too() {
    let backend = GrpcBackend::start();
    backend.set_serving("pay");
    let at = backend.addr();
    let more = format!("backend grpc_cart\n  server s {at}\nbackend grpc_pay\n  server s {at}\n");
    let settings = SETTINGS.replace("name = \"b\"", "name = \"grpc_*\"");
    let settings =
        format!("{settings}service = \"unknown\"\n[[health.backend]]\nname = \"grpc_pay\"\nservice = \"pay\"\n");
    let haproxy = backends(&more, "").file("vitals.toml", &settings).start();
    let told = |server: &str| haproxy.cli(&format!("show vitals health {server}"));
    haproxy_vitals_tests::poll::until(SOON, "each by its own settings", || {
        told("grpc_pay/s").contains(" up ") && told("grpc_cart/s").contains("class=service_unknown")
    });
    haproxy.finish();
}

#[test]
fn pattern_that_fits_no_backend_is_a_warning() {
    let haproxy = backends("", "nothing_*").start();
    haproxy.wait_log("health.backend `nothing_*`: HAProxy has no backend that matches", SOON);
    assert_eq!(lines(&haproxy), [""; 0]);
    haproxy.finish();
}

#[test]
fn every_server_of_a_template_is_checked_as_it_gets_its_address() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    two.set_not_serving("");
    let template = format!("  server-template s 1-3 {} ", one.addr());
    let haproxy = Haproxy::config(&CONFIG.replace("SERVERS", &template))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", SETTINGS)
        .allow_alert("has no server available")
        .start();
    for server in ["s1", "s2", "s3"] {
        wait_told(&haproxy, server, " up ");
    }
    haproxy.cli(&format!("set server b/s2 addr 127.0.0.1 port {}", two.addr().port()));
    wait_told(&haproxy, "s2", &format!("{} down ", two.addr()));
    super::wait_down(&haproxy, "s2", SOON);
    assert!(super::is_up(&super::status(&haproxy, "s1")) && super::is_up(&super::status(&haproxy, "s3")));
    haproxy.finish();
}
