//! From haproxy-grpc-agent: to the program, and to the module.

use haproxy_vitals_tests::grpc_backend::Pki;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{AgentBuilder, GrpcBackend, Haproxy, SOON, poll};

use super::{at_home, blocks, section};

fn status(haproxy: &Haproxy, server: &str) -> String {
    let csv = haproxy.cli("show stat grpc_backend 4 -1");
    let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let status = rows.next().unwrap().iter().position(|name| *name == "status").unwrap();
    rows.find(|row| row.get(1) == Some(&server)).unwrap()[status].to_owned()
}

#[track_caller]
fn wait_status(haproxy: &Haproxy, server: &str, expected: &str) {
    poll::until(SOON, &format!("{server} is {expected}"), || status(haproxy, server) == expected);
}

/// The server's address, on its line and in what is asked.
fn with_server(text: &str, written: &str, backend: &GrpcBackend) -> String {
    let (host, here) = (written.split(':').next().unwrap(), backend.addr());
    text.replace(written, &here.to_string())
        .replace(&format!("\"{host} 50051 "), &format!("\"{} {} ", here.ip(), here.port()))
}

#[test]
fn haproxy_follows_the_program_up_and_down_with_the_file_that_was_there() {
    let section = section("haproxy-grpc-agent");
    let ([config, _], [file, _]) = (blocks::<2>(&section, "haproxy"), blocks::<2>(&section, "toml"));
    let pki = Pki::new();
    let (plain, encrypted) = (GrpcBackend::start(), GrpcBackend::with_tls(&pki));
    let file = file
        .replace("server_port = 5555", "server_port = 0")
        .replace("metrics_port = 9090", "metrics_port = 0")
        .replace("/etc/ssl/internal.pem", &pki.path("ca.pem").display().to_string());
    let agent = AgentBuilder::bare().file(&file).env("HAPROXY_AGENT_LOG_LEVEL", "info").start();
    let config = with_server(&with_server(&config, "10.0.0.1:50051", &plain), "10.0.0.2:50051", &encrypted)
        .replace("agent-port 5555", &format!("agent-port {}", agent.addr().port()))
        .replace("agent-inter 5s", "agent-inter 100ms");
    let haproxy = quiet(at_home(&config, "")).start();
    for (server, backend) in [("grpc1", &plain), ("grpc2", &encrypted)] {
        poll::until(SOON, "it was asked", || backend.checks() > 0);
        assert_eq!(backend.asked()[0].authority.split(':').next(), Some("shop.example"));
        wait_status(&haproxy, server, "UP");
        backend.set_not_serving("");
        wait_status(&haproxy, server, "DOWN (agent)");
        backend.set_serving("");
        wait_status(&haproxy, server, "UP");
        backend.stop();
        poll::until(SOON, "it is down", || status(&haproxy, server).starts_with("DOWN"));
    }
    haproxy.finish();
}

#[test]
fn the_module_takes_the_agents_place() {
    let section = section("haproxy-grpc-agent");
    let ([_, config], [_, settings]) = (blocks::<2>(&section, "haproxy"), blocks::<2>(&section, "toml"));
    let backend = GrpcBackend::start();
    let settings = settings
        .replace("interval = \"5s\"", "interval = \"100ms\"\nconnect_timeout = \"50ms\"\nrpc_timeout = \"50ms\"");
    let haproxy = quiet(at_home(&with_server(&config, "10.0.0.1:50051", &backend), &settings)).start();
    let goes =
        |up: bool| poll::until(SOON, &format!("up: {up}"), || status(&haproxy, "grpc1").starts_with("DOWN") != up);
    goes(true);
    assert_eq!(backend.asked()[0].authority, "shop.example");
    backend.set_not_serving("");
    goes(false);
    backend.set_serving("");
    goes(true);
    haproxy.finish();
}

/// That a backend has no server left is what these cases are about.
fn quiet(builder: Builder) -> Builder {
    builder.allow_alert("has no server available")
}

#[test]
fn a_level_that_is_said_twice_and_sections_that_it_never_read_are_errors() {
    for (file, problem) in [
        ("log_level = \"warn\"\n[logging]\nlevel = \"info\"\n", "`log.level`"),
        ("log_level = \"info\"\n[logging.packages]\nhaproxy_grpc_agent = \"debug\"\n", "`log.level`"),
        ("[logging.packages]\nhaproxy_grpc_agent::server = \"trace\"\n", "invalid unquoted key"),
        ("[server]\nport = 5555\n", "unknown key `server`"),
        ("[grpc]\nrpc_timeout_ms = 1500\n", "unknown key `grpc`"),
    ] {
        let (exit, _, error) = AgentBuilder::bare().file(file).args(&["--check"]).run();
        assert!(exit.code() == Some(1) && error.contains(problem), "{file}{error}");
    }
    let packages = "[logging.packages]\n\"haproxy_grpc_agent::server\" = \"trace\"\ntonic = \"warn\"\n";
    let (exit, _, said) = AgentBuilder::bare().file(packages).args(&["--check"]).run();
    assert!(exit.success() && said.contains("warning: `tonic`"), "{said}");
    let (exit, ..) = AgentBuilder::bare().env("HAPROXY_AGENT_SERVER_PROT", "1").args(&["--check"]).run();
    assert_eq!(exit.code(), Some(1));
}
