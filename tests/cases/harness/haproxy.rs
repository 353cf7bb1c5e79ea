//! Starting, watching and ending a HAProxy.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::haproxy::lua_dir;
use haproxy_vitals_tests::{Haproxy, Mode, Port, SOON, Upstream};

use super::{PLAIN, plain};

#[test]
fn proxies_a_request_and_ends_in_order() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    let response = client::get(haproxy.addr("http"), "/some/path?a=b", &[("x-one", "1"), ("x-one", "2")]);
    assert_eq!((response.status, response.text().as_str()), (200, "hello\n"));
    let seen = upstream.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/some/path?a=b"));
    assert_eq!(seen.headers_named("x-one"), ["1", "2"]);
    assert!(haproxy.threads().iter().all(|name| name == "haproxy"), "{:?}", haproxy.threads());
    assert!(haproxy.rss_kib() > 1000 && haproxy.open_fds() > 3);
    haproxy.finish();
}

#[test]
fn every_mode_starts_serves_and_stops_softly() {
    for mode in [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon] {
        let upstream = Upstream::start();
        let haproxy = plain(&upstream).mode(mode).start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200, "{mode:?}");
        assert_eq!(haproxy.info("Pid"), haproxy.worker_pid().to_string(), "{mode:?}");
        assert_eq!(haproxy.worker_pids() == [haproxy.pid()], !mode.has_master(), "{mode:?}");
        haproxy.soft_stop();
        assert_eq!(haproxy.wait_exit(SOON).code(), Some(0), "{mode:?}");
        haproxy.finish();
    }
}

#[test]
fn a_case_chooses_its_version() {
    for version in ["3.0", "3.2", "3.4"] {
        let upstream = Upstream::start();
        let haproxy = plain(&upstream).version(version).start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200, "{version}");
        let info = haproxy.info("Version");
        assert!(info.starts_with(&format!("{version}.")), "{info} instead of {version}");
        haproxy.finish();
    }
}

#[test]
#[should_panic(expected = "names no Debian suite with HAProxy 1.0")]
fn a_version_that_is_missing_fails_the_case() {
    let upstream = Upstream::start();
    plain(&upstream).version("1.0").start();
}

#[test]
fn a_given_haproxy_that_is_too_old_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (old, script) = (dir.path().join("haproxy"), lua_dir().with_file_name("tasks").join("haproxy"));
    for (told, named) in [
        ("HAProxy version 2.6.12-1+deb12u3 2025/10/03 - https://haproxy.org/", "HAProxy 2.6.12"),
        ("HA-Proxy version 1.8.19 2019/02/11", "HAProxy 1.8.19"),
        ("hello", "no HAProxy: hello"),
    ] {
        fs::write(&old, format!("#!/bin/sh\necho '{told}'\n")).unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        let outcome = Command::new(&script).env("HAPROXY", &old).output().unwrap();
        let why = String::from_utf8_lossy(&outcome.stderr);
        assert!(!outcome.status.success() && outcome.stdout.is_empty(), "{told}: {why}");
        assert!(why.contains("need HAProxy 3.0 or newer") && why.contains(named), "{told}: {why}");
    }
}

#[test]
fn starts_without_a_stats_socket() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).without_stats().start();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    assert!(haproxy.try_cli("show info").is_err());
    haproxy.finish();
}

#[test]
fn reload_replaces_the_worker_and_loses_no_request() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).mode(Mode::MasterWorker).start();
    let first = haproxy.worker_pid();
    let load = Load::new(4, Until::Stopped, "/").spawn(haproxy.addr("http"));
    for _ in 0..3 {
        haproxy.reload();
    }
    haproxy.wait_one_worker(SOON);
    let report = load.stop();
    assert_ne!(haproxy.worker_pid(), first);
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    haproxy.finish();
}

#[test]
fn refused_reload_keeps_the_old_worker() {
    let upstream = Upstream::start();
    for mode in [Mode::MasterWorker, Mode::MasterWorkerDaemon] {
        let haproxy = plain(&upstream).mode(mode).allow_alert("config : ").start();
        let first = haproxy.worker_pid();
        // The master itself stumbles over the first one, the new worker over the second.
        for broken in ["no such thing", "nonsense"] {
            haproxy.write("haproxy.cfg", &format!("frontend broken\n  {broken}\n"));
            let refusal = haproxy.try_reload().unwrap_err();
            assert!(refusal.contains("haproxy.cfg:2"), "{mode:?}: {refusal}");
            assert_eq!(haproxy.worker_pids(), [first]);
        }
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        haproxy.write("haproxy.cfg", PLAIN);
        haproxy.reload();
        haproxy.wait_one_worker(SOON);
        assert_ne!(haproxy.worker_pid(), first);
        haproxy.finish();
    }
}

