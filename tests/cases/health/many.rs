//! One backend with many servers.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{Load, Until, load};
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Mode, SOON, poll};

use super::{SETTINGS, SLACK, is_up, proxy, statuses};

const SERVERS: usize = 200;
const BACKENDS: usize = 4;
const INTERVAL: Duration = Duration::from_secs(1);

#[test]
fn two_hundred_servers_are_judged_each_by_its_own_backend() {
    let backends: [GrpcBackend; BACKENDS] = std::array::from_fn(|_| GrpcBackend::start());
    let servers: Vec<(String, String)> =
        (0..SERVERS).map(|n| (format!("s{n}"), backends[n % BACKENDS].addr().to_string())).collect();
    let servers: Vec<(&str, &str)> = servers.iter().map(|(name, addr)| (name.as_str(), addr.as_str())).collect();
    let settings = SETTINGS.replace("\"300ms\"", "\"1s\"").replace("\"150ms\"", "\"500ms\"");
    let begin = Instant::now();
    let haproxy = proxy(&servers).file("vitals.toml", &settings).start();
    poll::until(SOON, "every server is up", || statuses(&haproxy).values().filter(|s| is_up(s)).count() == SERVERS);
    let took = begin.elapsed();
    assert!(took < 3 * INTERVAL + SLACK, "all up after {took:?}");

    // While checks go on, and sweeps over all servers.
    let report = load(haproxy.addr("http"), Load::new(1, Until::For(2 * INTERVAL), "/"));
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    let mean = report.elapsed / u32::try_from(report.total()).unwrap();
    assert!(mean < Duration::from_millis(20), "a request takes {mean:?}");

    backends[1].set_not_serving("");
    let begin = Instant::now();
    poll::until(SOON, "its servers are down", || downs(&statuses_of(&haproxy)) == SERVERS / BACKENDS);
    let took = begin.elapsed();
    assert!(took < 2 * INTERVAL + SLACK, "down after {took:?}");
    poll::always(INTERVAL, "exactly its servers are down", || {
        let all = statuses_of(&haproxy);
        all.iter().all(|(number, status)| (number % BACKENDS == 1) == (status == "DOWN"))
    });
    backends[1].set_serving("");
    poll::until(SOON, "every server is up again", || downs(&statuses_of(&haproxy)) == 0);
    haproxy.finish();
}

#[test]
fn reload_with_a_thousand_held_servers_loses_nothing_and_checks_twice_only_while_the_old_worker_learns() {
    const HELD: usize = 1000;
    let backend = GrpcBackend::start();
    let servers: Vec<(String, String)> = (0..HELD).map(|n| (format!("s{n}"), backend.addr().to_string())).collect();
    let servers: Vec<(&str, &str)> = servers.iter().map(|(name, addr)| (name.as_str(), addr.as_str())).collect();
    let settings = SETTINGS.replace("\"300ms\"", "\"2s\"").replace("\"150ms\"", "\"1s\"");
    let haproxy = proxy(&servers)
        .file("vitals.toml", &format!("{settings}init = \"hold\"\n"))
        .set("load", "lua-load-per-thread")
        .mode(Mode::MasterWorker)
        .start();
    let all_up = format!("servers: {HELD}, up: {HELD}, ");
    poll::until(3 * SOON, "every server is up", || haproxy.cli("show vitals health").starts_with(&all_up));
    let load = Load::new(1, Until::Stopped, "/").spawn(haproxy.addr("http"));
    // A connection for each request: the listener is never away.
    let mut fresh = Load::new(1, Until::Stopped, "/");
    fresh.headers = vec![("connection".to_owned(), "close".to_owned())];
    let fresh = fresh.spawn(haproxy.addr("http"));
    for _ in 0..2 {
        haproxy.reload();
        haproxy.wait_one_worker(SOON);
        poll::until(3 * SOON, "every server is checked again", || {
            haproxy.cli("show vitals health").starts_with(&all_up)
        });
    }
    let report = load.stop();
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    let report = fresh.stop();
    assert_eq!((report.failed, report.ok), (0, report.connects), "{report:?}");
    assert!(!haproxy.log_contains(" is DOWN"), "a server flapped");
    // One checker is left: 1 000 checks per 2 s. Two would be 2 000; the jitter is a tenth.
    let before = backend.checks();
    let begin = Instant::now();
    poll::until(SOON, "so many checks", || backend.checks() >= before + 2 * HELD);
    assert!(begin.elapsed() > Duration::from_secs(3), "twice as many checks as one worker makes");
    haproxy.finish();
}

fn statuses_of(haproxy: &haproxy_vitals_tests::Haproxy) -> Vec<(usize, String)> {
    let all = statuses(haproxy).into_iter();
    all.map(|(name, status)| (name.trim_start_matches('s').parse().unwrap(), status)).collect()
}

fn downs(all: &[(usize, String)]) -> usize {
    all.iter().filter(|(_, status)| status == "DOWN").count()
}
