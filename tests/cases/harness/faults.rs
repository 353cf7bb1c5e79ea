//! Origins and clients that misbehave, as HAProxy sees them.

use std::time::Duration;

use haproxy_vitals_tests::client::{self, Load, Session, Until};
use haproxy_vitals_tests::{Haproxy, SOON, Upstream, poll};

use super::{PLAIN, plain};

#[test]
fn faults_of_the_origin_become_statuses() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    let faults = [("/status/418", 418), ("/hang", 504), ("/garbage", 502), ("/close", 502), ("/reset", 502)];
    for (path, status) in faults {
        assert_eq!(client::get(haproxy.addr("http"), path, &[]).status, status, "{path}");
    }
    upstream.stop();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 503);
    upstream.restart();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    haproxy.finish();
}

#[test]
fn answer_cut_short_is_seen_by_the_client() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    let bytes = client::raw(haproxy.addr("http"), b"GET /cut HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n") && bytes.ends_with(b"ten bytes."));
    assert!(client::try_request(haproxy.addr("http"), "GET", "/cut", &[], b"").is_err());
    haproxy.finish();
}

#[test]
fn ordinary_answers_come_through() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    let mut session = Session::connect(haproxy.addr("http"));
    assert_eq!(session.get("/bytes/100000", &[]).unwrap().body.len(), 100_000);
    assert_eq!(session.get("/chunked/3", &[]).unwrap().text(), "chunk\nchunk\nchunk\n");
    assert_eq!(session.get("/drip/3/5", &[]).unwrap().text(), "...");
    assert_eq!(session.get("/delay/20", &[]).unwrap().status, 200);
    assert_eq!(session.get("/status/204", &[]).unwrap().body, b"");
    assert_eq!(session.request("HEAD", "/bytes/10", &[], b"").unwrap().status, 200);
    let echoed = session.get("/echo-headers", &[("x-a", "1"), ("X-B", "2"), ("x-a", "3")]).unwrap().text();
    assert!(echoed.contains("x-a: 1\nx-b: 2\nx-a: 3\n"), "{echoed}");
    let early = session.get("/early", &[]).unwrap();
    assert_eq!((early.status, early.informational), (200, vec![103]));
    assert_eq!(session.request("POST", "/", &[], b"12345").unwrap().status, 200);
    assert_eq!((upstream.last().body_length, upstream.last().complete), (5, true));
    haproxy.finish();
}

#[test]
fn upgraded_connection_carries_bytes() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    let mut session = Session::connect(haproxy.addr("http"));
    let response = session.get("/upgrade", &[("connection", "upgrade"), ("upgrade", "echo")]).unwrap();
    assert_eq!(response.status, 101);
    session.send(b"ping").unwrap();
    assert_eq!(session.read_bytes(4).unwrap(), b"ping");
    drop(session);
    haproxy.finish();
}

#[test]
fn http2_works_on_both_sides() {
    let upstream = Upstream::start();
    let config = PLAIN.replace("${port:http}", "${port:http} proto h2").replace("${upstream}", "${upstream} proto h2");
    let haproxy = Haproxy::config(&config).set("upstream", upstream.addr()).start();
    let addr = haproxy.addr("http");
    // On a connection to the origin that has served before, HAProxy would ask the client to try again.
    assert_eq!(client::h2_get(addr, "/reset", &[]).status, 502);
    let response = client::h2_get(addr, "/echo-headers", &[("x-a", "1")]);
    assert_eq!(response.status, 200);
    assert!(response.text().contains("x-a: 1\n"), "{}", response.text());
    assert_eq!(upstream.last().version, "HTTP/2.0");
    let answers = client::h2_get_all(addr, &["/drip/3/5", "/chunked/2", "/hang", "/status/404", "/cut"], &[]);
    let statuses: Vec<Option<u16>> = answers.into_iter().map(|answer| Some(answer.ok()?.status)).collect();
    assert_eq!(statuses, [Some(200), Some(200), Some(504), Some(404), None]);
    haproxy.finish();
}

#[test]
fn clients_that_leave_early_harm_nobody() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    client::abort_in_response(haproxy.addr("http"), "/drip/100/10", 1);
    // A client that has left before there is a connection to the server is not heard of there: once more.
    let seen = poll::until_some(SOON, "an upload that ends early", || {
        client::abort_in_request(haproxy.addr("http"), "/upload", 1000, 10);
        upstream.requests().into_iter().find(|seen| seen.target == "/upload")
    });
    assert!(!seen.complete);
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    haproxy.finish();
}

#[test]
fn load_counts_every_request() {
    let upstream = Upstream::start();
    let haproxy = plain(&upstream).start();
    let mut load = Load::new(4, Until::Count(200), "/");
    load.paths.push("/status/404".to_owned());
    let report = client::load(haproxy.addr("http"), load);
    assert_eq!((report.total(), report.failed, report.connects), (200, 0, 4), "{report:?}");
    assert_eq!(report.ok, report.by_status[&200]);
    assert_eq!(upstream.count(), 200);
    let report = client::load(haproxy.addr("http"), Load::new(2, Until::For(Duration::from_millis(100)), "/"));
    assert!(report.ok > 0 && report.elapsed < SOON, "{report:?}");
    haproxy.finish();
}

#[test]
fn load_retries_only_on_a_connection_that_had_served() {
    let upstream = Upstream::start();
    let mut load = Load::new(1, Until::Count(4), "/");
    load.paths = ["/", "/close"].map(str::to_owned).to_vec();
    let report = client::load(upstream.addr(), load);
    // Each `/close` comes on a used connection, and again on a fresh one.
    assert_eq!((report.ok, report.failed, report.retried), (2, 2, 2), "{report:?}");
}
