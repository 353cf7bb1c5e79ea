//! What HAProxy's own checks see of a gRPC server: why there are others.

use haproxy_vitals_tests::{Foreign, Haproxy, HealthServer, SOON, poll};

use super::{CONFIG, INTERVAL, status};

#[test]
fn native_checks_see_a_port_or_no_http_but_not_what_grpc_says() {
    // The C core, which knows no HTTP/1.
    let backend = Foreign::Python.start();
    let at = backend.addr();
    let servers = format!("  server s {at} check inter 100ms rise 1 fall 1");
    let tcp = Haproxy::config(&config(&servers)).start();
    let http = format!("  option httpchk\n{servers}");
    let http = Haproxy::config(&config(&http)).allow_alert("has no server available").start();
    backend.set_not_serving("");
    poll::until(SOON, "HTTP/1 is no gRPC", || status(&http, "s") == "DOWN");
    poll::always(3 * INTERVAL, "the port is open", || status(&tcp, "s") == "UP");
    backend.set_serving("");
    poll::always(3 * INTERVAL, "it says DOWN of a server that serves", || status(&http, "s") == "DOWN");
    tcp.finish();
    http.finish();
}

/// [`CONFIG`] without the module.
fn config(servers: &str) -> String {
    let ours = ["lua", "${load}"];
    let lines = CONFIG.lines().filter(|line| !ours.iter().any(|word| line.contains(word)));
    lines.collect::<Vec<_>>().join("\n").replace("SERVERS", servers) + "\n"
}
