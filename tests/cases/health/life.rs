//! The checker's life in HAProxy: before the start, in every mode, under HAProxy's own bounds, over a restart.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use haproxy_vitals_tests::grpc_backend::Answer;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{GrpcBackend, Haproxy, Mode, SOON, poll};
use nix::sys::signal::Signal;

use super::{CONFIG, INTERVAL, SETTINGS, SWEEP, get, is_up, proxy_of, status, statuses, wait_down, wait_told, wait_up};

/// [`CONFIG`] with `servers` and more lines in its global section.
fn bounded(lines: &str, servers: &str) -> Builder {
    let config = CONFIG.replace("  nbthread 2\n", &format!("  nbthread 2\n{lines}")).replace("SERVERS", servers);
    Haproxy::config(&config)
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", SETTINGS)
        .allow_alert("has no server available")
}

#[test]
fn check_of_the_configuration_starts_no_thread_and_opens_no_socket() {
    let (backend, dir) = (GrpcBackend::start(), tempfile::tempdir().unwrap());
    // Listening here again would be an error, and taking the socket over would be heard.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = dir.path().join("bridge.sock");
    let bridge = UnixListener::bind(&path).unwrap();
    let (_, one) = SETTINGS.split_once("[[health.backend]]").unwrap();
    let more = |name: &str, way: &str| format!("[[health.backend]]{}way = \"{way}\"\n", one.replace("\"b\"", name));
    let settings = format!(
        "[agent]\nlisten = \"{}\"\n[bridge]\nlisten = \"unix@{}\"\n{SETTINGS}{}{}",
        taken.local_addr().unwrap(),
        path.display(),
        more("\"by_agent\"", "agent"),
        more("\"by_bridge\"", "bridge")
    );
    let before = fs::metadata(&path).unwrap().ino();
    let outcome = proxy_of(&backend).file("vitals.toml", &settings).check();
    assert!(outcome.ok, "{}", outcome.output);
    assert_eq!(outcome.thread_names, ["haproxy"], "threads of the module's");
    // Whoever takes a socket over binds another and renames it.
    let inode = || fs::metadata(&path).unwrap().ino();
    assert_eq!(inode(), before, "the socket was taken over");
    assert_eq!(backend.checks(), 0);
    drop(bridge);
}

#[test]
fn servers_are_checked_in_every_mode() {
    for mode in [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon] {
        let backend = GrpcBackend::start();
        let haproxy = proxy_of(&backend).mode(mode).start();
        wait_up(&haproxy, "s", SOON);
        backend.set_not_serving("");
        wait_down(&haproxy, "s", SOON);
        assert!(!haproxy.log_contains("deprecated"), "{}", haproxy.log());
        haproxy.finish();
    }
}

/// So many servers of one backend, watched, under a bound on what a task computes.
fn hurried(backend: &GrpcBackend, servers: usize, bound: &str) -> Haproxy {
    let lines: Vec<String> = (0..servers).map(|n| format!("  server s{n} {}", backend.addr())).collect();
    // HAProxy looks at a task's time whenever so many instructions have run in a row.
    let bounds =
        format!("  tune.lua.task-timeout {bound}\n  tune.lua.burst-timeout {bound}\n  tune.lua.forced-yield 100\n");
    let settings = SETTINGS.replace("\"300ms\"", "\"1h\"").replace("\"150ms\"", "\"2s\"");
    bounded(&bounds, &lines.join("\n"))
        .file("vitals.toml", &format!("{settings}mode = \"watch\"\n"))
        .allow_alert("execution timeout")
        .allow_alert("burst timeout")
        .start()
}

/// Whether HAProxy has ended a task that computed for too long, over its life or in one go.
fn has_ended_one(haproxy: &Haproxy) -> bool {
    let log = haproxy.log();
    log.contains("Lua task: execution timeout") || log.contains("Lua task: burst timeout")
}

/// Every server follows its backend down and up, each `within` the time.
#[track_caller]
fn follows(haproxy: &Haproxy, backend: &GrpcBackend, servers: usize, within: Duration) {
    let ups = || statuses(haproxy).values().filter(|status| is_up(status)).count();
    poll::until(within, "every server is up", || ups() == servers);
    backend.set_not_serving("");
    poll::until(within, "every server is down", || ups() == 0);
    backend.set_serving("");
    poll::until(within, "every server is up again", || ups() == servers);
}

#[test]
fn what_haproxy_lets_a_task_compute_does_not_end_the_checks() {
    const SERVERS: usize = 200;
    let backend = GrpcBackend::start();
    // Each round takes milliseconds: a task that lived on would be ended after some twenty of them.
    let haproxy = hurried(&backend, SERVERS, "40ms");
    follows(&haproxy, &backend, SERVERS, SOON);
    let fds = haproxy.open_fds();
    for _ in 0..50 {
        follows(&haproxy, &backend, SERVERS, SOON);
    }
    // Each task has a connection of its own, and takes it along.
    poll::until(SOON, "no connection is left over", || haproxy.open_fds() <= fds + 4);
    assert!(!haproxy.log_contains("Lua task: execution timeout"), "what tasks compute adds up");
    haproxy.finish();
}

