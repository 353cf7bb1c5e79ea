//! Collectors that are down, slow or silent: requests never notice, and every span lost is counted.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{self, Load, Session, Until};
use haproxy_vitals_tests::{Behaviour, Haproxy, OtlpReceiver, Port, SOON, Upstream, poll};

use super::{Door, PER_THREAD, config, count, dropped, field, proxy, traced, traced_to};

#[test]
fn a_collector_that_is_down_changes_no_response() {
    for door in Door::ENGINES {
        let (upstream, dead) = (Upstream::start(), Port::reserve());
        let haproxy = traced(door, &upstream)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", dead.addr()))
            .env("OTEL_BSP_EXPORT_TIMEOUT", 300)
            .start();
        no_request_waits(&haproxy, &upstream);

        let lost = || count(&haproxy, "spans.dropped.timeout");
        poll::until(SOON, "every span to be given up", || lost() == 2 * REQUESTS);
        assert_eq!(count(&haproxy, "spans.created"), 2 * REQUESTS);
        assert_eq!((count(&haproxy, "spans.exported"), count(&haproxy, "export.last_success_unix_ms")), (0, 0));
        let why = field(&haproxy, "export.last_error").to_lowercase();
        assert!(why.contains("connection refused") && why.contains(&dead.addr().to_string()), "{why}");
        haproxy.wait_log("does not take spans", SOON);
        assert_eq!(lines(&haproxy, "collector"), 1, "{}", haproxy.log());
        haproxy.finish();
    }
}

#[test]
fn an_outage_and_its_end_are_said_once_each() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    receiver.stop();
    let haproxy = traced_to(Door::ZeroLines, &upstream, &receiver).start();
    let load = Load::new(2, Until::Stopped, "/delay/10").spawn(haproxy.addr("http"));
    haproxy.wait_log("does not take spans", SOON);
    poll::until(SOON, "further attempts", || count(&haproxy, "export.retries") >= 3);
    receiver.restart();
    haproxy.wait_log("takes spans again", SOON);
    let report = load.stop();
    assert_eq!(report.ok, report.total(), "{report:?}");
    receiver.wait_spans(usize::try_from(2 * report.ok).unwrap(), SOON);
    poll::until(SOON, "the last answer", || count(&haproxy, "spans.exported") == 2 * report.ok);
    assert_eq!(field(&haproxy, "export.last_error"), "");
    assert_ne!(count(&haproxy, "export.last_success_unix_ms"), 0);
    assert_eq!((lines(&haproxy, "does not take spans"), lines(&haproxy, "takes spans again")), (1, 1));
    assert_eq!(lines(&haproxy, "collector"), 2, "{}", haproxy.log());
    receiver.assert_clean();
    haproxy.finish();
}

#[test]
fn a_slow_collector_makes_no_request_wait() {
    for door in Door::ENGINES {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Delay(Duration::from_millis(300)));
        let haproxy = traced_to(door, &upstream, &receiver).start();
        no_request_waits(&haproxy, &upstream);
        receiver.wait_spans(usize::try_from(2 * REQUESTS).unwrap(), SOON);
        poll::until(SOON, "the last answer", || count(&haproxy, "spans.exported") == 2 * REQUESTS);
        assert_eq!(count(&haproxy, "export.retries"), 0);
        haproxy.finish();
    }
}

#[test]
fn a_silent_collector_makes_no_request_wait() {
    for door in Door::ENGINES {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Hang);
        let haproxy = traced_to(door, &upstream, &receiver)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", 200)
            .env("OTEL_BSP_EXPORT_TIMEOUT", 200)
            .start();
        no_request_waits(&haproxy, &upstream);
        poll::until(SOON, "every span to be given up", || count(&haproxy, "spans.dropped.timeout") == 2 * REQUESTS);
        let why = field(&haproxy, "export.last_error");
        assert!(why.starts_with("no answer within"), "{why}");
        haproxy.finish();
    }
}

#[test]
fn what_full_rings_refuse_is_counted_and_memory_stays_bounded() {
    for door in Door::ENGINES {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        receiver.behave(Behaviour::Hang);
        let haproxy = proxy(&config(door, &["nbthread 1", PER_THREAD]), &upstream)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
            .env("OTEL_BSP_MAX_QUEUE_SIZE", 8)
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 4)
            .env("HAPROXY_VITALS_TRACES_RING_BYTES", 64 * 1024)
            .start();
        // A kilobyte each, most of which a record keeps.
        let headers = vec![("user-agent".to_owned(), "a".repeat(1000))];
        let fill = |number| {
            let load = Load { headers: headers.clone(), ..Load::new(4, Until::Count(number), "/") };
            assert_eq!(client::load(haproxy.addr("http"), load).ok, number);
        };
        fill(1500);
        assert!(count(&haproxy, "requests.dropped.ring_full") > 0, "{}", haproxy.cli("show vitals traces"));
        let before = haproxy.rss_kib();
        fill(8000);
        let grown = haproxy.rss_kib().saturating_sub(before);
        assert!(grown < 2048, "{door:?}: {grown} KiB more for 8000 requests");

        poll::until(SOON, "the end of the last request", || count(&haproxy, "requests.ended") == 9500);
        let ended = count(&haproxy, "requests.ended");
        assert_eq!((count(&haproxy, "requests.started"), ended), (9500, 9500), "{door:?}");
        receiver.behave(Behaviour::Accept);
        // The request under way hangs on: it goes with its connection.
        receiver.stop();
        receiver.restart();
        poll::until(SOON, "every finished request to be accounted for", || {
            let kept = ended - count(&haproxy, "requests.dropped.ring_full");
            count(&haproxy, "requests.dropped.malformed") == 0 && count(&haproxy, "spans.created") == 2 * kept
        });
        // What found room in a ring waits there for room in the queue.
        poll::until(SOON, "every span to be exported", || {
            count(&haproxy, "spans.created") == count(&haproxy, "spans.exported")
        });
        assert_eq!(dropped(&haproxy), 0, "{door:?}");
        assert_eq!(receiver.span_count() as u64, count(&haproxy, "spans.exported"), "{door:?}");
        haproxy.finish();
    }
}

/// Answers are what a proxy without the module gives, and none takes long.
#[track_caller]
fn no_request_waits(haproxy: &Haproxy, upstream: &Upstream) {
    let plain = proxy(&config(Door::None, &[]), upstream).start();
    let expected = Session::connect(plain.addr("http")).get("/bytes/100", &[]).unwrap();
    plain.finish();
    let mut session = Session::connect(haproxy.addr("http"));
    let took = |_| {
        let begin = Instant::now();
        let answer = session.get("/bytes/100", &[]).unwrap();
        assert_eq!(answer, expected);
        begin.elapsed()
    };
    let mut took: Vec<Duration> = (0..REQUESTS).map(took).collect();
    took.sort();
    // A busy machine may hold up one or two; a collector that is waited for holds up most.
    let all_but_two = took[took.len() - 3];
    assert!(all_but_two < NO_WAIT, "requests took up to {all_but_two:?}");
}

/// Lines of the log that have this text.
fn lines(haproxy: &Haproxy, text: &str) -> usize {
    haproxy.log().lines().filter(|line| line.contains(text)).count()
}

const REQUESTS: u64 = 200;

/// Far below what any of the collectors takes.
const NO_WAIT: Duration = Duration::from_millis(200);
