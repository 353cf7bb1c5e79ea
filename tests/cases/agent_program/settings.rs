//! Where its settings come from. What becomes of each is a matter of unit tests; here the program takes them.

use std::net::TcpListener;

use haproxy_vitals_tests::{AgentBuilder, GrpcBackend};

fn printed(builder: AgentBuilder) -> String {
    let (status, out, error) = builder.args(&["--print-config"]).run();
    assert!(status.success(), "{error}");
    out
}

#[track_caller]
fn assert_shown(printed: &str, key: &str, value: &str, source: &str) {
    let line = printed.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap_or_default();
    assert!(line.contains(&format!("= {value} ")) && line.ends_with(&format!("# {source}")), "{key}: {line}");
}

#[test]
fn every_setting_of_haproxy_grpc_agent_is_taken_from_flags() {
    let printed = printed(AgentBuilder::bare().args(&[
        "--server-port",
        "6001",
        "--server-bind",
        "127.0.0.1",
        "--metrics-port=6002",
        "--metrics-bind",
        "::1",
        "--grpc-connect-timeout",
        "500",
        "--grpc-rpc-timeout",
        "600",
        "--grpc-channel-cache=false",
        "--log-level",
        "debug",
        "--log-format",
        "pretty",
        "--log-destination",
        "file",
        "--log-file-path",
        "/tmp/agent.log",
        "--log-file-rotation",
        "daily",
        "--log-file-max-files",
        "3",
    ]));
    for (key, value, flag) in [
        ("agent.listen", "\"127.0.0.1:6001\"", "--server-port"),
        ("metrics.listen", "\"[::1]:6002\"", "--metrics-port"),
        ("agent.connect_timeout", "\"500ms\"", "--grpc-connect-timeout"),
        ("agent.rpc_timeout", "\"600ms\"", "--grpc-rpc-timeout"),
        ("agent.reuse", "false", "--grpc-channel-cache"),
        ("log.level", "\"debug\"", "--log-level"),
        ("log.format", "\"plain\"", "--log-format"),
        ("log.to", "\"file\"", "--log-destination"),
        ("log.file.path", "\"/tmp/agent.log\"", "--log-file-path"),
        ("log.file.rotation", "\"daily\"", "--log-file-rotation"),
        ("log.file.max_files", "3", "--log-file-max-files"),
    ] {
        assert_shown(&printed, key, value, &format!("flag {flag}"));
    }
}

#[test]
fn flags_come_before_variables_and_variables_before_the_file() {
    let file = "server_port = 6001\ngrpc_rpc_timeout_ms = 100\n[logging]\nlevel = \"error\"\n";
    let builder = AgentBuilder::bare().file(file).args(&["--server-port", "6003"]);
    let printed =
        printed(builder.env("HAPROXY_AGENT_SERVER_PORT", "6002").env("HAPROXY_AGENT_GRPC_RPC_TIMEOUT", "200"));
    assert_shown(&printed, "agent.listen", "\"0.0.0.0:6003\"", "flag --server-port");
    assert_shown(&printed, "agent.rpc_timeout", "\"200ms\"", "environment HAPROXY_AGENT_GRPC_RPC_TIMEOUT");
    assert!(printed.contains("agent.toml:4"), "{printed}");
}

#[test]
fn a_file_that_a_variable_names_is_read_and_the_agent_listens_where_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let file = "[agent]\nlisten = \"[::1]:0\"\n[metrics]\nlisten = \"[::1]:0\"\n";
    std::fs::write(&path, file).unwrap();
    let agent = AgentBuilder::bare().env("HAPROXY_AGENT_CONFIG", path.to_str().unwrap()).start();
    assert!(agent.addr().is_ipv6() && agent.metrics().is_ipv6());
    let backend = GrpcBackend::start();
    assert_eq!(agent.ask_about(backend.addr()), "up");
    let scraped = haproxy_vitals_tests::client::get(agent.metrics(), "/metrics", &[]);
    assert_eq!(scraped.status, 200);
}

#[test]
fn metrics_are_off_with_port_0() {
    let agent = AgentBuilder::bare().args(&["--set", "agent.listen=127.0.0.1:0", "--metrics-port", "0"]).start();
    let first = agent.log().into_iter().find(|line| line["fields"]["metrics"].is_string()).unwrap();
    assert_eq!(first["fields"]["metrics"], "");
}

#[test]
fn what_it_cannot_do_it_says_and_ends_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let file = |text| AgentBuilder::new().file(text);
    for (builder, problem) in [
        (
            AgentBuilder::bare().args(&["--server-bind", "127.0.0.1", "--server-port", &port]),
            "cannot listen on 127.0.0.1:",
        ),
        (
            AgentBuilder::bare().args(&[
                "--set",
                "agent.listen=127.0.0.1:0",
                "--set",
                &format!("metrics.listen=127.0.0.1:{port}"),
            ]),
            "`metrics.listen`: cannot listen on",
        ),
        (AgentBuilder::bare().args(&["--config", "/nowhere/agent.toml"]), "expected a file that can be read"),
        (file("server_prot = 1"), "unknown key `server_prot`"),
        (file("[traces]\nsampler = \"always_on\""), "of no meaning here"),
        (AgentBuilder::new().env("HAPROXY_AGENT_SERVER_PROT", "1"), "unknown environment variable"),
        (file("agent.ca_file = \"/nowhere/ca.pem\""), "/nowhere/ca.pem"),
        (file("agent.ca_file = \"/nowhere/ca.pem\"").args(&["--check"]), "/nowhere/ca.pem"),
        (
            AgentBuilder::new().args(&["--log-destination", "file", "--log-file-path", "/nowhere/a.log"]),
            "a folder that exists",
        ),
    ] {
        let (status, _, error) = builder.run();
        assert_eq!(status.code(), Some(1), "{problem}: {error}");
        assert!(error.contains(problem), "{problem}: {error}");
    }
    let (status, ..) = AgentBuilder::new().args(&["--check"]).run();
    assert!(status.success());
    let (status, _, error) = AgentBuilder::new().args(&["--server-prot", "1"]).run();
    assert!(status.code() == Some(2) && error.contains("--server-port"), "{error}");
}
