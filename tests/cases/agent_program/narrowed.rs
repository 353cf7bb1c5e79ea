//! Who may ask, and about whom.

use haproxy_vitals_tests::{AgentBuilder, GrpcBackend};

#[test]
fn who_is_not_in_the_list_is_told_so_and_nothing_is_asked() {
    let backend = GrpcBackend::start();
    let narrow = AgentBuilder::new().args(&["--set", "agent.allow_from=10.0.0.0/8,::1"]).start();
    assert!(narrow.ask_about(backend.addr()).starts_with("down #error: this address may not ask"));
    assert_eq!(backend.checks(), 0);
    let keeping =
        AgentBuilder::new().args(&["--set", "agent.allow_from=10.0.0.0/8", "--set", "agent.on_error=keep"]).start();
    assert!(keeping.ask_about(backend.addr()).starts_with("# error: this address may not ask"));
    let fitting = AgentBuilder::new().args(&["--set", "agent.allow_from=10.0.0.0/8,127.0.0.0/8"]).start();
    assert_eq!(fitting.ask_about(backend.addr()), "up");
}

#[test]
fn a_target_outside_the_list_is_refused_by_address_and_by_name() {
    let backend = GrpcBackend::start();
    let agent = AgentBuilder::new().args(&["--set", "agent.allow_to=10.0.0.0/8"]).start();
    for host in ["127.0.0.1", "localhost", "::ffff:127.0.0.1"] {
        let answer = agent.ask(&format!("{host} {} no-ssl a", backend.addr().port()));
        assert!(answer.starts_with("down #error: ") && answer.ends_with("is not in `agent.allow_to`"), "{answer}");
    }
    assert_eq!(backend.checks(), 0);
    let fitting = AgentBuilder::new().args(&["--set", "agent.allow_to=127.0.0.0/8"]).start();
    assert_eq!(fitting.ask(&format!("localhost {} no-ssl a", backend.addr().port())), "up");
}
