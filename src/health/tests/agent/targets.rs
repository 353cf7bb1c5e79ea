//! Four fields: which checked server is meant, and targets that are not configured.

use std::time::{Duration, Instant};

use tonic_health::ServingStatus;

use super::{Bench, Rig, plain, rig, rig_of, seen, servers};
use crate::config::HealthConfig;
use crate::health::ServerSeen;

/// One that takes targets which are not configured.
fn any() -> Rig {
    let rig = rig(|_| {}, |agent| agent.allow_any = true);
    rig.bench.checker.sweep(&[]);
    rig
}

#[tokio::test]
async fn four_fields_are_answered_for_servers_that_are_checked() {
    let (reporter, server) = servers::health().await;
    let rig = plain();
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    let port = server.address.port();
    for host in ["127.0.0.1", "::ffff:127.0.0.1"] {
        assert_eq!(rig.ask(&format!("{host} {port} no-ssl shop.example\n")).await, "up\n", "{host}");
    }
    for other in [format!("127.0.0.2 {port} no-ssl a\n"), format!("127.0.0.1 {port} ssl a\n")] {
        assert_eq!(rig.ask(&other).await, NOT_CHECKED, "{other}");
    }
    reporter.set_service_status("", ServingStatus::NotServing).await;
    rig.bench.changes().await;
    assert!(rig.ask(&format!("127.0.0.1 {port} no-ssl x\n")).await.starts_with("down #NOT_SERVING"));
}

#[tokio::test]
async fn names_and_every_way_to_write_an_address_mean_the_same_server() {
    let (_reporter, server) = servers::health_on(servers::listen("[::1]:0").await);
    let rig = plain();
    let port = server.address.port();
    // As HAProxy prints it: without brackets.
    let seen = ServerSeen { name: Some("Shop.Example".to_owned()), ..seen(format!("::1:{port}"), "DOWN") };
    rig.bench.checker.sweep(&[seen]);
    rig.bench.changes().await;
    for host in ["::1", "[::1]", "0:0:0:0:0:0:0:1", "shop.example", "SHOP.example."] {
        assert_eq!(rig.ask(&format!("{host} {port} no-ssl ::1\n")).await, "up\n", "{host}");
    }
    assert_eq!(rig.ask(&format!("shop {port} no-ssl shop\n")).await, NOT_CHECKED);
    assert_eq!(rig.ask("::1 1 no-ssl ::1\n").await, NOT_CHECKED);
}

#[tokio::test]
async fn an_authority_tells_apart_only_servers_that_have_one() {
    let (_reporter, server) = servers::health().await;
    let rig = rig_of(
        Bench::with(Duration::from_millis(50), |backend| backend.authority = Some("a.example".to_owned())),
        &HealthConfig::default(),
        |_| {},
    );
    rig.bench.checker.sweep(&[seen(server.address, "DOWN")]);
    rig.bench.changes().await;
    let port = server.address.port();
    for authority in ["a.example", "A.example", &format!("a.example:{port}")] {
        assert_eq!(rig.ask(&format!("127.0.0.1 {port} no-ssl {authority}\n")).await, "up\n", "{authority}");
    }
    for authority in ["b.example", "a.example:1"] {
        assert_eq!(rig.ask(&format!("127.0.0.1 {port} no-ssl {authority}\n")).await, NOT_CHECKED, "{authority}");
    }
}

