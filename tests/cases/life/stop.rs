//! The ends of a process: what is queued is sent first, within a bound.

use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Behaviour, Haproxy, Mode, OtlpReceiver, SOON, Upstream, poll};

use super::{Door, traced_to};

#[test]
fn soft_stop_exports_the_spans_still_queued() {
    for (mode, door) in MODES.into_iter().flat_map(|mode| Door::ENGINES.map(|door| (mode, door))) {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = patient(door, &upstream, &receiver).mode(mode).start();
        requests(&haproxy, 100);
        assert_eq!(receiver.span_count(), 0, "{mode:?} {door:?}");
        haproxy.soft_stop();
        assert_eq!(haproxy.wait_exit(SOON).code(), Some(0), "{mode:?} {door:?}");
        all_arrived(&receiver, 100);
        assert!(!haproxy.log_contains("did not reach"), "{}", haproxy.log());
        haproxy.finish();
    }
}

#[test]
fn soft_stop_waits_for_a_request_under_way_and_exports_its_spans() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = patient(Door::ZeroLines, &upstream, &receiver).start();
    let addr = haproxy.addr("http");
    let slow = thread::spawn(move || client::get(addr, "/delay/600", &[]).status);
    haproxy_vitals_tests::poll::until(SOON, "the request to begin", || haproxy.info("CurrConns") != "0");
    haproxy.soft_stop();
    assert_eq!(slow.join().unwrap(), 200);
    haproxy.wait_exit(SOON);
    all_arrived(&receiver, 1);
    haproxy.finish();
}

#[test]
fn soft_stop_is_bounded_while_the_collector_hangs_and_says_what_was_lost() {
    for mode in [Mode::Foreground, Mode::MasterWorker] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Hang);
        let haproxy = patient(Door::ZeroLines, &upstream, &receiver)
            .env("HAPROXY_VITALS_RUNTIME_STOP_TIMEOUT", "800ms")
            .mode(mode)
            .start();
        requests(&haproxy, 30);
        let begin = Instant::now();
        haproxy.soft_stop();
        assert_eq!(haproxy.wait_exit(SOON).code(), Some(0));
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(800), "{mode:?}: it did not wait for the collector: {took:?}");
        assert!(took < Duration::from_millis(800) + SLACK, "{mode:?}: {took:?}");
        haproxy.wait_log("haproxy-vitals: 60 spans did not reach the collector", SOON);
        haproxy.finish();
    }
}

#[test]
fn soft_stop_without_a_collector_does_not_wait() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    receiver.stop();
    let haproxy =
        patient(Door::ZeroLines, &upstream, &receiver).env("HAPROXY_VITALS_RUNTIME_STOP_TIMEOUT", "8s").start();
    requests(&haproxy, 10);
    let begin = Instant::now();
    haproxy.soft_stop();
    assert_eq!(haproxy.wait_exit(SOON).code(), Some(0));
    assert!(begin.elapsed() < SLACK, "{:?}", begin.elapsed());
    haproxy.wait_log("haproxy-vitals: 20 spans did not reach the collector", SOON);
    haproxy.finish();
}

#[test]
fn terminate_and_interrupt_flush_and_keep_their_exit_status() {
    for mode in MODES {
        for end in [Haproxy::terminate, Haproxy::interrupt] {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let haproxy = patient(Door::ZeroLines, &upstream, &receiver).mode(mode).start();
            requests(&haproxy, 100);
            assert_eq!(receiver.span_count(), 0, "{mode:?}");
            end(&haproxy);
            assert_eq!(haproxy.wait_exit(SOON), without_module(&upstream, mode, end), "{mode:?}");
            all_arrived(&receiver, 100);
            haproxy.finish();
        }
    }
}

