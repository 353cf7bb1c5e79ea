//! One backend with many servers.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::{Load, Until, load};
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{SOON, poll};

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

fn statuses_of(haproxy: &haproxy_vitals_tests::Haproxy) -> Vec<(usize, String)> {
    let all = statuses(haproxy).into_iter();
    all.map(|(name, status)| (name.trim_start_matches('s').parse().unwrap(), status)).collect()
}

fn downs(all: &[(usize, String)]) -> usize {
    all.iter().filter(|(_, status)| status == "DOWN").count()
}
