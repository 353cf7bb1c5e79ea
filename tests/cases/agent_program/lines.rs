//! What its log says.

use haproxy_vitals_tests::{AgentBuilder, AgentProgram, GrpcBackend, Port, SOON, poll};
use serde_json::Value;

fn said(agent: &AgentProgram, message: &str) -> Vec<Value> {
    agent.log().into_iter().filter(|line| line["fields"]["message"] == message).collect()
}

#[track_caller]
fn wait_said(agent: &AgentProgram, message: &str, times: usize) -> Vec<Value> {
    poll::until(SOON, &format!("`{message}` {times} times"), || said(agent, message).len() >= times);
    said(agent, message)
}

#[test]
fn each_change_is_one_line_and_a_failure_that_goes_on_is_not_said_again() {
    let agent = AgentBuilder::new().args(&["--set", "agent.max_age=0ms"]).start();
    let backend = GrpcBackend::start();
    for _ in 0..3 {
        agent.ask_about(backend.addr());
    }
    backend.set_not_serving("");
    for _ in 0..3 {
        agent.ask_about(backend.addr());
    }
    let lines = wait_said(&agent, "Health check status changed", 2);
    let statuses: Vec<_> = lines.iter().map(|line| line["fields"]["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["up", "down"]);
    assert_eq!(lines[1]["fields"]["backend"], backend.addr().to_string());
    assert_eq!(lines[1]["fields"]["error_type"], "not_serving");
    assert_eq!((&lines[1]["level"], &lines[1]["target"]), (&"INFO".into(), &"haproxy-vitals::agent".into()));
    assert!(said(&agent, "Health check failed").is_empty() && said(&agent, "Health check completed").is_empty());
}

#[test]
fn debug_says_each_request_and_its_answer() {
    let agent = AgentBuilder::new().args(&["--log-level", "debug"]).start();
    let dead = Port::reserve();
    agent.ask_about(dead.addr());
    let asked = &wait_said(&agent, "Processing health check request", 1)[0]["fields"];
    assert_eq!((&asked["backend"], &asked["ssl"]), (&dead.addr().to_string().into(), &false.into()));
    assert_eq!(asked["peer"], "127.0.0.1");
    let answered = &wait_said(&agent, "Health check completed", 1)[0];
    assert_eq!((&answered["level"], &answered["fields"]["status"]), (&"DEBUG".into(), &"down".into()));
    assert_eq!(answered["fields"]["error_type"], "connect");
}

#[test]
fn levels_and_formats_are_as_asked_for() {
    let agent = AgentBuilder::new().args(&["--set", "log.agent_level=error"]).start();
    agent.ask("nonsense");
    agent.ask_about(Port::reserve().addr());
    assert_eq!(agent.ask("nonsense").split(':').next(), Some("down #error"));
    let agent_lines = agent.log().into_iter().filter(|line| line["target"] == "haproxy-vitals::agent");
    assert_eq!(agent_lines.count(), 0);
    let plain =
        AgentBuilder::new().args(&["--log-format", "pretty", "--log-level", "warn", "--server-port", "x"]).run();
    assert!(!plain.0.success());
}

#[test]
fn nonsense_is_a_warning_with_what_was_said() {
    let agent = AgentBuilder::new().start();
    for _ in 0..5 {
        agent.ask("what\u{7} is this");
    }
    let lines = wait_said(&agent, "Protocol violation", 1);
    assert_eq!((lines.len(), &lines[0]["level"]), (1, &"WARN".into()));
    assert_eq!(
        (&lines[0]["fields"]["input"], &lines[0]["fields"]["peer"]),
        (&"what is this".into(), &"127.0.0.1".into())
    );
}

#[test]
fn listening_for_all_without_a_bound_is_a_warning_that_names_the_settings() {
    let open = AgentBuilder::bare().args(&["--server-port", "0", "--metrics-port", "0"]).start();
    poll::until(SOON, "it warns", || open.stderr().contains("`agent.allow_from` and `agent.allow_to` narrow that"));
    let closed = AgentBuilder::new().start();
    closed.ask("nonsense");
    wait_said(&closed, "Protocol violation", 1);
    assert!(!closed.stderr().contains("allow_from"), "{}", closed.stderr());
}