#[tokio::test]
async fn any_target_is_checked_where_that_is_allowed() {
    let (_reporter, server) = servers::health().await;
    let rig = any();
    let port = server.address.port();
    assert_eq!(rig.ask(&format!("127.0.0.1 {port} no-ssl shop.example\n")).await, "up\n");
    assert!(rig.ask("127.0.0.1 1 no-ssl shop.example\n").await.starts_with("down #"));
    // What cannot be a target, or is not for others to ask about, says nothing about a server.
    for host in ["/run/grpc.sock", "unix@/run/grpc.sock", "abns@grpc", "user@127.0.0.1", "127.0.0.1:80", "0.0.0.0"] {
        let expected = "# error: the host is not an IP address or a name to connect to\n";
        assert_eq!(rig.ask(&format!("{host} {port} no-ssl a\n")).await, expected, "{host}");
    }
    for authority in ["a:1:2/x?y", "user@a"] {
        let expected = "# error: the authority is not a host, with or without a port\n";
        assert_eq!(rig.ask(&format!("127.0.0.1 {port} no-ssl {authority}\n")).await, expected, "{authority}");
    }
}

#[tokio::test]
async fn any_target_is_asked_over_ipv6_with_its_own_authority() {
    let (_reporter, server) = servers::health_on(servers::listen("[::1]:0").await);
    let rig = any();
    let port = server.address.port();
    for host in ["::1", "[::1]"] {
        assert_eq!(rig.ask(&format!("{host} {port} no-ssl {host}\n")).await, "up\n", "{host}");
    }
    let spy = servers::Spy::answering(|| servers::status(1)).await;
    let port = spy.server.address.port();
    for authority in ["first.example", "second.example:8443"] {
        assert_eq!(rig.ask(&format!("127.0.0.1 {port} no-ssl {authority}\n")).await, "up\n");
    }
    let heads = spy.heads.lock().unwrap();
    let asked: Vec<_> = heads.iter().map(|head| head.uri.authority().unwrap().as_str().to_owned()).collect();
    assert_eq!(asked, ["first.example", "second.example:8443"]);
    for head in heads.iter() {
        assert!(head.headers["user-agent"].to_str().unwrap().starts_with("haproxy-vitals/"), "{head:?}");
        assert_eq!(head.headers["grpc-timeout"], "1000m");
    }
}

/// HAProxy's default `agent-inter` is 2 s: without an answer by then it would keep the last state.
#[tokio::test]
async fn a_target_that_is_silent_at_any_stage_is_down_well_within_two_seconds() {
    let silent = servers::raw(|stream| async move { stream }).await;
    let hanging = servers::Spy::answering(servers::never).await;
    let slow = servers::Spy::start(servers::never, |_, stream| async move {
        tokio::time::sleep(Duration::from_millis(900)).await;
        Some(stream)
    })
    .await;
    let rig = any();
    let ask = async |port: u16, tls: &str| {
        let begin = Instant::now();
        let reply = rig.ask(&format!("127.0.0.1 {port} {tls} a\n")).await;
        assert!(reply.starts_with("down #"), "{reply}");
        assert!(begin.elapsed() < Duration::from_millis(1900), "{reply} after {:?}", begin.elapsed());
    };
    tokio::join!(
        ask(silent.address.port(), "no-ssl"),
        ask(silent.address.port(), "ssl"),
        ask(hanging.server.address.port(), "no-ssl"),
        ask(slow.server.address.port(), "no-ssl"),
    );
}

/// Who asks for a target that somebody else asks about already has no second turn of waiting.
#[tokio::test]
async fn who_comes_while_a_silent_target_is_asked_shares_its_failure() {
    let slow = servers::Spy::start(servers::never, |_, stream| async move {
        tokio::time::sleep(Duration::from_millis(900)).await;
        Some(stream)
    })
    .await;
    let rig = any();
    let line = format!("127.0.0.1 {} no-ssl a\n", slow.server.address.port());
    let ask = async |after: u64| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        let begin = Instant::now();
        let reply = rig.ask(&line).await;
        assert!(reply.starts_with("down #"), "{reply}");
        assert!(begin.elapsed() < Duration::from_millis(1900), "{:?}", begin.elapsed());
    };
    tokio::join!(ask(0), ask(300), ask(1000), ask(1500));
}

const NOT_CHECKED: &str = "# error: no such server is checked, and `agent.allow_any` is not set\n";