#[test]
fn terminate_is_bounded_while_the_collector_hangs() {
    for mode in [Mode::Foreground, Mode::MasterWorker] {
        for end in [Haproxy::terminate, Haproxy::interrupt] {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            receiver.behave(Behaviour::Hang);
            let haproxy = patient(Door::Actions, &upstream, &receiver).mode(mode).start();
            requests(&haproxy, 20);
            let begin = Instant::now();
            end(&haproxy);
            let exit = haproxy.wait_exit(SOON);
            let took = begin.elapsed();
            assert!(took < Duration::from_millis(500) + SLACK, "{mode:?}: {took:?}");
            assert_eq!(exit, without_module(&upstream, mode, end), "{mode:?}");
            haproxy.wait_log("haproxy-vitals: 40 spans did not reach the collector", SOON);
            haproxy.finish();
        }
    }
}

#[test]
fn a_second_signal_during_the_flush_changes_nothing() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    receiver.behave(Behaviour::Delay(Duration::from_millis(200)));
    let haproxy = patient(Door::ZeroLines, &upstream, &receiver).start();
    requests(&haproxy, 10);
    haproxy.terminate();
    receiver_has_a_request(&receiver);
    haproxy.terminate();
    assert_eq!(haproxy.wait_exit(SOON), without_module(&upstream, Mode::Foreground, Haproxy::terminate));
    all_arrived(&receiver, 10);
    haproxy.finish();
}

#[test]
fn soft_stop_then_terminate_still_ends_at_once() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = patient(Door::ZeroLines, &upstream, &receiver).start();
    requests(&haproxy, 10);
    let addr = haproxy.addr("http");
    let hanging = thread::spawn(move || client::try_request(addr, "GET", "/hang", &[], b"").is_err());
    upstream.wait_for(SOON, |seen| seen.target == "/hang");
    haproxy.soft_stop();
    haproxy.terminate();
    assert_eq!(haproxy.wait_exit(SOON), without_module(&upstream, Mode::Foreground, Haproxy::terminate));
    assert!(hanging.join().unwrap());
    assert_eq!(receiver.server_spans().len(), 10);
    haproxy.finish();
}

/// Traced, with nothing sent before a minute has passed: only a flush can.
fn patient(door: Door, upstream: &Upstream, receiver: &OtlpReceiver) -> Builder {
    traced_to(door, upstream, receiver).env("OTEL_BSP_SCHEDULE_DELAY", 60_000)
}

#[track_caller]
fn requests(haproxy: &Haproxy, number: u64) {
    let report = client::load(haproxy.addr("http"), Load::new(4, Until::Count(number), "/"));
    assert_eq!(report.ok, number, "{report:?}");
    // An answer arrives before its request has ended.
    poll::until(SOON, "every request to end", || super::count(haproxy, "requests.ended") == number);
}

/// Every request has its SERVER span and the CLIENT span under it.
#[track_caller]
fn all_arrived(receiver: &OtlpReceiver, requests: usize) {
    let servers = receiver.server_spans();
    assert_eq!((servers.len(), receiver.span_count()), (requests, 2 * requests));
    receiver.assert_clean();
}

#[track_caller]
fn receiver_has_a_request(receiver: &OtlpReceiver) {
    haproxy_vitals_tests::poll::until(SOON, "a request at the collector", || !receiver.requests().is_empty());
}

/// How a HAProxy without the module ends.
fn without_module(upstream: &Upstream, mode: Mode, end: fn(&Haproxy)) -> ExitStatus {
    let text = "defaults\n  mode http\n  timeout client 1s\n  timeout connect 1s\n  timeout server 1s\n\
                listen front\n  bind 127.0.0.1:${port:http}\n  server one ${upstream}\n";
    let haproxy = Haproxy::config(text).set("upstream", upstream.addr()).mode(mode).start();
    end(&haproxy);
    let exit = haproxy.wait_exit(SOON);
    haproxy.finish();
    exit
}

const MODES: [Mode; 3] = [Mode::Foreground, Mode::MasterWorker, Mode::Daemon];

/// What a busy machine may add to a bound.
const SLACK: Duration = Duration::from_secs(2);
