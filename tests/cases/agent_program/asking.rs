//! What it answers, and what it asks for that.

use std::time::{Duration, Instant};

use haproxy_vitals_tests::agent_program::{answer, ask};
use haproxy_vitals_tests::grpc_backend::{Answer, Pki};
use haproxy_vitals_tests::{AgentBuilder, GrpcBackend, OddServer, Port, SOON, client, poll};
use std::io::Write;

#[test]
fn four_fields_are_answered_with_up_or_down() {
    let (agent, backend) = (AgentBuilder::new().args(&["--set", "agent.max_age=0ms"]).start(), GrpcBackend::start());
    assert_eq!(agent.ask_about(backend.addr()), "up");
    backend.set_not_serving("");
    assert!(agent.ask_about(backend.addr()).starts_with("down #NOT_SERVING"));
    let dead = Port::reserve();
    assert!(agent.ask_about(dead.addr()).starts_with("down #Connection refused"));
    assert!(agent.ask("localhost.invalid 1 no-ssl a").starts_with("down #cannot resolve"));
    // As haproxy-grpc-agent does it: what cannot be answered is down, and the connection stays.
    let mut stream = agent.connect();
    for line in ["nonsense", "a b c d", "b/s", "user@127.0.0.1 1 no-ssl a", "127.0.0.1 1 no-ssl a:1:2/x?y"] {
        assert!(ask(&mut stream, line).starts_with("down #error"), "{line}");
    }
    assert!(
        ask(&mut stream, &format!("127.0.0.1 {} no-ssl a", backend.addr().port())).starts_with("down #NOT_SERVING")
    );
}

#[test]
fn fifty_who_ask_about_one_slow_target_share_one_check() {
    let (agent, backend) = (AgentBuilder::new().start(), GrpcBackend::start());
    backend.answer(Answer::Delay(Duration::from_millis(500)));
    let line = format!("127.0.0.1 {} no-ssl shop.example\n", backend.addr().port());
    let mut streams: Vec<_> = (0..50).map(|_| agent.connect()).collect();
    for stream in &mut streams {
        stream.write_all(line.as_bytes()).unwrap();
    }
    let answers: Vec<_> = streams.iter_mut().map(answer).collect();
    assert!(answers.iter().all(|answer| answer == "up"), "{answers:?}");
    assert_eq!(backend.checks(), 1);
}

#[test]
fn a_result_is_given_out_for_as_long_as_it_may() {
    let agent = AgentBuilder::new().args(&["--set", "agent.max_age=1m"]).start();
    let backend = GrpcBackend::start();
    assert_eq!(agent.ask_about(backend.addr()), "up");
    backend.set_not_serving("");
    assert_eq!(agent.ask_about(backend.addr()), "up");
    assert_eq!(backend.checks(), 1);
}

#[test]
fn each_authority_is_asked_for_by_its_own_name() {
    let (agent, backend) = (AgentBuilder::new().start(), GrpcBackend::start());
    for name in ["first.example", "second.example"] {
        assert_eq!(agent.ask(&format!("127.0.0.1 {} no-ssl {name}", backend.addr().port())), "up");
    }
    let names: Vec<_> = backend.asked().into_iter().map(|asked| asked.authority).collect();
    assert_eq!(names, ["first.example", "second.example"]);
    assert!(backend.asked().iter().all(|asked| asked.header("grpc-timeout") == Some("1500m")));
    assert!(backend.asked().iter().all(|asked| asked.header("user-agent").unwrap().starts_with("haproxy-vitals/")));
}

#[test]
fn tls_is_verified_and_can_be_had() {
    let pki = Pki::new();
    let (backend, mutual) = (GrpcBackend::with_tls(&pki), GrpcBackend::with_mutual_tls(&pki));
    let line = |backend: &GrpcBackend, name| format!("127.0.0.1 {} ssl {name}", backend.addr().port());
    let path = |name: &str| pki.path(name).display().to_string();
    let file = format!(
        "agent.ca_file = \"{}\"\nagent.cert_file = \"{}\"\nagent.key_file = \"{}\"\n",
        path("ca.pem"),
        path("client.pem"),
        path("client.key")
    );
    let trusting = AgentBuilder::new().file(&file).start();
    assert_eq!(trusting.ask(&line(&backend, "shop.example")), "up");
    assert_eq!(trusting.ask(&line(&mutual, "shop.example")), "up");
    assert!(trusting.ask(&line(&backend, "elsewhere.example")).starts_with("down #TLS"));
    let strict = AgentBuilder::new().file(&format!("agent.ca_file = \"{}\"", path("ca.pem"))).start();
    assert!(strict.ask(&line(&mutual, "shop.example")).starts_with("down #"));
    let lax = AgentBuilder::new().args(&["--set", "agent.insecure_skip_verify=true"]).start();
    assert_eq!(lax.ask(&line(&backend, "elsewhere.example")), "up");
    assert!(lax.stderr().contains("insecure_skip_verify"), "{}", lax.stderr());
}

