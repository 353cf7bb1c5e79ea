//! `show vitals health`.

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{SETTINGS, proxy, proxy_of, told, wait_told};

#[test]
fn every_server_has_its_line_and_the_first_line_adds_up() {
    let (good, bad) = (GrpcBackend::start(), GrpcBackend::start());
    bad.set_not_serving("");
    let (good_at, bad_at) = (good.addr().to_string(), bad.addr().to_string());
    let native = format!("{good_at} check");
    let haproxy = proxy(&[("good", &good_at), ("bad", &bad_at), ("native", &native)]).start();
    wait_told(&haproxy, "good", " up ");
    wait_told(&haproxy, "bad", " down ");
    let text = haproxy.cli("show vitals health");
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines[0].starts_with("servers: 2, up: 1, drain: 0, down: 1, pending: 0, skipped: 1, checks: "), "{text}");
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[1].starts_with(&format!("b/bad {bad_at} down since=")), "{text}");
    assert!(lines[1].contains(" last=\"NOT_SERVING\" class=not_serving rise=0/2 fall=0/3 checks="), "{text}");
    assert!(lines[2].starts_with(&format!("b/good {good_at} up since=")), "{text}");
    assert!(lines[2].contains(" last=\"SERVING\" class=ok "), "{text}");
    assert!(lines[3].starts_with(&format!("b/native {good_at} skipped: ")), "{text}");
    haproxy.finish();
}

#[test]
fn checks_told_are_the_checks_that_came() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    backend.wait_checks(4, SOON);
    poll::until(SOON, "as many checks told as came", || {
        let came = backend.checks();
        told(&haproxy, "s").contains(&format!(" checks={came} ")) && backend.checks() == came
    });
    haproxy.finish();
}

#[test]
fn help_lists_the_command() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    let help = haproxy.cli("help show");
    assert!(help.contains("show vitals health"), "{help}");
    assert!(help.contains("the servers that are checked over gRPC"), "{help}");
    haproxy.finish();
}

#[test]
fn without_health_checks_nothing_is_configured_and_no_server_is_touched() {
    let backend = GrpcBackend::start();
    let (traces, _) = SETTINGS.split_once("[[").unwrap();
    let haproxy = proxy_of(&backend).file("vitals.toml", traces).start();
    assert_eq!(haproxy.cli("show vitals health").trim(), "nothing is configured");
    assert_eq!(super::status(&haproxy, "s"), "no check");
    assert_eq!(backend.checks(), 0);
    haproxy.finish();
}

#[test]
fn check_of_the_configuration_checks_no_server() {
    let backend = GrpcBackend::start();
    let outcome = proxy_of(&backend).check();
    assert!(outcome.ok, "{}", outcome.output);
    assert_eq!(backend.checks(), 0);
    let wrong = proxy_of(&backend).file("vitals.toml", &format!("{SETTINGS}risse = 2\n")).check();
    assert!(!wrong.ok && wrong.output.contains("risse") && wrong.output.contains("rise"), "{}", wrong.output);
    let late = SETTINGS.replace("rpc_timeout = \"150ms\"", "rpc_timeout = \"151ms\"");
    let late = Haproxy::config(super::CONFIG.replace("SERVERS", "").as_str())
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &late)
        .check();
    assert!(!late.ok && late.output.contains("interval"), "{}", late.output);
}
