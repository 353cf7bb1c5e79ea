//! Agent, bridge and metrics, which listen side by side.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use haproxy_vitals_tests::{GrpcBackend, Haproxy, Mode, SOON, client, poll};

use super::{CONFIG, SETTINGS, status, wait_down, wait_up};

/// Where they listen, and how HAProxy names it; the last are both families at once.
const PLACES: [(&str, &str); 3] = [("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]"), ("[::]", "127.0.0.1")];

/// HAProxy's checks ask ten times in a second, `fall` is 1, and somebody scrapes all the time: one answer that is lost would be seen.
#[test]
fn every_listener_is_handed_over_while_several_workers_leave() {
    for (listen, at) in PLACES {
        let backend = GrpcBackend::start();
        let servers = format!(
            "  option httpchk
  http-check send meth GET uri-lf \"/%[be_name]/%[srv_name]\"
  server s {0} check inter 100ms rise 1 fall 1 addr {at} port ${{port:bridge}}
  server a {0} agent-check agent-addr {at} agent-port ${{port:agent}} agent-inter 100ms agent-send \"b/a\\n\"",
            backend.addr()
        );
        // Only root can become somebody else.
        let user = if nix::unistd::geteuid().is_root() { "  user nobody\n  chroot ${dir}\n" } else { "" };
        let config = CONFIG.replace("  nbthread 2\n", &format!("  nbthread 2\n{user}")).replace("SERVERS", &servers);
        let settings = format!(
            "[metrics]
enabled = true
exporter = \"none\"
listen = \"{listen}:${{port:metrics}}\"
[agent]
listen = \"{listen}:${{port:agent}}\"
[bridge]
listen = \"{listen}:${{port:bridge}}\"
{SETTINGS}way = \"bridge\"\n"
        );
        let haproxy = Haproxy::config(&config)
            .module()
            .set("load", "lua-load-per-thread")
            .file("vitals.toml", &settings)
            .allow_alert("has no server available")
            .mode(Mode::MasterWorker)
            .start();
        wait_up(&haproxy, "s", SOON);
        let mut scraped = haproxy.addr("metrics");
        if listen == "[::1]" {
            scraped.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
        }
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = client::raw(scraped, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n");
                    assert!(answer.starts_with(b"HTTP/1.1 200"), "{listen}: a scrape was lost");
                }
            });
            // The second does not wait for the first worker to leave.
            for _ in 0..2 {
                haproxy.reload();
                haproxy.reload();
                haproxy.wait_one_worker(SOON);
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(!haproxy.log_contains(" is DOWN"), "{listen}: {}", haproxy.log());
        backend.set_not_serving("");
        wait_down(&haproxy, "s", SOON);
        poll::until(SOON, "the agent tells it too", || status(&haproxy, "a") == "DOWN (agent)");
        haproxy.finish();
    }
}
