//! What HAProxy makes of a forced state for the requests under way and those to come.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::client::Session;
use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, SOON, Upstream, poll};

use super::{CONFIG, INTERVAL, SETTINGS, get, is_up, proxy_of, served_by, status, told, wait_down, wait_up};

/// A proxy whose backend `b` is written out, with further sections behind it.
fn written(servers: &str, more: &str, settings: &str) -> Builder {
    Haproxy::config(&format!("{}{more}", CONFIG.replace("SERVERS", servers)))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", settings)
        .allow_alert("has no server available")
}

#[test]
fn request_under_way_ends_in_its_own_time_unless_the_server_line_says_otherwise() {
    for (option, survives) in [("", true), ("on-marked-down shutdown-sessions", false)] {
        let (backend, origin) = (GrpcBackend::start(), Upstream::start());
        // One port for both: gRPC goes to one server, everything else to the other.
        let both = format!(
            "frontend both\n  bind 127.0.0.1:${{port:both}}\n  \
             use_backend grpc if {{ req.hdr(content-type) -m beg application/grpc }}\n  default_backend origin\n\
             backend grpc\n  server g {} proto h2\nbackend origin\n  server o {}\n",
            backend.addr(),
            origin.addr()
        );
        let server = format!("  server s 127.0.0.1:${{port:both}} {option}");
        let haproxy = written(&server, &both, SETTINGS).start();
        wait_up(&haproxy, "s", SOON);
        let mut session = Session::connect(haproxy.addr("http"));
        session.send(b"GET /delay/2500 HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        origin.wait_for(SOON, |seen| seen.target == "/delay/2500");
        let begun = Instant::now();
        backend.set_not_serving("");
        wait_down(&haproxy, "s", SOON);
        assert_eq!(get(&haproxy).status, 503);
        assert!(begun.elapsed() < Duration::from_millis(2400), "too late to prove anything");
        let is_answered = session.read_response(false).is_ok_and(|response| response.status == 200);
        assert_eq!(is_answered, survives, "with `{option}`");
        assert_eq!(begun.elapsed() > Duration::from_secs(2), survives, "with `{option}` after {:?}", begun.elapsed());
        haproxy.finish();
    }
}

#[test]
fn backups_take_over_when_no_other_server_takes_new_clients() {
    for (not_serving, state) in [("down", "DOWN"), ("drain", "NOLB")] {
        let (one, two, backup) = (GrpcBackend::start(), GrpcBackend::start(), GrpcBackend::start());
        let servers = format!(
            "  server one {}\n  server two {}\n  server spare {} backup",
            one.addr(),
            two.addr(),
            backup.addr()
        );
        let settings = format!("{SETTINGS}not_serving = \"{not_serving}\"\n");
        let haproxy = written(&servers, "", &settings).start();
        for name in ["one", "two", "spare"] {
            wait_up(&haproxy, name, SOON);
        }
        one.set_not_serving("");
        poll::until(SOON, "one has its state", || status(&haproxy, "one").starts_with(state));
        poll::always(INTERVAL, "two takes all", || served_by(&haproxy) == "two");
        two.set_not_serving("");
        poll::until(SOON, "the backup takes all", || get(&haproxy).header("x-server") == Some("spare"));
        backup.set_not_serving("");
        poll::until(SOON, "nobody is left", || get(&haproxy).status == 503);
        two.set_serving("");
        poll::until(SOON, "two takes all again", || get(&haproxy).header("x-server") == Some("two"));
        haproxy.finish();
    }
}

#[test]
fn every_way_of_balancing_reroutes_at_once() {
    for balance in ["roundrobin", "static-rr", "leastconn", "first", "random", "source", "hash path"] {
        let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
        let servers = format!("  server one {} weight 100\n  server two {}", one.addr(), two.addr());
        let config = CONFIG.replace("balance roundrobin", &format!("balance {balance}")).replace("SERVERS", &servers);
        let haproxy = Haproxy::config(&config)
            .module()
            .set("load", "lua-load")
            .file("vitals.toml", SETTINGS)
            .allow_alert("has no server available")
            .start();
        wait_up(&haproxy, "one", SOON);
        wait_up(&haproxy, "two", SOON);
        for (down, name, other) in [(&one, "one", "two"), (&two, "two", "one")] {
            down.set_not_serving("");
            wait_down(&haproxy, name, SOON);
            for _ in 0..8 {
                assert_eq!(served_by(&haproxy), other, "{balance}");
            }
            down.set_serving("");
            wait_up(&haproxy, name, SOON);
        }
        haproxy.finish();
    }
}

#[test]
fn server_that_comes_back_starts_slowly_where_its_line_says_so() {
    let backend = GrpcBackend::start();
    let servers = format!("  server s {} weight 100 slowstart 3s", backend.addr());
    let haproxy = written(&servers, "", SETTINGS).start();
    wait_up(&haproxy, "s", SOON);
    poll::until(SOON, "it has its whole weight", || weight(&haproxy) == 100);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    backend.set_serving("");
    wait_up(&haproxy, "s", SOON);
    let first = weight(&haproxy);
    assert!(first < 60, "it begins with a weight of {first}");
    poll::until(SOON, "it has its whole weight again", || weight(&haproxy) == 100);
    assert!(is_up(&status(&haproxy, "s")));
    haproxy.finish();
}

/// The effective weight of the only server.
fn weight(haproxy: &Haproxy) -> u32 {
    let csv = haproxy.cli("show stat b 4 -1");
    let mut lines = csv.lines().map(|line| line.split(','));
    let at = lines.next().unwrap().position(|name| name == "weight").unwrap();
    lines.next().unwrap().nth(at).unwrap().parse().unwrap()
}

#[test]
fn one_server_in_two_backends_is_asked_by_the_name_of_each() {
    let backend = GrpcBackend::start();
    let more = format!("backend second\n  server t {}\n", backend.addr());
    let second = SETTINGS.split("[[health.backend]]\n").nth(1).unwrap().replace("\"b\"", "\"second\"");
    let settings = format!(
        "{SETTINGS}authority = \"first.example\"\n[[health.backend]]\n{second}authority = \"second.example\"\n"
    );
    let haproxy = written(&format!("  server s {}", backend.addr()), &more, &settings).start();
    backend.wait_checks(8, SOON);
    let asked = backend.asked();
    for name in ["first.example", "second.example"] {
        let times = asked.iter().filter(|asked| asked.authority == name).count();
        assert!(times >= 2, "{name} was asked for {times} times of {}", asked.len());
    }
    assert!(asked.iter().all(|asked| asked.authority.ends_with(".example")));
    haproxy.finish();
}

#[test]
fn server_with_an_ipv6_address_is_checked() {
    let backend = GrpcBackend::start();
    let bridge = format!("listen six\n  bind [::1]:${{port:six}} proto h2\n  server g {} proto h2\n", backend.addr());
    let haproxy = written("  server s [::1]:${port:six} proto h2", &bridge, SETTINGS).start();
    wait_up(&haproxy, "s", SOON);
    let six = format!("[::1]:{}", haproxy.port("six"));
    assert_eq!(backend.asked()[0].authority, six);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    haproxy.finish();
}

#[test]
fn dead_server_does_not_fill_the_log() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    backend.stop();
    wait_down(&haproxy, "s", SOON);
    poll::until(SOON, "a dozen checks have failed", || {
        let line = told(&haproxy, "s");
        let checks = line.split_once(" checks=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        checks.unwrap_or(0) >= 12
    });
    let log = haproxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("haproxy-vitals: b/s ")).collect();
    assert!(lines.len() <= 4, "{} lines:\n{}", lines.len(), lines.join("\n"));
    haproxy.finish();
}
