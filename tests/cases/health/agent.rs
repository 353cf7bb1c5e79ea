//! `way = "agent"`: HAProxy asks with `agent-check`.

use std::net::TcpListener;

use haproxy_vitals_tests::grpc_backend::Answer;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{GrpcBackend, Haproxy, Mode, SOON, poll};

use super::{INTERVAL, SETTINGS, SWEEP, get, is_up, proxy, served_by, status, told};

/// What makes HAProxy ask the agent about `s`.
const ASKS: &str = r#"agent-check agent-addr 127.0.0.1 agent-port ${port:agent} agent-inter 100ms agent-send "b/s\n""#;

/// [`SETTINGS`] with the agent, and with `more` about backend `b`.
fn settings(more: &str) -> String {
    format!("[agent]\nlisten = \"127.0.0.1:${{port:agent}}\"\n{SETTINGS}way = \"agent\"\n{more}")
}

/// A proxy with one server, `s`, with these options.
fn asking(backend: &GrpcBackend, options: &str) -> Builder {
    proxy(&[("s", &format!("{} {options}", backend.addr()))]).file("vitals.toml", &settings(""))
}

#[track_caller]
fn wait_status(haproxy: &Haproxy, server: &str, expected: &str) {
    let found = poll::try_until(SOON, || (status(haproxy, server) == expected).then_some(()));
    found.unwrap_or_else(|| {
        panic!("{server} is {} and not {expected}: {}", status(haproxy, server), told(haproxy, server))
    });
}

#[track_caller]
fn wait_serves(haproxy: &Haproxy) {
    poll::until(SOON, "s gets requests", || is_up(&status(haproxy, "s")));
}

#[test]
fn agent_check_follows_what_grpc_says_with_the_reason() {
    let backend = GrpcBackend::start();
    let haproxy = asking(&backend, &format!("{ASKS} init-state fully-down")).start();
    wait_serves(&haproxy);
    assert_eq!(served_by(&haproxy), "s");
    backend.set_not_serving("");
    wait_status(&haproxy, "s", "DOWN (agent)");
    haproxy.wait_log("via agent : down (NOT_SERVING (service ''))", SOON);
    assert_eq!(get(&haproxy).status, 503);
    backend.set_serving("");
    wait_serves(&haproxy);
    let told = haproxy.cli("show vitals health");
    assert!(told.contains("agent: connections=") && told.contains(" refused=0"), "{told}");
    haproxy.finish();
}

#[test]
fn server_of_agent_check_is_not_forced_through_lua() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    // Nobody asks the agent: what HAProxy does by itself stays.
    let haproxy = asking(&backend, "").set("unused", "${port:agent}").start();
    poll::until(SOON, "its checks fail", || told(&haproxy, "s").contains("NOT_SERVING"));
    poll::always(2 * SWEEP, "it is not forced", || is_up(&status(&haproxy, "s")));
    haproxy.finish();
}

#[test]
fn every_way_to_write_agent_send_is_understood() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    let (ip, port) = (backend.addr().ip(), backend.addr().port());
    let ways = [
        ("double", "\"b/double\\n\"".to_owned()),
        ("single", "'b/single\\n'".to_owned()),
        ("endless", "b/endless".to_owned()),
        ("fields", format!("\"{ip} {port} no-ssl {ip}\\n\"")),
    ];
    let line = |send: &str| {
        format!(
            "{} agent-check agent-addr 127.0.0.1 agent-port ${{port:agent}} agent-inter 300ms agent-send {send}",
            backend.addr()
        )
    };
    let lines: Vec<_> = ways.iter().map(|(name, send)| (*name, line(send))).collect();
    let servers: Vec<_> = lines.iter().map(|(name, line)| (*name, line.as_str())).collect();
    let haproxy = proxy(&servers).file("vitals.toml", &settings("")).start();
    for (name, _) in &ways {
        wait_status(&haproxy, name, "DOWN (agent)");
    }
    backend.set_serving("");
    for (name, _) in &ways {
        poll::until(SOON, &format!("{name} is up"), || is_up(&status(&haproxy, name)));
    }
    haproxy.finish();
}

