//! One checker per process, and none in a process that leaves.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::Session;
use haproxy_vitals_tests::grpc_backend::{Answer, GrpcBackend};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, SOON, Upstream, poll};

use super::{
    CONFIG, INTERVAL, SETTINGS, SLACK, SWEEP, assert_one_checker, get, is_up, proxy_of, served_by, status, told,
    wait_down, wait_told, wait_up,
};

/// [`CONFIG`], and an origin whose responses outlive a reload.
fn with_origin(backend: &GrpcBackend, origin: &Upstream) -> Builder {
    let servers = format!("  server s {}", backend.addr());
    let more = format!(
        "frontend long\n  bind 127.0.0.1:${{port:long}}\n  default_backend origin\nbackend origin\n  server o {}\n",
        origin.addr()
    );
    Haproxy::config(&format!("{}{more}", CONFIG.replace("SERVERS", &servers)))
        .module()
        .set("load", "lua-load-per-thread")
        .file("vitals.toml", SETTINGS)
        .allow_alert("has no server available")
        .mode(Mode::MasterWorker)
}

#[test]
fn old_worker_of_a_reload_stops_checking_and_nothing_flaps() {
    let (backend, origin) = (GrpcBackend::start(), Upstream::start());
    let haproxy = with_origin(&backend, &origin).start();
    wait_up(&haproxy, "s", SOON);
    let mut long = Session::connect(haproxy.addr("long"));
    long.send(b"GET /hang HTTP/1.1\r\nhost: long\r\n\r\n").unwrap();
    origin.wait_for(SOON, |seen| seen.target == "/hang");
    let old = haproxy.worker_pid();
    haproxy.reload();
    wait_up(&haproxy, "s", SOON);
    let ups = || haproxy.log().matches("b/s is UP: ").count();
    poll::until(SOON, "both workers say that the server is up", || ups() == 2);
    // It learns within one sweep that it is to leave.
    let of_old = |command| haproxy.master_cli(&format!("@!{old} {command}"));
    let within = SWEEP + INTERVAL + SLACK;
    let has_stopped = || of_old("show vitals health").contains("stopped: every server keeps its last state");
    poll::until(within, "the old worker stops its checks", has_stopped);
    assert_eq!(haproxy.worker_pids().len(), 2);
    assert_one_checker(&backend);
    assert!(is_up(&status(&haproxy, "s")));
    assert!(!haproxy.log_contains("b/s is DOWN: "), "it flapped");
    // What the old worker no longer checks it no longer tells either.
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    haproxy.wait_log("b/s is DOWN: ", SOON);
    assert!(of_old("show stat b 4 -1").contains(",no check,"), "{}", of_old("show stat b 4 -1"));
    assert!(told_by(&of_old("show vitals health")).contains(" up,held "), "{}", of_old("show vitals health"));
    poll::always(SWEEP + INTERVAL, "one worker alone tells", || haproxy.log().matches("b/s is DOWN: ").count() == 1);
    assert_eq!(haproxy.worker_pids().len(), 2);
    origin.stop();
    haproxy.wait_one_worker(SOON);
    haproxy.finish();
}

/// The line about the server `s`.
fn told_by(text: &str) -> &str {
    text.lines().find(|line| line.starts_with("b/s ")).unwrap_or_default()
}

#[test]
fn soft_stop_does_not_wait_for_checks_under_way() {
    let backend = GrpcBackend::start();
    backend.answer(Answer::Hang);
    let settings = SETTINGS.replace("\"150ms\"", "\"5s\"").replace("\"300ms\"", "\"10s\"");
    let haproxy = proxy_of(&backend).file("vitals.toml", &settings).start();
    poll::until(SOON, "a check under way", || backend.checks() == 1);
    haproxy.soft_stop();
    let begin = Instant::now();
    assert_eq!(haproxy.wait_exit(SOON).code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(2), "left after {:?}", begin.elapsed());
    haproxy.finish();
}

#[test]
fn every_way_of_loading_makes_one_checker() {
    for load in ["lua-load", "lua-load-per-thread"] {
        let backend = GrpcBackend::start();
        let haproxy = proxy_of(&backend).set("load", load).start();
        wait_up(&haproxy, "s", SOON);
        assert_one_checker(&backend);
        assert_eq!(served_by(&haproxy), "s", "{load}");
        haproxy.finish();
    }
}

#[test]
fn unprivileged_workers_in_a_chroot_check_before_and_after_a_reload() {
    // Only root can become somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let backend = GrpcBackend::start();
    let config = CONFIG.replace("SERVERS", &format!("  server s {}", backend.addr()));
    let config = config.replace("  nbthread 2\n", "  nbthread 2\n  user nobody\n  chroot ${dir}\n");
    for mode in [Mode::MasterWorker, Mode::MasterWorkerDaemon] {
        let haproxy = Haproxy::config(&config)
            .module()
            .set("load", "lua-load-per-thread")
            .file("vitals.toml", SETTINGS)
            .allow_alert("has no server available")
            .mode(mode)
            .start();
        wait_up(&haproxy, "s", SOON);
        haproxy.reload();
        haproxy.wait_one_worker(SOON);
        wait_up(&haproxy, "s", SOON);
        assert_one_checker(&backend);
        backend.set_not_serving("");
        wait_down(&haproxy, "s", SOON);
        backend.set_serving("");
        wait_up(&haproxy, "s", SOON);
        haproxy.finish();
    }
}

#[test]
fn reload_takes_up_other_servers_and_settings() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    two.set_serving("other");
    let haproxy = proxy_of(&one).mode(Mode::MasterWorker).start();
    wait_up(&haproxy, "s", SOON);
    haproxy.write("haproxy.cfg", &CONFIG.replace("SERVERS", &format!("  server s {}", two.addr())));
    haproxy.write("vitals.toml", &format!("{SETTINGS}service = \"other\"\n"));
    haproxy.reload();
    haproxy.wait_one_worker(SOON);
    wait_up(&haproxy, "s", SOON);
    assert!(told(&haproxy, "s").contains(&two.addr().to_string()));
    assert!(two.asked().iter().all(|asked| asked.service == "other"));
    one.clear();
    two.wait_checks(3, SOON);
    assert_eq!(one.checks(), 0);
    haproxy.finish();
}

#[test]
fn checks_and_spans_live_side_by_side() {
    let (backend, collector) = (GrpcBackend::start(), OtlpReceiver::start());
    let actions = "default_backend b\n  http-request lua.otel_start\n  http-after-response lua.otel_end";
    let config = CONFIG.replace("SERVERS", &format!("  server s {}", backend.addr()));
    let haproxy = Haproxy::config(&config.replace("default_backend b", actions))
        .module()
        .set("load", "lua-load-per-thread")
        .file("vitals.toml", &SETTINGS.replace("enabled = false", "enabled = true"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http_endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", 100)
        .allow_alert("has no server available")
        .start();
    wait_up(&haproxy, "s", SOON);
    for _ in 0..10 {
        assert_eq!(get(&haproxy).status, 200);
    }
    poll::until(SOON, "a span for each request", || collector.server_spans().len() == 10);
    backend.set_not_serving("");
    wait_told(&haproxy, "s", " down ");
    wait_down(&haproxy, "s", SOON);
    assert_eq!(get(&haproxy).status, 503);
    poll::until(SOON, "a span for the request that found no server", || collector.server_spans().len() == 11);
    collector.assert_clean();
    haproxy.finish();
}
