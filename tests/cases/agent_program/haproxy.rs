//! A HAProxy without Lua that asks it.

use haproxy_vitals_tests::{AgentBuilder, AgentProgram, GrpcBackend, Haproxy, SOON, poll};

const CONFIG: &str = r#"
global
  log ${log} local0
defaults
  mode http
  log global
  timeout connect 500ms
  timeout client 5s
  timeout server 5s
frontend front
  bind 127.0.0.1:${port:http}
  default_backend b
backend b
  server s ${server} agent-check agent-addr 127.0.0.1 agent-port ${agent} agent-inter 100ms agent-send "${host} ${number} no-ssl shop.example\n" init-state fully-down
"#;

fn proxy(agent: &AgentProgram, backend: &GrpcBackend) -> Haproxy {
    let addr = backend.addr();
    Haproxy::config(CONFIG)
        .set("server", addr)
        .set("host", addr.ip())
        .set("number", addr.port())
        .set("agent", agent.addr().port())
        .allow_alert("has no server available")
        .start()
}

fn status(haproxy: &Haproxy) -> String {
    let csv = haproxy.cli("show stat b 4 -1");
    let mut lines = csv.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').collect();
    let status = names.iter().position(|name| *name == "status").unwrap();
    lines.next().unwrap_or_default().split(',').nth(status).unwrap_or_default().to_owned()
}

/// HAProxy calls a server that is up and has no `check` so.
fn is_up(haproxy: &Haproxy) -> bool {
    ["UP", "no check"].contains(&status(haproxy).as_str())
}

#[test]
fn haproxy_without_lua_follows_it_and_logs_the_reason() {
    let agent = AgentBuilder::new().args(&["--set", "agent.max_age=0ms"]).start();
    let backend = GrpcBackend::start();
    let haproxy = proxy(&agent, &backend);
    poll::until(SOON, "s is up", || is_up(&haproxy));
    backend.set_not_serving("");
    poll::until(SOON, "s is down", || status(&haproxy).starts_with("DOWN"));
    haproxy.wait_log("via agent : down (NOT_SERVING", SOON);
    backend.set_serving("");
    poll::until(SOON, "s is up again", || is_up(&haproxy));
    haproxy.finish();
}

#[test]
fn two_proxies_share_one_check_of_a_target() {
    let agent = AgentBuilder::new().args(&["--set", "agent.max_age=1m"]).start();
    let backend = GrpcBackend::start();
    let proxies = [proxy(&agent, &backend), proxy(&agent, &backend)];
    for haproxy in &proxies {
        poll::until(SOON, "s is up", || is_up(haproxy));
    }
    assert_eq!(backend.checks(), 1);
    proxies.into_iter().for_each(Haproxy::finish);
}