#[test]
fn native_check_and_agent_must_both_pass_and_trackers_follow() {
    let backend = GrpcBackend::start();
    let at = backend.addr();
    let haproxy =
        proxy(&[("s", &format!("{at} check inter 100ms rise 1 fall 1 {ASKS}")), ("t", &format!("{at} track b/s"))])
            .file("vitals.toml", &settings(""))
            .start();
    poll::until(SOON, "it is checked", || told(&haproxy, "s").contains(" up "));
    wait_status(&haproxy, "s", "UP");
    backend.set_not_serving("");
    wait_status(&haproxy, "s", "DOWN (agent)");
    poll::until(SOON, "the tracker follows", || status(&haproxy, "t").starts_with("DOWN"));
    // Its port is open: HAProxy's own check alone does not raise it.
    poll::always(SWEEP, "it stays down", || status(&haproxy, "s") == "DOWN (agent)");
    backend.set_serving("");
    wait_status(&haproxy, "s", "UP");
    wait_status(&haproxy, "t", "UP");
    backend.stop();
    poll::until(SOON, "without a port it is down", || status(&haproxy, "s").starts_with("DOWN"));
    haproxy.finish();
}

#[test]
fn draining_server_weighs_nothing_until_it_serves_again() {
    let backend = GrpcBackend::start();
    let haproxy = asking(&backend, ASKS).file("vitals.toml", &settings("not_serving = \"drain\"\n")).start();
    let weight = || haproxy.cli("get weight b/s").trim().to_owned();
    wait_serves(&haproxy);
    backend.set_not_serving("");
    poll::until(SOON, "it weighs nothing", || weight() == "0 (initial 1)");
    backend.set_serving("");
    poll::until(SOON, "it has its weight again", || weight() == "1 (initial 1)");
    haproxy.finish();
}

#[test]
fn what_operators_set_is_left_alone() {
    let backend = GrpcBackend::start();
    let haproxy = asking(&backend, ASKS).start();
    wait_serves(&haproxy);
    for (state, shown) in [("maint", "MAINT"), ("drain", "DRAIN (agent)")] {
        haproxy.cli(&format!("set server b/s state {state}"));
        assert_eq!(status(&haproxy, "s"), shown);
        poll::always(2 * INTERVAL, "answers do not undo it", || status(&haproxy, "s") == shown);
        haproxy.cli("set server b/s state ready");
        wait_serves(&haproxy);
    }
    haproxy.finish();
}

/// `server s`, asked about by four fields; the agent takes any target.
fn asking_about(host: &str, port: u16, authority: &str, inter: &str) -> Builder {
    let line = format!(
        "127.0.0.1:1 agent-check agent-addr 127.0.0.1 agent-port ${{port:agent}} agent-inter {inter} \
         agent-send \"{host} {port} no-ssl {authority}\\n\""
    );
    let settings =
        settings("").replace("[agent]", "[agent]\nallow_any = true").replace("name = \"b\"", "name = \"other\"");
    proxy(&[("s", &line)]).file("vitals.toml", &settings)
}

#[test]
fn any_target_is_checked_where_that_is_allowed() {
    let backend = GrpcBackend::start();
    let haproxy = asking_about("127.0.0.1", backend.addr().port(), "shop.example", "100ms").start();
    backend.set_not_serving("");
    wait_status(&haproxy, "s", "DOWN (agent)");
    haproxy.wait_log("via agent : down (NOT_SERVING)", SOON);
    backend.set_serving("");
    wait_serves(&haproxy);
    let asked = backend.asked();
    assert!(asked.iter().all(|asked| asked.authority == "shop.example"), "{asked:?}");
    // HAProxy asks ten times in a second, and the target once.
    let before = backend.checks();
    poll::always(2 * SWEEP, "one check in a second", || backend.checks() <= before + 3);
    backend.stop();
    wait_status(&haproxy, "s", "DOWN (agent)");
    haproxy.finish();
}

