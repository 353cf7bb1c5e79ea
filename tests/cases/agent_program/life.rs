//! How it ends.

use std::io::Write;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::agent_program::answer;
use haproxy_vitals_tests::grpc_backend::Answer;
use haproxy_vitals_tests::{AgentBuilder, AgentProgram, GrpcBackend, SOON, poll};
use nix::sys::signal::Signal;

/// A connection whose question is being looked into.
fn waiting(agent: &AgentProgram, backend: &GrpcBackend) -> std::net::TcpStream {
    let mut stream = agent.connect();
    stream.write_all(format!("127.0.0.1 {} no-ssl a\n", backend.addr().port()).as_bytes()).unwrap();
    poll::until(SOON, "the check has begun", || backend.checks() == 1);
    stream
}

#[test]
fn checks_in_flight_are_answered_before_it_ends() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut agent, backend) = (AgentBuilder::new().start(), GrpcBackend::start());
        backend.answer(Answer::Delay(Duration::from_millis(700)));
        let mut stream = waiting(&agent, &backend);
        agent.signal(signal);
        assert_eq!(answer(&mut stream), "up");
        assert_eq!(agent.wait_exit(Duration::from_secs(3)).code(), Some(0));
        let said: Vec<_> =
            agent.log().iter().map(|line| line["fields"]["message"].as_str().unwrap().to_owned()).collect();
        assert_eq!(said.last().unwrap(), "HAProxy gRPC agent stopped", "{said:?}");
    }
}

#[test]
fn it_listens_no_more_while_it_waits_for_answers() {
    let (mut agent, backend) = (AgentBuilder::new().start(), GrpcBackend::start());
    backend.answer(Answer::Delay(Duration::from_secs(1)));
    let mut stream = waiting(&agent, &backend);
    agent.signal(Signal::SIGTERM);
    poll::until(Duration::from_millis(700), "nobody new is let in", || {
        std::net::TcpStream::connect(agent.addr()).is_err()
    });
    assert_eq!(answer(&mut stream), "up");
    assert_eq!(agent.wait_exit(SOON).code(), Some(0));
}

#[test]
fn a_check_that_hangs_holds_it_up_no_longer_than_its_bound() {
    let (mut agent, backend) = (AgentBuilder::new().start(), GrpcBackend::start());
    backend.answer(Answer::Hang);
    let mut stream = waiting(&agent, &backend);
    let begin = Instant::now();
    agent.signal(Signal::SIGTERM);
    assert!(answer(&mut stream).starts_with("down #no answer within"));
    assert_eq!(agent.wait_exit(SOON).code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut agent, backend) = (
        AgentBuilder::new().args(&["--grpc-rpc-timeout", "20000", "--set", "agent.timeout=30s"]).start(),
        GrpcBackend::start(),
    );
    backend.answer(Answer::Hang);
    let _stream = waiting(&agent, &backend);
    agent.signal(Signal::SIGTERM);
    poll::until(SOON, "it says that it stops", || agent.stderr().contains("HAProxy gRPC agent stopping"));
    agent.signal(Signal::SIGTERM);
    agent.wait_exit(Duration::from_secs(5));
}

#[test]
fn sighup_changes_nothing_and_a_log_that_was_moved_away_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.log");
    let backend = GrpcBackend::start();
    let agent = AgentBuilder::new().args(&["--set", "log.to=stderr", "--set", "agent.max_age=0ms"]).start();
    agent.signal(Signal::SIGHUP);
    assert_eq!(agent.ask_about(backend.addr()), "up");
    drop(agent);
    let port = haproxy_vitals_tests::Port::reserve();
    let file = path.display().to_string();
    let mut logged = std::process::Command::new(haproxy_vitals_tests::agent_program::agent_binary())
        .args([
            "--set",
            &format!("agent.listen={}", port.addr()),
            "--set",
            "agent.reuse_port=true",
            "--metrics-port",
            "0",
        ])
        .args(["--log-destination", "file", "--log-file-path", &file, "--log-file-rotation", "never"])
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    poll::until(SOON, "its first line is in the file", || read().contains("listening"));
    std::fs::rename(&path, folder.path().join("old.log")).unwrap();
    let mut stream = std::net::TcpStream::connect(port.addr()).unwrap();
    assert_eq!(
        haproxy_vitals_tests::agent_program::ask(&mut stream, &format!("127.0.0.1 {} no-ssl a", backend.addr().port())),
        "up"
    );
    poll::until(SOON, "the next line is in another file", || read().contains("Health check status changed"));
    logged.kill().unwrap();
    logged.wait().unwrap();
}
