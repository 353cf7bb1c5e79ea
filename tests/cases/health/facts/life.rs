//! When HAProxy runs a script's parts, and what of a server outlives a restart.

use std::fs;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::{Haproxy, Mode, SOON, poll};

use super::{CONFIG, SCRIPT, call, plain, status};

/// Each part of a script writes its name, its process and its Lua state's thread into a file.
const PARTS: &str = r#"
local path = "${dir}/parts"
local function note(part)
    local stat, file = io.open("/proc/self/stat"), io.open(path, "a")
    file:write(part, " ", stat:read("n"), " ", core.thread, "\n")
    file:close()
    stat:close()
end
note("body")
core.register_init(function() note("init") end)
core.register_task(function()
    note("task")
    while true do
        core.msleep(50)
    end
end)
"#;

fn parts(load: &str) -> haproxy_vitals_tests::haproxy::Builder {
    Haproxy::config(&CONFIG.replace("lua-load ", &format!("{load} ")).replace("SERVERS", "  server s 127.0.0.1:1"))
        .file("script.lua", PARTS)
}

fn read(haproxy: &Haproxy) -> Vec<String> {
    let text = fs::read_to_string(haproxy.dir().join("parts")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn check_of_the_configuration_runs_a_scripts_body_alone() {
    let parts = "core.Info('body runs') core.register_init(function() core.Info('init runs') end) \
                 core.register_task(function() core.Info('task runs') end)";
    let outcome = plain("  server s 127.0.0.1:1").file("script.lua", parts).check();
    assert!(outcome.ok && outcome.output.contains("body runs"), "{}", outcome.output);
    assert!(!outcome.output.contains("init runs") && !outcome.output.contains("task runs"), "{}", outcome.output);
}

#[test]
fn body_init_and_task_run_in_the_worker_that_serves_in_every_mode() {
    for mode in [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon] {
        let haproxy = parts("lua-load").mode(mode).start();
        poll::until(SOON, "the task runs", || read(&haproxy).len() == 3);
        let worker = haproxy.worker_pid();
        assert_eq!(read(&haproxy), ["body", "init", "task"].map(|part| format!("{part} {worker} 0")), "{mode:?}");
        haproxy.finish();
    }
}

#[test]
fn each_thread_has_its_own_body_init_and_task_where_lua_is_loaded_per_thread() {
    let haproxy = parts("lua-load-per-thread").start();
    poll::until(SOON, "every task runs", || read(&haproxy).len() == 6);
    let worker = haproxy.worker_pid();
    let mut found = read(&haproxy);
    found.sort();
    let expected = ["body", "init", "task"].iter().flat_map(|part| [1, 2].map(|n| format!("{part} {worker} {n}")));
    assert_eq!(found, expected.collect::<Vec<_>>());
    haproxy.finish();
}

#[test]
fn task_without_end_does_not_hold_the_soft_stop() {
    let haproxy = parts("lua-load").start();
    poll::until(SOON, "the task runs", || read(&haproxy).len() == 3);
    let begin = Instant::now();
    haproxy.soft_stop();
    assert_eq!(haproxy.wait_exit(SOON).code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(2), "left after {:?}", begin.elapsed());
    haproxy.finish();
}

#[test]
fn what_a_task_computes_adds_up_until_its_timeout_ends_it() {
    // Neither sleeping nor `pcall` helps; another task, and each event, begins anew.
    let script = "local function work() for _ = 1, 1000000 do end end
        core.register_task(function() while true do pcall(work) core.msleep(5) end end)
        local function again(turn)
            return function()
                work()
                core.msleep(5)
                if turn == 100 then core.Info('a hundred turns') else core.register_task(again(turn + 1)) end
            end
        end
        core.register_task(again(1))";
    let config = CONFIG.replace("  nbthread 2\n", "  nbthread 2\n  tune.lua.task-timeout 150ms\n");
    let haproxy = Haproxy::config(&config.replace("SERVERS", "  server s 127.0.0.1:1"))
        .file("script.lua", script)
        .allow_alert("Lua task: execution timeout")
        .start();
    haproxy.wait_log("a hundred turns", SOON);
    haproxy.wait_log("Lua task: execution timeout.", SOON);
    assert_eq!(haproxy.log().matches("execution timeout").count(), 1);
    haproxy.finish();
}

#[test]
fn state_file_restores_what_was_forced_over_a_restart() {
    let config = CONFIG
        .replace("  nbthread 2\n", "  nbthread 2\n  server-state-file ${dir}/state\n")
        .replace("  retries 0\n", "  retries 0\n  load-server-state-from-file global\n")
        .replace("SERVERS", "  server up 127.0.0.1:1\n  server down 127.0.0.1:1\n  server nolb 127.0.0.1:1");
    let start = |state: &str| {
        let proxy = Haproxy::config(&config).file("script.lua", SCRIPT).file("state", state);
        proxy.allow_alert("has no server available").start()
    };
    let first = start("1\n");
    call(&first, "down check_force_down");
    call(&first, "nolb check_force_nolb");
    let state = first.cli("show servers state");
    first.finish();
    let second = start(&state);
    for (server, shown) in [("up", "no check"), ("down", "DOWN"), ("nolb", "NOLB")] {
        assert_eq!(status(&second, server), shown, "{server}");
    }
    second.finish();
}

#[test]
fn error_that_nobody_catches_ends_its_task_and_no_other() {
    let script = "core.register_task(function() while true do core.msleep(5) error('as the test wants') end end)
        core.register_task(function() core.msleep(200) core.Info('the other task goes on') end)";
    let haproxy = plain("  server s 127.0.0.1:1").file("script.lua", script).allow_alert("as the test wants").start();
    haproxy.wait_log("the other task goes on", SOON);
    assert_eq!(haproxy.log().matches("as the test wants").count(), 1);
    haproxy.finish();
}
