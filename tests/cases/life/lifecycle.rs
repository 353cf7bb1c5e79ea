//! From `haproxy -c` to a running worker: every mode, every way to load, rights taken away.

use std::fs;
use std::io::ErrorKind;

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::otlp::{Protocol, SpanKind};
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, Port, SOON, Upstream};

use super::{Door, PER_THREAD, config, count, proxy, traced_to};

#[test]
fn every_mode_traces_without_special_rights() {
    for (mode, door) in MODES.into_iter().flat_map(|mode| Door::ENGINES.map(|door| (mode, door))) {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = traced_to(door, &upstream, &receiver).mode(mode).start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200, "{mode:?} {door:?}");
        two_spans(&receiver);
        let ours = vitals_threads(&haproxy);
        assert!(ours.iter().any(|thread| thread.name == "vitals-0"), "{mode:?} {door:?}: {ours:?}");
        assert!(!haproxy.log_contains("insecure-fork-wanted"), "{}", haproxy.log());
        haproxy.finish();
        receiver.assert_clean();
    }
}

#[test]
fn one_lua_state_and_one_for_each_thread_trace_every_request() {
    for (load, door) in
        ["lua-load ${lua}/otel.lua", PER_THREAD].into_iter().flat_map(|l| Door::ENGINES.map(|door| (l, door)))
    {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = proxy(&config(door, &["nbthread 2", load]), &upstream)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
            .start();
        let report = client::load(haproxy.addr("http"), Load::new(16, Until::Count(200), "/"));
        assert_eq!(report.ok, 200, "{report:?}");
        receiver.wait_spans(400, SOON);
        assert_eq!(receiver.server_spans().len(), 200, "{load} {door:?}");
        assert_eq!((count(&haproxy, "requests.started"), count(&haproxy, "requests.ended")), (200, 200));
        haproxy.finish();
        receiver.assert_clean();
    }
}

#[test]
fn an_unprivileged_user_in_a_chroot_traces_too() {
    // Only root can become somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let global = ["nbthread 2", "chroot ${dir}", "user nobody", "group nogroup", PER_THREAD];
    for (protocol, host, mode) in [
        ("http/protobuf", "127.0.0.1", Mode::Foreground),
        ("http/protobuf", "localhost", Mode::MasterWorker),
        ("grpc", "127.0.0.1", Mode::MasterWorkerDaemon),
        ("grpc", "localhost", Mode::Daemon),
    ] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let port = if protocol == "grpc" { receiver.grpc_addr().port() } else { receiver.http_addr().port() };
        let haproxy = proxy(&config(Door::ZeroLines, &global), &upstream)
            .mode(mode)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{host}:{port}"))
            .start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        two_spans(&receiver);
        let sent_by = receiver.requests()[0].protocol;
        assert_eq!(sent_by, if protocol == "grpc" { Protocol::Grpc } else { Protocol::Http });
        for thread in vitals_threads(&haproxy) {
            assert_eq!(thread.field("Uid").split_whitespace().next(), Some(NOBODY), "{protocol} {host}: {thread:?}");
            assert_eq!(fs::read_link(thread.path.join("root")).unwrap(), haproxy.dir(), "{protocol} {host}");
        }
        haproxy.finish();
        receiver.assert_clean();
    }
}

#[test]
fn config_check_starts_no_thread_and_touches_no_network() {
    let (collector, server) = (Port::reserve(), Port::reserve());
    let listeners = [collector.listen(), server.listen()];
    for door in Door::ENGINES {
        let load = "lua-load-per-thread ${lua}/otel.lua config=${dir}/vitals.toml";
        let check = Haproxy::config(&config(door, &["nbthread 2", load]))
            .module()
            .set("upstream", server.addr())
            .file("vitals.toml", "[[health.backend]]\nname = 'back'\n")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.addr()))
            .check();
        assert!(check.ok, "{}", check.output);
        assert_eq!(check.thread_names, ["haproxy"]);
        assert!(!check.output.contains("[WARNING]"), "{}", check.output);
    }
    for listener in listeners {
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().err().map(|error| error.kind()), Some(ErrorKind::WouldBlock));
    }
}

#[test]
fn runtime_threads_block_every_signal_and_may_run_on_every_cpu() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let cpus = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed:")).unwrap().trim();
    let list = own.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let first_cpu = list.split([',', '-']).next().unwrap();
    let bound = format!("cpu-map auto:1/1 {first_cpu}");
    for global in
        [&["nbthread 1", bound.as_str(), PER_THREAD][..], &["nbthread 1", PER_THREAD], &["nbthread 2", PER_THREAD]]
    {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = proxy(&config(Door::ZeroLines, global), &upstream)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
            .start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        two_spans(&receiver);
        let threads = vitals_threads(&haproxy);
        assert!(threads.len() >= 2, "{threads:?}");
        for thread in threads {
            assert_eq!(thread.field("Cpus_allowed"), cpus, "{global:?} {}", thread.name);
            let blocked = u64::from_str_radix(&thread.field("SigBlk"), 16).unwrap();
            let open: Vec<u32> = (1..=64).filter(|signal| blocked & (1 << (signal - 1)) == 0).collect();
            assert!(UNBLOCKABLE.contains(&open.as_slice()), "{global:?} {}: {open:?}", thread.name);
        }
        haproxy.finish();
    }
}

/// Waits for the SERVER span of one request and the CLIENT span under it.
#[track_caller]
fn two_spans(receiver: &OtlpReceiver) {
    let spans = receiver.wait_spans(2, SOON);
    assert_eq!(spans.len(), 2);
    let server = spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
    assert_eq!(server.resource.str("service.name"), Some("edge"));
    assert!(receiver.client_span_of(server).is_some(), "{spans:?}");
}

/// The module's own threads in the worker.
fn vitals_threads(haproxy: &Haproxy) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{}/task", haproxy.worker_pid())).unwrap();
    let threads = tasks.flatten().filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?.trim_end().to_owned();
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        Some(Thread { name, path: task.path(), status })
    });
    threads.filter(|thread| thread.name.starts_with("vitals-")).collect()
}

#[derive(Debug)]
struct Thread {
    name: String,
    path: std::path::PathBuf,
    status: String,
}

impl Thread {
    /// One line of its `/proc` status.
    fn field(&self, name: &str) -> String {
        let found = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_else(|| panic!("no `{name}` in {}", self.status)).trim().to_owned()
    }
}

const MODES: [Mode; 4] = [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon];

/// The user id of `nobody`.
const NOBODY: &str = "65534";

/// SIGKILL, SIGSTOP, and those that the C library keeps for itself: glibc two, musl three.
const UNBLOCKABLE: [&[u32]; 2] = [&[9, 19, 32, 33], &[9, 19, 32, 33, 34]];
