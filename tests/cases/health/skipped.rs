//! Servers that are not checked, and that an operator is told so once.

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{CONFIG, INTERVAL, SETTINGS, SWEEP, get, is_up, proxy, served_by, status, told, wait_down, wait_up};

/// How many lines of the log say this about a server of `b`.
fn said(haproxy: &Haproxy, server: &str, reason: &str) -> usize {
    let begin = format!("b/{server} is not checked: ");
    haproxy.log().lines().filter(|line| line.contains(&begin) && line.contains(reason)).count()
}

#[test]
fn servers_that_cannot_be_checked_are_named_once_with_the_reason() {
    let backend = GrpcBackend::start();
    let at = backend.addr();
    let reasons = [
        ("native", format!("{at} check inter 100ms"), "remove `check`"),
        ("tracking", format!("{at} track b/native"), "`track`"),
        ("unresolved", "nowhere.invalid:80 init-addr none".to_owned(), "its name is not resolved"),
        ("abstract", "abns@haproxy-vitals-nobody".to_owned(), "an abstract socket?"),
        ("portless", "127.0.0.1".to_owned(), "names no port"),
        ("same", "127.0.0.1:+0".to_owned(), "names no port"),
        ("below", "127.0.0.1:-100".to_owned(), "its address is not understood"),
        ("anywhere", "0.0.0.0:80".to_owned(), "its address is the client's destination"),
    ];
    let mut servers = vec![("s", at.to_string())];
    servers.extend(reasons.iter().map(|(name, line, _)| (*name, line.clone())));
    let servers: Vec<(&str, &str)> = servers.iter().map(|(name, line)| (*name, line.as_str())).collect();
    let haproxy = proxy(&servers).set("load", "lua-load-per-thread").start();
    wait_up(&haproxy, "s", SOON);
    for (name, _, reason) in &reasons {
        poll::until(SOON, &format!("{name} is named in the log"), || said(&haproxy, name, reason) > 0);
        let line = told(&haproxy, name);
        assert!(line.contains("skipped: ") && line.contains(reason), "{line}");
    }
    poll::always(2 * SWEEP, "every server is named once", || {
        reasons.iter().all(|(name, _, reason)| said(&haproxy, name, reason) == 1)
    });
    // HAProxy's own checks decide about these two.
    assert!(is_up(&status(&haproxy, "native")) && is_up(&status(&haproxy, "tracking")));
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    assert!(is_up(&status(&haproxy, "native")) && is_up(&status(&haproxy, "tracking")));
    haproxy.finish();
}

#[test]
fn native_check_is_named_once_also_when_maintenance_pauses_it() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    let haproxy = proxy(&[("native", &format!("{} check inter 100ms", backend.addr()))]).start();
    poll::until(SOON, "native is named in the log", || said(&haproxy, "native", "remove `check`") == 1);
    haproxy.cli("set server b/native state maint");
    poll::always(2 * SWEEP, "maintenance does not make it a server to check", || {
        told(&haproxy, "native").contains("skipped: ")
    });
    haproxy.cli("set server b/native state ready");
    poll::until(SOON, "its own check decides", || is_up(&status(&haproxy, "native")));
    poll::always(2 * SWEEP, "it is not forced", || is_up(&status(&haproxy, "native")));
    assert_eq!(said(&haproxy, "native", "remove `check`"), 1);
    assert_eq!(backend.checks(), 0);
    haproxy.finish();
}

#[test]
fn server_behind_a_unix_socket_is_checked() {
    let backend = GrpcBackend::start();
    let bridge =
        format!("listen bridge\n  bind unix@${{dir}}/grpc.sock proto h2\n  server g {} proto h2\n", backend.addr());
    let config = CONFIG.replace("SERVERS", "  server s unix@${dir}/grpc.sock proto h2");
    let haproxy = Haproxy::config(&format!("{config}{bridge}"))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", SETTINGS)
        .allow_alert("has no server available")
        .start();
    wait_up(&haproxy, "s", SOON);
    assert_eq!(served_by(&haproxy), "s");
    assert_eq!(backend.asked()[0].authority, "localhost");
    backend.set_not_serving("");
    wait_down(&haproxy, "s", 2 * INTERVAL + SWEEP);
    haproxy.finish();
}

#[test]
fn unknown_backend_is_a_warning_and_the_others_are_checked() {
    let backend = GrpcBackend::start();
    let settings = format!("{SETTINGS}[[health.backend]]\nname = \"bb\"\n");
    let haproxy = proxy(&[("s", &backend.addr().to_string())]).file("vitals.toml", &settings).start();
    haproxy.wait_log("health.backend `bb`: HAProxy has no backend of that name", SOON);
    wait_up(&haproxy, "s", SOON);
    let log = haproxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("health.backend `bb`")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    // Facility local0 is 16, severity warning 4.
    assert!(lines[0].starts_with("<132>"), "{}", lines[0]);
    haproxy.finish();
}

#[test]
fn backends_that_are_not_named_are_left_alone() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    let settings = SETTINGS.replace("name = \"b\"", "name = \"other\"");
    let config = CONFIG.replace("SERVERS", &format!("  server s {0}\nbackend other\n  server o {0}", backend.addr()));
    let haproxy = Haproxy::config(&config)
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", &settings)
        .allow_alert("has no server available")
        .start();
    poll::until(SOON, "the other one is judged", || haproxy.cli("show vitals health").contains("other/o "));
    backend.wait_checks(3, SOON);
    assert!(is_up(&status(&haproxy, "s")));
    assert_eq!(get(&haproxy).status, 200);
    assert!(told(&haproxy, "s").is_empty());
    haproxy.finish();
}
