//! Every ending, over and over: each request that began has ended, and no memory is kept of it. `tasks/soak` asks for a million.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, Port, SOON, Upstream, poll};

use super::endings::{Client, FRONT, REST, ROWS};

#[test]
fn every_ending_over_and_over_leaves_nothing_behind() {
    let wanted = requests();
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let dead = [Port::reserve(), Port::reserve()];
    let config = vitals::config(Door::ZeroLines, FRONT, REST).upstream(&upstream);
    let config = config.set("dead1", dead[0].addr()).set("dead2", dead[1].addr());
    let haproxy = config.export_http(&receiver).env("OTEL_BSP_MAX_QUEUE_SIZE", 65_536).start();

    let (done, behind) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut warm, mut spans) = (None, 0);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (haproxy, done, behind) = (&haproxy, &done, &behind);
            scope.spawn(move || repeat(haproxy, number < SLOW_THREADS, done, behind));
        }
        // The last of them takes as long as the machine needs.
        poll::until(Duration::from_mins(1) + SOON * u32::try_from(wanted / 10_000).unwrap(), "the requests", || {
            spans += taken(&receiver);
            let counters = vitals::counters(&haproxy);
            let started = counters["requests.started"];
            behind.store(counters["spans.queued"] > QUEUED, Ordering::Relaxed);
            if warm.is_none() && started >= wanted / 2 {
                warm = Some(haproxy.rss_kib());
            }
            started >= wanted
        });
        done.store(true, Ordering::Relaxed);
    });
    let counters = poll::until_some(SOON, "every request to end and every span to arrive", || {
        spans += taken(&receiver);
        let counters = vitals::counters(&haproxy);
        let ended = counters["requests.started"] == counters["requests.ended"];
        (ended && counters["spans.created"] == counters["spans.exported"] && counters["spans.created"] == spans)
            .then_some(counters)
    });
    vitals::assert_nothing_lost(&counters);
    assert_eq!(haproxy.info("CurrConns"), "0");
    let (warm, end) = (warm.unwrap(), haproxy.rss_kib());
    tell(&format!(
        "{} requests, {spans} spans; {warm} KiB half way, {end} KiB at the end",
        counters["requests.started"]
    ));
    assert!(end <= warm + GROWTH_KIB, "{warm} KiB half way, {end} KiB at the end");
    haproxy.finish();
}

#[expect(clippy::print_stderr, reason = "figures, for whoever asked for a million")]
fn tell(figures: &str) {
    eprintln!("{figures}");
}

/// Takes what has arrived: how many.
fn taken(receiver: &OtlpReceiver) -> u64 {
    receiver.assert_clean();
    receiver.take_spans().len() as u64
}

/// Goes through the endings until it is `done`, and not while the receiver, which decodes every span, is `behind`: what waits for it
/// takes memory. Those that take time have threads of their own.
fn repeat(haproxy: &Haproxy, slow: bool, done: &AtomicBool, behind: &AtomicBool) {
    let addr = haproxy.addr("http");
    let rows = ROWS.iter().filter(|(_, path, ..)| slow == matches!(*path, "/dead" | "/drip/1000/5" | "/hang"));
    let mut kept: Option<Session> = None;
    for (client, path, ..) in rows.cycle() {
        if done.load(Ordering::Relaxed) {
            return;
        }
        poll::until(SOON, "the receiver to catch up", || !behind.load(Ordering::Relaxed));
        match client {
            // Where the connection may go on it does.
            Client::Get => {
                let mut session = kept.take().unwrap_or_else(|| Session::connect(addr));
                let answer = session.get(path, &[]);
                let goes_on = answer.is_ok_and(|answer| answer.header("connection") != Some("close"));
                kept = goes_on.then_some(session).filter(|_| !matches!(*path, "/rejected" | "/cut" | "/returned"));
            }
            Client::Http2 => assert_eq!(client::h2_get(addr, path, &[]).status, 200),
            Client::Ask => {
                // It is dropped without an answer, and the client learns nothing of it.
                let mut session = Session::connect(addr);
                session.send(format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n\r\n").as_bytes()).unwrap();
            }
            Client::LeaveInRequest => client::abort_in_request(addr, path, 1000, 10),
            Client::LeaveInResponse => client::abort_in_response(addr, path, 60),
            Client::Tunnel => {
                let mut session = Session::connect(addr);
                let head =
                    format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
                session.send(head.as_bytes()).unwrap();
                assert_eq!(session.read_response(false).unwrap().status, 101);
            }
        }
    }
}

/// `VITALS_SOAK` says how many.
fn requests() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a setting of this case alone")]
    let wanted = std::env::var("VITALS_SOAK");
    wanted.map_or(10_000, |wanted| wanted.parse().expect("VITALS_SOAK: a number"))
}

const THREADS: usize = 10;
const SLOW_THREADS: usize = 4;
/// Spans that wait for the receiver.
const QUEUED: u64 = 8_000;
/// What HAProxy's pools and the rings may still take in the second half, and [`QUEUED`] spans of half a KiB.
const GROWTH_KIB: u64 = 12 * 1024;
