//! Too few healthy servers.

use haproxy_vitals_tests::SOON;
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::poll;

use super::{INTERVAL, SETTINGS, SWEEP, is_up, proxy, served_by, status, told, wait_down, wait_told, wait_up};

#[test]
fn last_good_servers_stay_up_until_enough_are_healthy() {
    let [one, two, three] = std::array::from_fn(|_| GrpcBackend::start());
    let addrs = [&one, &two, &three].map(|backend| backend.addr().to_string());
    let haproxy = proxy(&[("one", &addrs[0]), ("two", &addrs[1]), ("three", &addrs[2])])
        .file("vitals.toml", &format!("{SETTINGS}panic_threshold = 50\n"))
        .start();
    for server in ["one", "two", "three"] {
        wait_up(&haproxy, server, SOON);
    }
    one.set_not_serving("");
    wait_down(&haproxy, "one", SOON);
    two.set_not_serving("");
    wait_told(&haproxy, "two", " down,kept-up ");
    haproxy.wait_log("only 1 of 3 servers are healthy, less than 50 %", SOON);
    three.set_not_serving("");
    wait_told(&haproxy, "three", " down,kept-up ");
    poll::always(SWEEP + INTERVAL, "the last good ones are served", || {
        is_up(&status(&haproxy, "two")) && is_up(&status(&haproxy, "three")) && served_by(&haproxy) != "one"
    });
    assert_eq!(status(&haproxy, "one"), "DOWN");
    one.set_serving("");
    three.set_serving("");
    wait_up(&haproxy, "one", SOON);
    wait_down(&haproxy, "two", SOON);
    assert!(!told(&haproxy, "three").contains("kept-up"));
    haproxy.finish();
}