#[test]
fn who_never_speaks_is_down_before_haproxy_loses_patience() {
    let agent = AgentBuilder::new().start();
    let (silent, mute) = (OddServer::saying(b""), GrpcBackend::start());
    mute.answer(Answer::Hang);
    let lines = [
        format!("127.0.0.1 {} ssl localhost", silent.addr().port()),
        format!("127.0.0.1 {} no-ssl localhost", silent.addr().port()),
        format!("127.0.0.1 {} no-ssl localhost", mute.addr().port()),
    ];
    for line in lines {
        let begin = Instant::now();
        let answer = agent.ask(&line);
        assert!(answer.starts_with("down #no "), "{line}: {answer}");
        assert!(begin.elapsed() < Duration::from_millis(1950), "{line}: {:?}", begin.elapsed());
    }
}

#[test]
fn hundreds_of_targets_that_hang_are_down_and_keep_no_other_from_its_answer() {
    let agent = AgentBuilder::new().start();
    let (mute, fine) = (GrpcBackend::start(), GrpcBackend::start());
    mute.answer(Answer::Hang);
    let mut streams: Vec<_> = (0..300).map(|_| agent.connect()).collect();
    let begin = Instant::now();
    for (number, stream) in streams.iter_mut().enumerate() {
        // Each authority is a target of its own.
        stream.write_all(format!("127.0.0.1 {} no-ssl n{number}.example\n", mute.addr().port()).as_bytes()).unwrap();
    }
    assert_eq!(agent.ask_about(fine.addr()), "up");
    let answers: Vec<_> = streams.iter_mut().map(answer).collect();
    assert!(answers.iter().all(|answer| answer.starts_with("down #no answer within")), "{answers:?}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn endless_lines_and_crowds_cost_little() {
    let (agent, backend) = (AgentBuilder::new().start(), GrpcBackend::start());
    let before = agent.rss_kib();
    let mut flood = agent.connect();
    let _ = flood.write_all(&vec![b'x'; 64 << 20]);
    let crowd: Vec<_> = (0..1100).map(|_| agent.connect()).collect();
    assert_eq!(agent.ask_about(backend.addr()), "up");
    // Some 10 KiB for each connection.
    assert!(agent.rss_kib() < 30 * 1024, "{before} KiB became {}", agent.rss_kib());
    drop(crowd);
}

#[test]
fn figures_stand_under_both_programs_names() {
    let (agent, backend) = (AgentBuilder::new().args(&["--set", "agent.max_age=0ms"]).start(), GrpcBackend::start());
    assert_eq!(agent.ask_about(backend.addr()), "up");
    backend.set_not_serving("");
    agent.ask_about(backend.addr());
    agent.ask("nonsense");
    let scraped = || String::from_utf8(client::get(agent.metrics(), "/metrics", &[]).body).unwrap();
    poll::until(SOON, "both checks are counted", || {
        let text = scraped();
        let has = |name: &str, label: &str, value: &str| {
            text.lines()
                .any(|line| line.starts_with(name) && line.contains(label) && line.ends_with(&format!(" {value}")))
        };
        has("check_requests_total", "result=\"up\"", "1")
            && has("check_requests_total", "result=\"down\"", "1")
            && has("check_errors_total", "error_type=\"protocol_error\"", "1")
            && has("check_duration_seconds_count", "", "2")
            && has("grpc_channels_active", "", "1")
            && text.contains("haproxy_health_single_checks_total")
    });
}

#[test]
fn connections_are_kept_between_checks_unless_the_cache_is_off() {
    for (cache, connections) in [("true", "1"), ("false", "0")] {
        let backend = GrpcBackend::start();
        let cache = format!("--grpc-channel-cache={cache}");
        let agent = AgentBuilder::new().args(&["--set", "agent.max_age=0ms", &cache]).start();
        for _ in 0..3 {
            assert_eq!(agent.ask_about(backend.addr()), "up");
        }
        poll::until(SOON, &format!("{cache}: {connections} connections"), || {
            let text = String::from_utf8(client::get(agent.metrics(), "/metrics", &[]).body).unwrap();
            let line = text.lines().find(|line| line.starts_with("grpc_channels_active")).unwrap_or_default();
            line.ends_with(&format!(" {connections}"))
        });
    }
}
