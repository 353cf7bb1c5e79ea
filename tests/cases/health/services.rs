//! Templates whose servers come, move and go by DNS: A and SRV records.

use std::net::Ipv4Addr;

use haproxy_vitals_tests::grpc_backend::{GrpcBackend, Pki};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, NameServer, SOON, poll};

use super::resolve::RESOLVERS;
use super::stats_socket::{asking, assert_no_failure};
use super::{SETTINGS, is_up, status, told, wait_down, wait_told, wait_up};

const RECORD: &str = "_grpc._tcp.shop.test";

/// A proxy with a template of three slots for `what`.
fn template(what: &str, names: &NameServer, more: &str) -> Builder {
    let servers = format!("  server-template s 1-3 {what} resolvers dns resolve-prefer ipv4 init-addr none proto h2");
    let settings = format!("[health]\nstats_socket = \"${{dir}}/stats.sock\"\n{SETTINGS}{more}");
    asking(&servers, RESOLVERS, &settings).set("dns", names.addr())
}

/// The slot whose line has these words.
fn slot(haproxy: &Haproxy, words: &str) -> String {
    let find = || ["s1", "s2", "s3"].into_iter().find(|slot| told(haproxy, slot).contains(words));
    let found = poll::try_until(SOON, find);
    found.unwrap_or_else(|| panic!("no slot with `{words}`:\n{}", haproxy.cli("show vitals health"))).to_owned()
}

#[test]
fn slots_of_an_a_record_are_checked_as_they_fill() {
    let (backend, names) = (GrpcBackend::start(), NameServer::start());
    let port = backend.addr().port();
    let haproxy = template(&format!("grpc.shop.test:{port}"), &names, "").start();
    let unresolved = "is not checked: its name is not resolved";
    poll::until(SOON, "each empty slot is named", || haproxy.log().matches(unresolved).count() == 3);
    names.set("grpc.shop.test", &[Ipv4Addr::LOCALHOST]);
    let first = slot(&haproxy, &format!("{} up ", backend.addr()));
    wait_up(&haproxy, &first, SOON);
    assert_eq!(backend.asked()[0].authority, format!("grpc.shop.test:{port}"));
    // Nobody listens at the other address.
    names.set("grpc.shop.test", &[Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)]);
    let second = slot(&haproxy, &format!("127.0.0.2:{port} down "));
    wait_down(&haproxy, &second, SOON);
    assert!(is_up(&status(&haproxy, &first)));
    assert_eq!(haproxy.log().matches(unresolved).count(), 3);
    haproxy.finish();
}

#[test]
fn servers_of_an_srv_record_come_move_and_go() {
    let (one, two, names) = (GrpcBackend::start(), GrpcBackend::start(), NameServer::start());
    let at = |backend: &GrpcBackend| backend.addr().port();
    for name in ["one.shop.test", "two.shop.test"] {
        names.set(name, &[Ipv4Addr::LOCALHOST]);
    }
    names.set_service(RECORD, &[("one.shop.test", at(&one))]);
    let haproxy = template(RECORD, &names, "").start();
    let first = slot(&haproxy, &format!("{} up ", one.addr()));
    wait_up(&haproxy, &first, SOON);
    wait_told(&haproxy, &first, &format!(" ssl=off name=one.shop.test srv={RECORD}"));
    assert!(one.asked().iter().all(|asked| asked.authority == format!("one.shop.test:{}", at(&one))));

    names.set_service(RECORD, &[("one.shop.test", at(&one)), ("two.shop.test", at(&two))]);
    let second = slot(&haproxy, &format!("{} up ", two.addr()));
    wait_up(&haproxy, &second, SOON);
    assert!(two.asked().iter().all(|asked| asked.authority == format!("two.shop.test:{}", at(&two))));
    two.set_not_serving("");
    wait_down(&haproxy, &second, SOON);
    assert!(is_up(&status(&haproxy, &first)));
    two.set_serving("");
    wait_up(&haproxy, &second, SOON);
    assert!(!haproxy.log().contains(&format!("b/{first} is DOWN: ")));

    // The second moves to another port, then leaves.
    let three = GrpcBackend::start();
    names.set_service(RECORD, &[("one.shop.test", at(&one)), ("two.shop.test", at(&three))]);
    let moved = slot(&haproxy, &format!("{} up ", three.addr()));
    wait_up(&haproxy, &moved, SOON);
    names.set_service(RECORD, &[("one.shop.test", at(&one))]);
    poll::until(SOON, "HAProxy gives it up", || status(&haproxy, &moved).starts_with("MAINT"));
    wait_told(&haproxy, &moved, "<unknown> skipped: its name is not resolved");
    assert!(is_up(&status(&haproxy, &first)));
    // It comes back, into whatever slot.
    names.set_service(RECORD, &[("one.shop.test", at(&one)), ("two.shop.test", at(&two))]);
    let again = slot(&haproxy, &format!("{} up ", two.addr()));
    wait_up(&haproxy, &again, SOON);
    let unresolved = |slot: &str| {
        let line = format!("b/{slot} is not checked: its name is not resolved");
        haproxy.log().matches(&line).count()
    };
    for slot in ["s1", "s2", "s3"] {
        assert!(unresolved(slot) <= 1, "{slot} is named {} times", unresolved(slot));
    }
    haproxy.finish();
}

#[test]
fn name_of_an_srv_record_is_what_the_certificate_must_bear() {
    let (pki, names) = (Pki::new(), NameServer::start());
    let (one, two) = (GrpcBackend::with_tls(&pki), GrpcBackend::with_tls(&pki));
    // The certificate is for the first of them.
    for name in ["shop.example", "other.example"] {
        names.set(name, &[Ipv4Addr::LOCALHOST]);
    }
    names.set_service(RECORD, &[("shop.example", one.addr().port()), ("other.example", two.addr().port())]);
    let more = format!("tls = \"auto\"\nca_file = \"{}\"\n", pki.path("ca.pem").display());
    let more = more.replace("150ms", "1s");
    let haproxy = template(&format!("{RECORD} ssl verify none"), &names, &more).start();
    let first = slot(&haproxy, " ssl=on name=shop.example ");
    wait_up(&haproxy, &first, SOON);
    assert_eq!(one.asked()[0].authority, format!("shop.example:{}", one.addr().port()));
    let second = slot(&haproxy, " ssl=on name=other.example ");
    wait_told(&haproxy, &second, "class=tls");
    assert_eq!(two.checks(), 0);
    haproxy.finish();
}

#[test]
fn servers_of_an_srv_record_are_never_asked_before_their_name_is_known() {
    let (one, names) = (GrpcBackend::start(), NameServer::start());
    names.set("one.shop.test", &[Ipv4Addr::LOCALHOST]);
    let haproxy = template(RECORD, &names, "").start();
    for _ in 0..3 {
        one.clear();
        names.set_service(RECORD, &[("one.shop.test", one.addr().port())]);
        let filled = slot(&haproxy, &format!("{} up ", one.addr()));
        wait_up(&haproxy, &filled, SOON);
        let asked = one.asked();
        let expected = format!("one.shop.test:{}", one.addr().port());
        assert!(!asked.is_empty() && asked.iter().all(|asked| asked.authority == expected), "{asked:?}");
        names.set_service(RECORD, &[]);
        poll::until(SOON, "HAProxy gives it up", || status(&haproxy, &filled).starts_with("MAINT"));
    }
    assert_no_failure(&haproxy);
    haproxy.finish();
}