/// Lines are said by a task of their own, which also closes listeners at a reload.
#[test]
fn what_haproxy_lets_a_task_compute_does_not_end_the_log() {
    let backend = GrpcBackend::start();
    // As if there were very many lines.
    let slow = "local log = core.log
        core.log = function(...) for _ = 1, 2000000 do end return log(...) end";
    let bounds = "  tune.lua.task-timeout 60ms\n  tune.lua.forced-yield 100\n  lua-load ${dir}/slow.lua\n";
    let haproxy = bounded(bounds, &format!("  server s {}", backend.addr())).file("slow.lua", slow).start();
    let said = |word: &str| haproxy.log().matches(&format!("haproxy-vitals: b/s is {word}")).count();
    for change in 1..5 {
        poll::until(SOON, "a line that it is up", || said("UP") >= change);
        backend.set_not_serving("");
        poll::until(SOON, "a line that it is down", || said("DOWN") >= change);
        backend.set_serving("");
    }
    haproxy.finish();
}

#[test]
fn turn_that_haproxy_cuts_short_is_followed_by_another() {
    const SERVERS: usize = 20;
    let backend = GrpcBackend::start();
    let haproxy = hurried(&backend, SERVERS, "1ms");
    poll::until(6 * SOON, "a turn was cut short", || {
        follows(&haproxy, &backend, SERVERS, 3 * SOON);
        has_ended_one(&haproxy)
    });
    follows(&haproxy, &backend, SERVERS, 3 * SOON);
    haproxy.finish();
}

#[test]
fn state_file_holds_over_a_restart_what_the_checks_had_found() {
    let restored = |init: &str| {
        let (good, bad) = (GrpcBackend::start(), GrpcBackend::start());
        bad.set_not_serving("");
        let start = |state: &str| {
            let servers = format!("  server good {}\n  server bad {}", good.addr(), bad.addr());
            let config = CONFIG
                .replace("  nbthread 2\n", "  nbthread 2\n  server-state-file ${dir}/state\n")
                .replace("  retries 0\n", "  retries 0\n  load-server-state-from-file global\n");
            let settings = SETTINGS.replace("\"150ms\"", "\"5s\"").replace("\"300ms\"", "\"10s\"");
            Haproxy::config(&config.replace("SERVERS", &servers))
                .module()
                .set("load", "lua-load")
                .file("vitals.toml", &format!("{settings}init = \"{init}\"\n"))
                .file("state", state)
                .allow_alert("has no server available")
                .start()
        };
        let first = start("1\n");
        wait_up(&first, "good", SOON);
        wait_down(&first, "bad", SOON);
        let state = first.cli("show servers state");
        first.finish();
        // No result for a while.
        good.answer(Answer::Hang);
        bad.answer(Answer::Hang);
        (start(&state), good, bad)
    };
    let (second, _good, _bad) = restored("hold");
    poll::always(SWEEP + INTERVAL, "the state of before holds", || {
        is_up(&status(&second, "good")) && status(&second, "bad") == "DOWN"
    });
    assert_eq!(get(&second).header("x-server"), Some("good"));
    second.finish();
    // Without `hold` the file does not count.
    let (second, _good, _bad) = restored("down");
    wait_told(&second, "good", " pending ");
    assert_eq!(status(&second, "good"), "DOWN");
    second.finish();
    let (second, _good, _bad) = restored("up");
    wait_told(&second, "bad", " pending ");
    assert!(is_up(&status(&second, "bad")));
    second.finish();
}

#[test]
fn drained_server_is_restored_as_one_that_keeps_its_clients() {
    let backend = GrpcBackend::start();
    let config = CONFIG
        .replace("  nbthread 2\n", "  nbthread 2\n  server-state-file ${dir}/state\n")
        .replace("  retries 0\n", "  retries 0\n  load-server-state-from-file global\n")
        .replace("SERVERS", &format!("  server s {}", backend.addr()));
    let settings = SETTINGS.replace("\"150ms\"", "\"1s\"").replace("\"300ms\"", "\"2s\"");
    let start = |state: &str| {
        Haproxy::config(&config)
            .module()
            .set("load", "lua-load")
            .file("vitals.toml", &format!("{settings}init = \"hold\"\nnot_serving = \"drain\"\n"))
            .file("state", state)
            .allow_alert("has no server available")
            .start()
    };
    let first = start("1\n");
    wait_up(&first, "s", SOON);
    backend.set_not_serving("");
    poll::until(SOON, "it is drained", || status(&first, "s") == "NOLB");
    let state = first.cli("show servers state");
    first.finish();
    backend.answer(Answer::Delay(Duration::from_millis(700)));
    let second = start(&state);
    poll::always(Duration::from_millis(400), "it is still drained", || status(&second, "s") == "NOLB");
    wait_told(&second, "s", " drain ");
    backend.answer(Answer::Normal);
    backend.set_serving("");
    wait_up(&second, "s", SOON);
    second.finish();
}

#[test]
fn pause_of_the_whole_process_takes_no_server_down() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    for _ in 0..2 {
        haproxy.signal(Signal::SIGSTOP);
        poll::always(5 * INTERVAL, "it is paused", || haproxy.try_exit().is_none());
        haproxy.signal(Signal::SIGCONT);
        poll::always(SWEEP, "it stays up", || is_up(&status(&haproxy, "s")));
    }
    assert!(!haproxy.log_contains("b/s is DOWN: "), "{}", haproxy.log());
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    haproxy.finish();
}
