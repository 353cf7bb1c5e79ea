//! When spans begin and end: in order to the nanosecond, and as HAProxy's own timers say to the millisecond.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{OtlpReceiver, SOON, Upstream};

use super::DOORS;

const MILLI: u64 = 1_000_000;

#[test]
fn the_client_span_lies_within_the_server_span() {
    let paths =
        ["/", "/delay/3", "/bytes/300000", "/chunked/20", "/drip/5/2", "/status/500", "/cut", "/hang", "/close"];
    for door in Door::ALL {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver).start();
        let before = now();
        for (n, path) in (0..).zip(paths.repeat(3)) {
            let headers = [("traceparent", &*vitals::traceparent(n))];
            let _ = client::try_request(haproxy.addr("http"), "GET", path, &headers, b"");
        }
        for (n, path) in (0..).zip(paths.repeat(3)) {
            let server = vitals::server_span(&receiver, &vitals::trace_id(n));
            let client = receiver.client_span_of(&server).unwrap();
            let times = [server.start_ns, client.start_ns, client.end_ns, server.end_ns];
            assert!(times.is_sorted() && times[1] < times[2], "{door:?} {path}: {times:?}");
            // HAProxy's date, where it is used, is the one of its last look at the clock.
            assert!(before - 100 * MILLI <= times[0] && times[3] <= now(), "{door:?} {path}: {times:?}");
        }
        receiver.assert_clean();
        haproxy.finish();
    }
}

/// Microseconds of the clock, and times that HAProxy knows in milliseconds: request's headers, queue, connection, response's
/// headers, all.
const TIMERS: &str = "  log ${log} local0\n  log-format \"trace=%[var(txn.otel.trace_id)] %TR %Tw %Tc %Tr %Ta end\"\n";

#[test]
fn times_agree_with_haproxy_s_timers() {
    const SETTINGS: &str = "traces.variables = true\ntraces.events = true\n";
    for door in DOORS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, TIMERS, "").upstream(&upstream).settings(SETTINGS);
        let haproxy = config.export_http(&receiver).start();
        let (mut farthest, mut in_two_parts) = (Vec::new(), 0);
        for n in 0..10 {
            // The request's head comes in two parts, the response's body drop by drop.
            let mut session = Session::connect(haproxy.addr("http"));
            let traceparent = vitals::traceparent(n);
            session.send(format!("GET /drip/4/10 HTTP/1.1\r\ntraceparent: {traceparent}\r\n").as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(30));
            session.send(b"host: x\r\n\r\n").unwrap();
            assert_eq!(session.read_response(false).unwrap().body.len(), 4);
            let server = vitals::server_span(&receiver, &vitals::trace_id(n));
            let client = receiver.client_span_of(&server).unwrap();
            haproxy.wait_log(&format!("trace={} ", server.trace_id), SOON);
            let log = haproxy.log();
            let line = log.lines().find_map(|line| line.split_once(&format!("trace={} ", server.trace_id))).unwrap().1;
            let timers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
            let [headers, queue, connect, answer, all] = timers[..] else { panic!("{line}") };
            let named = ["request_headers", "queue", "connect", "response_headers"]
                .map(|name| server.int(&format!("haproxy.timer.{name}")).unwrap().cast_unsigned());
            assert_eq!(named, [headers, queue, connect, answer], "{door:?} {line} {server:#?}");
            in_two_parts += usize::from((10..1000).contains(&headers));

            let answered = client.event("haproxy.response.headers").unwrap().time_ns;
            let found = [
                client.start_ns - server.start_ns,
                answered - client.start_ns,
                client.end_ns - server.start_ns,
                server.end_ns - server.start_ns,
            ];
            let expected = [headers + queue, connect + answer, all, all];
            let off = found.iter().zip(expected).map(|(found, millis)| found.abs_diff(millis * MILLI)).max().unwrap();
            farthest.push((off, found, line.to_owned()));
        }
        // Another process may have had the processor between two looks at the clock; not in most requests.
        farthest.sort();
        assert!(farthest[farthest.len() / 2].0 < 2 * MILLI, "{door:?} {farthest:#?}");
        assert!(in_two_parts > farthest.len() / 2, "{door:?} {farthest:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn what_rules_wait_for_is_after_the_start_once() {
    const WAIT: &str = "  http-request wait-for-body time 5s\n";
    for door in DOORS {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = vitals::config(door, WAIT, "").upstream(&upstream).export_http(&receiver).start();
        let mut session = Session::connect(haproxy.addr("http"));
        let traceparent = vitals::traceparent(1);
        let before = now();
        session
            .send(
                format!("POST / HTTP/1.1\r\nhost: x\r\ntraceparent: {traceparent}\r\ncontent-length: 4\r\n\r\nab")
                    .as_bytes(),
            )
            .unwrap();
        thread::sleep(Duration::from_millis(300));
        session.send(b"cd").unwrap();
        session.read_response(false).unwrap();
        let took = now() - before;
        let server = vitals::server_span(&receiver, &vitals::trace_id(1));
        let client = receiver.client_span_of(&server).unwrap();
        // HAProxy's timer is of whole milliseconds.
        assert!(server.start_ns + 2 * MILLI >= before, "{door:?}: {} before", before - server.start_ns);
        assert!(server.end_ns - server.start_ns < took + 2 * MILLI, "{door:?} {took}: {server:#?}");
        assert!(client.start_ns - server.start_ns > 250 * MILLI, "{door:?}: {server:#?} {client:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}