#[test]
fn silent_target_is_down_within_the_default_interval() {
    let backend = GrpcBackend::start();
    backend.answer(Answer::Hang);
    let haproxy = asking_about("127.0.0.1", backend.addr().port(), "a", "2s").start();
    // Where the answer came too late, HAProxy would say that the agent does not answer, and leave the server up.
    wait_status(&haproxy, "s", "DOWN (agent)");
    haproxy.wait_log("via agent : down (no answer within", SOON);
    haproxy.finish();
}

#[test]
fn what_may_not_be_asked_about_changes_nothing() {
    for (host, authority) in [("/run/grpc.sock", "a"), ("abns@grpc", "a"), ("127.0.0.1", "a:1:2/x?y")] {
        let haproxy = asking_about(host, 1, authority, "100ms").start();
        let refused = || {
            let told = haproxy.cli("show vitals health");
            let (_, rest) = told.split_once("agent: ")?;
            rest.split_once(" refused=")?.1.split_whitespace().next()?.parse::<u64>().ok()
        };
        poll::until(SOON, "it is refused", || refused() > Some(2));
        assert!(is_up(&status(&haproxy, "s")), "{host}");
        haproxy.finish();
    }
}

#[test]
fn agent_send_is_changed_at_run_time() {
    let (good, bad) = (GrpcBackend::start(), GrpcBackend::start());
    bad.set_not_serving("");
    let haproxy = proxy(&[("s", &format!("{} {ASKS}", good.addr())), ("bad", &bad.addr().to_string())])
        .file("vitals.toml", &settings(""))
        .start();
    poll::until(SOON, "both are checked", || {
        told(&haproxy, "bad").contains(" down ") && told(&haproxy, "s").contains(" up ")
    });
    wait_serves(&haproxy);
    // Without an end: the stats socket takes none.
    haproxy.cli("set server b/s agent-send b/bad");
    wait_status(&haproxy, "s", "DOWN (agent)");
    haproxy.cli("set server b/s agent-send b/nobody");
    poll::always(2 * INTERVAL, "an error changes nothing", || status(&haproxy, "s") == "DOWN (agent)");
    haproxy.cli("set server b/s agent-send b/s");
    wait_serves(&haproxy);
    haproxy.finish();
}

/// Without `agent-send` there is nothing to answer, and HAProxy waits in vain.
#[test]
fn server_that_names_nobody_stays_as_it_is() {
    let backend = GrpcBackend::start();
    backend.set_not_serving("");
    let asks = ASKS.split(" agent-send").next().unwrap();
    let haproxy = asking(&backend, asks).start();
    poll::until(SOON, "its checks fail", || told(&haproxy, "s").contains("NOT_SERVING"));
    poll::always(SWEEP, "it is not told", || is_up(&status(&haproxy, "s")));
    haproxy.finish();
}

#[test]
fn reload_hands_the_port_over_and_nothing_flaps() {
    let backend = GrpcBackend::start();
    let haproxy = asking(&backend, ASKS).mode(Mode::MasterWorker).start();
    wait_serves(&haproxy);
    for _ in 0..3 {
        haproxy.reload();
        haproxy.wait_one_worker(SOON);
    }
    poll::always(SWEEP, "it stays up", || is_up(&status(&haproxy, "s")));
    assert!(!haproxy.log_contains("b/s is DOWN"), "{}", haproxy.log());
    backend.set_not_serving("");
    wait_status(&haproxy, "s", "DOWN (agent)");
    haproxy.finish();
}

#[test]
fn port_that_is_taken_is_an_error_at_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let settings = settings("").replace("127.0.0.1:${port:agent}", &address.to_string());
    let refused = proxy(&[("s", "127.0.0.1:1")]).file("vitals.toml", &settings).try_start().map(drop).unwrap_err();
    assert!(refused.contains(&format!("`agent.listen`: cannot listen on {address}: ")), "{refused}");
}
