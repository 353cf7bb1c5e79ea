//! Servers whose addresses come from DNS.

use std::net::Ipv4Addr;

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, NameServer, SOON, poll};

use super::{CONFIG, SETTINGS, SLACK, SWEEP, is_up, status, told, wait_down, wait_told, wait_up};

pub(super) const RESOLVERS: &str = "
resolvers dns
  nameserver ns ${dns}
  hold valid 100ms
  hold nx 100ms
  hold other 100ms
  timeout resolve 100ms
  timeout retry 100ms
";

#[test]
fn server_is_checked_once_its_name_is_resolved_and_let_go_when_it_is_not() {
    let (backend, names) = (GrpcBackend::start(), NameServer::start());
    let server =
        format!("  server s shop.example:{} resolvers dns resolve-prefer ipv4 init-addr none", backend.addr().port());
    let haproxy = Haproxy::config(&format!("{}{RESOLVERS}", CONFIG.replace("SERVERS", &server)))
        .module()
        .set("load", "lua-load")
        .set("dns", names.addr())
        .file("vitals.toml", SETTINGS)
        .allow_alert("has no server available")
        .start();
    wait_told(&haproxy, "s", "its name is not resolved");
    assert!(status(&haproxy, "s").starts_with("MAINT"));
    names.set("shop.example", &[Ipv4Addr::LOCALHOST]);
    wait_told(&haproxy, "s", &format!("{} up ", backend.addr()));
    wait_up(&haproxy, "s", SOON);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);

    // HAProxy puts it into maintenance, and out of it when the name is back.
    names.set("shop.example", &[]);
    poll::until(SOON, "HAProxy gives the server up", || status(&haproxy, "s").starts_with("MAINT"));
    names.set("shop.example", &[Ipv4Addr::LOCALHOST]);
    poll::until(SOON, "HAProxy takes it back", || !status(&haproxy, "s").starts_with("MAINT"));
    wait_down(&haproxy, "s", SWEEP + SLACK);
    backend.set_serving("");
    wait_up(&haproxy, "s", SOON);
    assert!(is_up(&status(&haproxy, "s")), "{}", told(&haproxy, "s"));
    haproxy.finish();
}
