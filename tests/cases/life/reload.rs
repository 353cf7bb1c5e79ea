//! Reloads under load: no request fails, and none loses its spans.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{self, Load, Session, Until};
use haproxy_vitals_tests::{Mode, OtlpReceiver, SOON, Upstream, poll};

use super::{Door, traced_to};

#[test]
fn reloads_under_load_lose_no_request_and_no_span() {
    for door in Door::ENGINES {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = traced_to(door, &upstream, &receiver).mode(Mode::MasterWorker).start();
        let mut workers = HashSet::from([haproxy.worker_pid()]);
        let load = Load::new(4, Until::Stopped, "/delay/5").spawn(haproxy.addr("http"));
        let begin = Instant::now();
        for _ in 0..RELOADS {
            load.wait_for(100);
            haproxy.reload();
            workers.insert(haproxy.worker_pid());
        }
        while long() && begin.elapsed() < Duration::from_secs(30) {
            load.wait_for(100);
            haproxy.reload();
        }
        let report = load.stop();
        haproxy.wait_one_worker(SOON);
        haproxy.soft_stop();
        haproxy.wait_exit(SOON);

        assert_eq!((report.failed, report.ok), (0, report.total()), "{door:?}: {report:?}");
        assert_eq!(workers.len(), RELOADS + 1, "{door:?}: each reload makes a worker");
        assert!(!haproxy.log_contains("did not reach"), "{door:?}: {}", haproxy.log());
        let servers = receiver.server_spans();
        assert_eq!(servers.len() as u64, report.total(), "{door:?}: {report:?}");
        assert_eq!(receiver.span_count(), 2 * servers.len(), "{door:?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn several_workers_trace_at_once_and_each_sends_its_own_on_leaving() {
    for door in Door::ENGINES {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = traced_to(door, &upstream, &receiver).mode(Mode::MasterWorker).start();
        let addr = haproxy.addr("http");
        let mut under_way = Vec::new();
        for number in 0..3_u64 {
            under_way.push(thread::spawn(move || client::get(addr, "/delay/2500", &[]).status));
            poll::until(SOON, "the slow request to reach the worker", || haproxy.info("CurrConns") != "0");
            haproxy.reload();
            assert_eq!(haproxy.worker_pids().len() as u64, number + 2, "{door:?}");
        }
        assert_eq!(client::get(addr, "/", &[]).status, 200);
        for request in under_way {
            assert_eq!(request.join().unwrap(), 200, "{door:?}");
        }
        haproxy.wait_one_worker(SOON);
        receiver.wait_spans(8, SOON);
        let servers = receiver.server_spans();
        let paths: Vec<_> = servers.iter().filter_map(|span| span.str("url.path")).collect();
        assert_eq!((paths.len(), paths.iter().filter(|path| **path == "/delay/2500").count()), (4, 3), "{door:?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn an_old_worker_leaves_in_time_though_the_collector_hangs() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = traced_to(Door::ZeroLines, &upstream, &receiver)
        .env("HAPROXY_VITALS_RUNTIME_STOP_TIMEOUT", "500ms")
        .mode(Mode::MasterWorker)
        .start();
    receiver.behave(haproxy_vitals_tests::Behaviour::Hang);
    let mut session = Session::connect(haproxy.addr("http"));
    assert_eq!(session.get("/", &[]).unwrap().status, 200);
    drop(session);
    poll::until(SOON, "a request at the collector", || !receiver.requests().is_empty());
    haproxy.reload();
    haproxy.wait_one_worker(Duration::from_secs(3));
    haproxy.wait_log("haproxy-vitals: 2 spans did not reach the collector", SOON);
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    haproxy.finish();
}

/// The master tells old workers again at each reload to leave, and HAProxy has taken its handlers away by then.
#[test]
fn an_old_worker_sends_what_is_queued_though_further_reloads_follow() {
    for door in Door::ENGINES {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = traced_to(door, &upstream, &receiver).mode(Mode::MasterWorker).start();
        receiver.behave(haproxy_vitals_tests::Behaviour::Delay(Duration::from_secs(1)));
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        poll::until(SOON, "a request at the collector", || !receiver.requests().is_empty());
        for _ in 0..3 {
            haproxy.reload();
        }
        haproxy.wait_one_worker(SOON);
        receiver.wait_spans(2, SOON);
        assert!(!haproxy.log_contains("User defined signal"), "{door:?}: {}", haproxy.log());
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn a_refused_reload_leaves_the_old_worker_tracing() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy =
        traced_to(Door::ZeroLines, &upstream, &receiver).allow_alert("config : ").mode(Mode::MasterWorker).start();
    let first = haproxy.worker_pid();
    let broken = super::config(Door::ZeroLines, &["lua-load-per-thread ${lua}/otel.lua runtime.worker=2"]);
    haproxy.write("haproxy.cfg", &broken);
    let refusal = haproxy.try_reload().unwrap_err();
    assert!(refusal.contains("unknown key `runtime.worker`"), "{refusal}");
    assert_eq!(haproxy.worker_pids(), [first]);
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    receiver.wait_spans(2, SOON);
    haproxy.finish();
}

/// `VITALS_LONG=1` reloads for half a minute.
fn long() -> bool {
    #[expect(clippy::disallowed_methods, reason = "how long to test is no setting of the module")]
    std::env::var_os("VITALS_LONG").is_some_and(|value| value == "1")
}

const RELOADS: usize = 10;