#[test]
fn terminate_and_interrupt_end_it_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let upstream = Upstream::start();
    for (mode, signals) in [(Mode::Foreground, [Some(15), Some(2)]), (Mode::MasterWorker, [None, None])] {
        for (end, signal) in [Haproxy::terminate, Haproxy::interrupt].into_iter().zip(signals) {
            let haproxy = plain(&upstream).mode(mode).start();
            end(&haproxy);
            assert_eq!(haproxy.wait_exit(SOON).signal(), signal, "{mode:?}");
            haproxy.finish();
        }
    }
}

#[test]
fn killed_haproxy_leaves_no_process() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).mode(Mode::MasterWorker).start();
    haproxy.kill();
    haproxy.wait_exit(SOON);
    assert!(haproxy.worker_pids().is_empty());
    haproxy.finish();
}

#[test]
#[should_panic(expected = "has no server available")]
fn finish_fails_on_an_alert() {
    let dead = Port::reserve();
    let config = PLAIN.replace("${upstream}", "${upstream} check inter 20ms fall 1");
    let haproxy = Haproxy::config(&config).set("upstream", dead.addr()).start();
    haproxy.wait_log("has no server available", SOON);
    haproxy.finish();
}

#[test]
#[should_panic(expected = "HAProxy crashed")]
fn finish_fails_on_a_crash() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    haproxy.signal(nix::sys::signal::Signal::SIGSEGV);
    haproxy.wait_exit(SOON);
    haproxy.finish();
}

#[test]
fn check_tells_what_is_wrong_and_where() {
    let good = plain(&Upstream::start()).check();
    assert!(good.ok, "{}", good.output);
    assert_eq!(good.thread_names, ["haproxy"]);
    assert!(good.threads_seen <= 2);
    let bad = Haproxy::check("global\n  nonsense here\n");
    assert!(!bad.ok);
    assert!(bad.output.contains("haproxy.cfg:2") && bad.output.contains("nonsense"), "{}", bad.output);
}

#[test]
fn refused_configuration_does_not_start() {
    for mode in [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon] {
        let refusal = Haproxy::config("global\n  nonsense here\n").mode(mode).try_start().err().unwrap();
        assert!(refusal.contains("nonsense"), "{mode:?}: {refusal}");
    }
}

#[test]
fn lua_files_environment_and_syslog_reach_it() {
    const CONFIG: &str = "
global
  log ${log} local0
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  lua-load ${dir}/hello.lua
defaults
  mode http
  timeout client 5s
  log global
  log-format \"said %[str(so)] on %fp\"
frontend front
  bind 127.0.0.1:${port:http}
  http-request use-service lua.hello
";
    const LUA: &str = "
local greeting = os.getenv('GREETING') .. ' ${port:http}'
core.register_service('hello', 'http', function(applet)
  applet:set_status(200)
  applet:start_response()
  applet:send(greeting)
end)
";
    let haproxy = Haproxy::config(CONFIG).file("hello.lua", LUA).env("GREETING", "hi").mode(Mode::Daemon).start();
    let port = haproxy.port("http");
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).text(), format!("hi {port}"));
    haproxy.wait_log(&format!("said so on {port}"), SOON);
    haproxy.finish();
}

#[test]
fn a_folder_may_have_any_name() {
    const LUA: &str = "core.register_fetches('where', function() return [[${dir}]] end)";
    const GLOBAL: &str = "
global
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  lua-load ${dir}/where.lua
";
    let odd = tempfile::Builder::new().prefix("it's \"#1\" \\ ").tempdir().unwrap();
    let upstream = Upstream::start();
    let config = format!("{GLOBAL}{PLAIN}  http-response set-header where %[lua.where]\n");
    let haproxy =
        Haproxy::config(&config).within(odd.path()).file("where.lua", LUA).set("upstream", upstream.addr()).start();
    let response = client::get(haproxy.addr("http"), "/", &[]);
    assert_eq!(response.header("where"), haproxy.dir().to_str());
    haproxy.finish();
}

#[test]
fn an_unprivileged_user_in_a_chroot_is_served_too() {
    // Only root can become somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let upstream = Upstream::start();
    let config = format!("global\n  user nobody\n  chroot ${{dir}}\n{PLAIN}");
    let haproxy = Haproxy::config(&config).set("upstream", upstream.addr()).start();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    assert_eq!(haproxy.info("Pid"), haproxy.pid().to_string());
    haproxy.finish();
}
