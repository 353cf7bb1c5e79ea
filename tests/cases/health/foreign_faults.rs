//! Processes of other authors' servers that freeze, die, come back and say good-bye.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::{Foreign, ForeignBackend, Haproxy, HealthServer, SOON, poll};

use super::foreign::{patient, proxy_of_all};
use super::{is_up, status, statuses, told, wait_down, wait_told, wait_up};

/// Both bounds of a check that [`patient`] sets.
const BOUND: Duration = Duration::from_millis(700);

/// grpcio's and grpc-js's, under their names.
struct Both([(&'static str, ForeignBackend); 2]);

impl Both {
    fn start(start: impl Fn(Foreign) -> ForeignBackend) -> Self {
        Self([("python", start(Foreign::Python)), ("node", start(Foreign::Node))])
    }

    /// Checked by a HAProxy with further settings; returns when both are up.
    fn checked(&self, more: &str) -> Haproxy {
        let servers = self.0.each_ref().map(|(name, server)| (*name, server as &dyn HealthServer));
        let haproxy = proxy_of_all(&servers).file("vitals.toml", &patient(more)).start();
        for (name, _) in &self.0 {
            wait_up(&haproxy, name, SOON);
        }
        haproxy
    }

    fn each(&self, act: impl Fn(&ForeignBackend)) {
        self.0.iter().for_each(|(_, server)| act(server));
    }

    /// Waits for both to be down for want of anybody on their ports, starts them there, and waits for them to be up.
    fn come_back(&self, haproxy: &Haproxy) {
        for (name, _) in &self.0 {
            wait_down(haproxy, name, SOON);
            assert!(told(haproxy, name).contains("class=connect"), "{}", told(haproxy, name));
        }
        self.each(ForeignBackend::restart);
        for (name, _) in &self.0 {
            wait_up(haproxy, name, SOON);
        }
    }
}

#[test]
fn frozen_process_is_down_after_its_timeouts_and_up_when_it_goes_on() {
    let both = Both::start(Foreign::start);
    let haproxy = both.checked("");
    both.each(ForeignBackend::freeze);
    let frozen = Instant::now();
    for (name, server) in &both.0 {
        wait_down(&haproxy, name, SOON);
        // `fall` is 3, and each failure takes its whole bound.
        assert!(frozen.elapsed() > 3 * BOUND, "{name} is down after {:?}", frozen.elapsed());
        // New connections, which the kernel takes and nobody answers.
        haproxy.wait_log(&format!("b/{name} is DOWN: no HTTP/2 settings from the server within 700 ms"), SOON);
        server.thaw();
        wait_up(&haproxy, name, SOON);
    }
    haproxy.finish();
}

#[test]
fn process_that_freezes_under_a_watch_is_found_by_the_check_beside_it() {
    let both = Both::start(Foreign::start);
    let haproxy = both.checked("mode = \"watch\"\nwatch_recheck = \"300ms\"");
    for (name, _) in &both.0 {
        wait_told(&haproxy, name, " up,watched ");
    }
    both.each(ForeignBackend::freeze);
    for (name, _) in &both.0 {
        wait_down(&haproxy, name, SOON);
    }
    both.each(ForeignBackend::thaw);
    for (name, _) in &both.0 {
        wait_told(&haproxy, name, " up,watched ");
    }
    haproxy.finish();
}

#[test]
fn killed_process_is_down_and_up_again_when_another_one_has_its_port() {
    let both = Both::start(Foreign::start);
    let haproxy = both.checked("");
    for _ in 0..2 {
        both.each(ForeignBackend::stop);
        both.come_back(&haproxy);
    }
    haproxy.finish();
}

#[test]
fn process_that_stops_in_order_is_down_after_fall_and_not_for_its_good_bye() {
    for mode in ["check", "watch"] {
        let both = Both::start(Foreign::start);
        let haproxy = both.checked(&format!("mode = \"{mode}\"\n"));
        both.each(ForeignBackend::stop_gracefully);
        both.come_back(&haproxy);
        haproxy.finish();
    }
}

#[test]
fn connection_that_the_server_retires_costs_no_check() {
    let both = Both::start(|whose| whose.with_max_age(250));
    let haproxy = both.checked("fall = 1");
    let checks = both.0.each_ref().map(|(_, server)| server.checks());
    poll::until(2 * SOON, "six more checks of each", || {
        let all = statuses(&haproxy);
        assert!(["python", "node"].iter().all(|name| is_up(&all[*name])), "{}", haproxy.cli("show vitals health"));
        both.0.iter().zip(checks).all(|((_, server), before)| server.checks() >= before + 6)
    });
    for (name, _) in &both.0 {
        assert!(told(&haproxy, name).contains("fall=0/1"), "{}", told(&haproxy, name));
    }
    let log = haproxy.log();
    assert!(!log.contains("is DOWN: "), "{log}");
    haproxy.finish();
}

#[test]
fn watch_follows_a_server_that_retires_its_connections() {
    let both = Both::start(|whose| whose.with_max_age(500));
    let haproxy = both.checked("mode = \"watch\"\nwatch_recheck = \"1h\"\nfall = 1");
    poll::until(2 * SOON, "three more streams of each", || {
        assert!(both.0.iter().all(|(name, _)| is_up(&status(&haproxy, name))), "{}", haproxy.log());
        both.0.iter().all(|(_, server)| server.watches() >= 4)
    });
    for (name, server) in &both.0 {
        server.set_not_serving("");
        wait_down(&haproxy, name, SOON);
    }
    haproxy.finish();
}
