//! `show vitals traces last`.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, CALLER, Door};
use haproxy_vitals_tests::{SOON, Upstream, poll};

#[test]
fn the_last_requests_are_shown_as_trees_without_any_backend() {
    const FRONT: &str = "  http-request deny if { path /denied }\n";
    for door in Door::ALL {
        let upstream = Upstream::start();
        let haproxy = vitals::config(door, FRONT, "")
            .upstream(&upstream)
            .env("OTEL_TRACES_EXPORTER", "none")
            .env("HAPROXY_VITALS_TRACES_RECENT", 3)
            .start();
        for (n, path) in (0..).zip(["/forgotten", "/delay/120", "/denied", "/status/503"]) {
            client::get(haproxy.addr("http"), path, &[("traceparent", &vitals::traceparent(n))]);
        }
        poll::until(SOON, "four requests", || vitals::counters(&haproxy)["requests.ended"] == 4);
        let last = |words: &str| haproxy.cli(&format!("show vitals traces last {words}"));
        let wanted = ["/delay/120", "/denied", "/status/503"];
        poll::until(SOON, "the last three", || wanted.iter().all(|path| last("").contains(path)));
        let all = last("");
        assert!(all.starts_with("3 of 3 remembered requests\n") && !all.contains("/forgotten"), "{door:?} {all}");
        let tree = format!("\ntrace {}\n  SERVER GET /status/503 front 503 ", vitals::trace_id(3));
        assert!(
            all.contains(&tree) && all.contains(&format!(" parent={CALLER}\n    CLIENT back/one 127.0.0.1:")),
            "{all}"
        );
        assert_eq!(last("2").matches("SERVER").count(), 2);
        assert!(last("error").contains("error.type=503") && !last("error").contains("/denied"));
        assert!(
            last("5 slow 100").contains("/delay/120") && !last("slow 100").contains("/denied"),
            "{}",
            last("slow 100")
        );
        assert!(last(&format!("trace {}", vitals::trace_id(2))).contains("/denied"));
        assert!(last("many").contains("`many` is not understood"), "{}", last("many"));
        assert!(haproxy.cli("show vitals traces").contains("requests.started"));
        haproxy.finish();
    }
}

#[test]
fn nothing_is_remembered_unless_asked_for() {
    let upstream = Upstream::start();
    let haproxy = vitals::zero_lines("", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none").start();
    client::get(haproxy.addr("http"), "/", &[]);
    let answer = haproxy.cli("show vitals traces last");
    assert_eq!(answer.trim(), "no requests are remembered: set traces.recent");
    haproxy.finish();
}
