//! The agent as a program of its own: its sources, and the names that haproxy-grpc-agent's settings have.

use std::net::SocketAddr;
use std::time::Duration;

use super::{File, environment};
use crate::config::{AgentSources, Config, Loaded, LogFormat, LogTarget, OnAgentError, Rotation, load_agent};
use crate::log::Level;

fn loaded(flags: &[(&'static str, &str)], variables: &[(&str, &str)], file: Option<&str>) -> Result<Loaded, String> {
    let file = file.map(File::new);
    let mut flags: Vec<_> = flags.iter().map(|(flag, value)| (*flag, (*value).to_owned())).collect();
    flags.extend(file.as_ref().map(|file| ("--config", file.0.display().to_string())));
    let sources = AgentSources { flags, set: Vec::new(), environment: environment(variables) };
    load_agent(&sources).map_err(|error| match &file {
        Some(file) => error.to_string().replace(&file.0.display().to_string(), "FILE"),
        None => error.to_string(),
    })
}

fn with_set(set: &[&str]) -> Result<Loaded, String> {
    let set = set.iter().map(|set| (*set).to_owned()).collect();
    load_agent(&AgentSources { set, ..AgentSources::default() }).map_err(|error| error.to_string())
}

fn address(text: &str) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().unwrap();
    address.into()
}

/// What the setting of one name becomes in flags, variables and the file.
#[track_caller]
fn each_way(flag: &'static str, variable: &str, line: &str, value: &str, is: impl Fn(&Config) -> bool) {
    let ways =
        [loaded(&[(flag, value)], &[], None), loaded(&[], &[(variable, value)], None), loaded(&[], &[], Some(line))];
    for (way, found) in ["flag", "variable", "file"].into_iter().zip(ways) {
        let found = found.unwrap_or_else(|error| panic!("{flag} by {way}: {error}"));
        assert!(is(&found.config), "{flag} by {way}");
        assert!(!is(&loaded(&[], &[], None).unwrap().config), "{flag}: the default is no proof");
    }
}

#[test]
fn the_defaults_are_those_of_haproxy_grpc_agent() {
    let config = loaded(&[], &[], None).unwrap().config;
    assert_eq!((config.agent.listen, config.metrics.listen), (address("0.0.0.0:5555"), address("0.0.0.0:9090")));
    let profile = &config.health.single.profile;
    assert_eq!((profile.connect_timeout, profile.rpc_timeout), (Duration::from_secs(1), Duration::from_millis(1500)));
    assert!(profile.reuse && config.agent.allow_any && config.agent.on_error == OnAgentError::Down);
    assert_eq!((config.log.to, config.log.format, config.log.level), (LogTarget::Stderr, LogFormat::Json, Level::Info));
}

#[test]
fn each_of_its_settings_is_taken_from_flags_variables_and_the_file() {
    let listens = |text: &'static str| move |config: &Config| config.agent.listen == address(text);
    each_way("--server-port", "HAPROXY_AGENT_SERVER_PORT", "server_port = 6000", "6000", listens("0.0.0.0:6000"));
    let line = "server_bind_address = \"::1\"";
    each_way("--server-bind", "HAPROXY_AGENT_SERVER_BIND", line, "::1", listens("[::1]:5555"));
    let measures = |text: &'static str| move |config: &Config| config.metrics.listen == address(text);
    each_way("--metrics-port", "HAPROXY_AGENT_METRICS_PORT", "metrics_port = 9", "9", measures("0.0.0.0:9"));
    let line = "metrics_bind_address = '127.0.0.1'";
    each_way("--metrics-bind", "HAPROXY_AGENT_METRICS_BIND", line, "127.0.0.1", measures("127.0.0.1:9090"));
    each_way("--metrics-port", "HAPROXY_AGENT_METRICS_PORT", "metrics_port = 0", "0", |config| {
        config.metrics.listen.is_none()
    });
    let line = "grpc_connect_timeout_ms = 700";
    each_way("--grpc-connect-timeout", "HAPROXY_AGENT_GRPC_CONNECT_TIMEOUT", line, "700", |config| {
        config.health.single.profile.connect_timeout == Duration::from_millis(700)
    });
    let line = "grpc_rpc_timeout_ms = 800";
    each_way("--grpc-rpc-timeout", "HAPROXY_AGENT_GRPC_RPC_TIMEOUT", line, "800", |config| {
        config.health.single.profile.rpc_timeout == Duration::from_millis(800)
    });
    let line = "grpc_channel_cache_enabled = false";
    each_way("--grpc-channel-cache", "HAPROXY_AGENT_GRPC_CHANNEL_CACHE", line, "false", |config| {
        !config.health.single.profile.reuse
    });
    for (line, word) in [("log_level = 'warn'", "warn"), ("[logging]\nlevel = 'warn'", "WARN")] {
        each_way("--log-level", "HAPROXY_AGENT_LOG_LEVEL", line, word, |config| config.log.level == Level::Warning);
    }
    for line in ["log_format = 'pretty'", "[logging]\nformat = 'pretty'"] {
        each_way("--log-format", "HAPROXY_AGENT_LOG_FORMAT", line, "pretty", |config| {
            config.log.format == LogFormat::Plain
        });
    }
    let line = "logging.file_rotation = 'hourly'";
    each_way("--log-file-rotation", "HAPROXY_AGENT_LOG_FILE_ROTATION", line, "hourly", |config| {
        config.log.rotation == Rotation::Hourly
    });
    let line = "logging.file_max_files = 9";
    each_way("--log-file-max-files", "HAPROXY_AGENT_LOG_FILE_MAX_FILES", line, "9", |config| {
        config.log.file.max_files == 9
    });
    let line = "logging.file_path = '/tmp/agent.log'";
    each_way("--log-file-path", "HAPROXY_AGENT_LOG_FILE_PATH", line, "/tmp/agent.log", |config| {
        config.log.file.path == "/tmp/agent.log"
    });
    let to_file = loaded(&[("--log-destination", "file"), ("--log-file-path", "/tmp/a.log")], &[], None).unwrap();
    assert_eq!(to_file.config.log.to, LogTarget::File);
    let console = loaded(&[], &[("HAPROXY_AGENT_LOG_DESTINATION", "console")], Some("log.to = 'stdout'")).unwrap();
    assert_eq!(console.config.log.to, LogTarget::Stderr);
}

#[test]
fn flags_are_stronger_than_variables_and_variables_than_the_file() {
    let file = "server_port = 1\n[log]\nlevel = 'error'\n[agent]\nmax_age = '3s'\n";
    let variables = [
        ("HAPROXY_AGENT_SERVER_PORT", "2"),
        ("HAPROXY_VITALS_LOG_LEVEL", "debug"),
        ("HAPROXY_AGENT_SERVER_BIND", "::1"),
    ];
    let found = loaded(&[("--server-port", "3")], &variables, Some(file)).unwrap();
    assert_eq!(found.config.agent.listen, address("[::1]:3"));
    assert_eq!(found.config.log.level, Level::Debug);
    assert_eq!(found.config.health.single.max_age, Duration::from_secs(3));
    assert_eq!(found.origins.of("agent.listen").to_string(), "flag --server-port");
    assert_eq!(found.origins.of("log.level").to_string(), "environment HAPROXY_VITALS_LOG_LEVEL");
    let found = loaded(&[], &[("HAPROXY_AGENT_SERVER_PORT", "2")], Some("agent.listen = '10.0.0.1:1'")).unwrap();
    assert_eq!(found.config.agent.listen, address("10.0.0.1:2"));
    let shown = found.describe_agent();
    assert!(shown.contains("agent.listen") && shown.contains("# environment HAPROXY_AGENT_SERVER_PORT"), "{shown}");
    assert!(!shown.contains("traces."), "{shown}");
}

#[test]
fn any_key_is_a_flag() {
    let found = with_set(&["agent.allow_from=10.0.0.0/8,::1", "agent.codes=", "log.level=trace"]);
    assert!(found.unwrap_err().starts_with("`agent.codes` (flag --set): expected a table"));
    let found = with_set(&["agent.allow_from=10.0.0.0/8,::1", "log.level=trace"]).unwrap().config;
    assert_eq!((found.agent.allow_from.len(), found.log.level), (2, Level::Trace));
    assert!(with_set(&["agent.lisen=x"]).unwrap_err().ends_with("did you mean `agent.listen`?"));
}

#[test]
fn names_that_contradict_each_other_in_one_source_are_refused() {
    for (variables, file, message) in [
        (
            vec![],
            "server_port = 1\nagent.listen = '127.0.0.1:2'",
            "`agent.listen` (FILE:2): expected `1`, as FILE:1 says, found `2`",
        ),
        (
            vec![],
            "log_level = 'info'\nlogging.level = 'warn'",
            "`log.level` (FILE:2): expected `\"info\"`, as FILE:1 says, found `\"warning\"`",
        ),
        (
            vec![("HAPROXY_AGENT_GRPC_RPC_TIMEOUT", "1000"), ("HAPROXY_VITALS_AGENT_RPC_TIMEOUT", "2s")],
            "",
            "`agent.rpc_timeout` (environment HAPROXY_VITALS_AGENT_RPC_TIMEOUT): expected `\"1s\"`, \
             as environment HAPROXY_AGENT_GRPC_RPC_TIMEOUT says, found `\"2s\"`",
        ),
    ] {
        assert_eq!(loaded(&[], &variables, Some(file)).unwrap_err(), message);
    }
    let free = loaded(&[("--metrics-bind", "127.0.0.1")], &[], Some("metrics.listen = '127.0.0.1:0'")).unwrap();
    assert_eq!(free.config.metrics.listen, address("127.0.0.1:0"));
    let same = [("HAPROXY_AGENT_GRPC_RPC_TIMEOUT", "1000"), ("HAPROXY_VITALS_AGENT_RPC_TIMEOUT", "1s")];
    assert!(
        loaded(&[], &same, Some("server_port = 2\nagent.listen = '0.0.0.0:2'\nserver_bind_address = '0.0.0.0'"))
            .is_ok()
    );
}

#[test]
fn what_is_unknown_or_needs_haproxy_is_refused() {
    for (file, message) in [
        ("server_prt = 1", "unknown key `server_prt` (FILE:1)"),
        ("[logging]\nfile_pth = 'x'", "unknown key `logging.file_pth` (FILE:2); did you mean `logging.file_path`?"),
        ("[agent]\nallow_form = []", "unknown key `agent.allow_form` (FILE:2); did you mean `agent.allow_from`?"),
        ("traces.sampler = 'always_on'", "`traces.sampler` (FILE:1): of no meaning here, because there is no HAProxy"),
        ("bridge.listen = '127.0.0.1:1'", "`bridge.listen` (FILE:1): of no meaning here"),
        ("[[health.backend]]\nname = 'a'", "`health.backend` (FILE:1): of no meaning here"),
        (
            "log.to = 'haproxy'",
            "`log.to` (FILE:1): of no meaning here, because there is no HAProxy around it; take `stderr`",
        ),
        ("server_port = 65536", "`server_port` (FILE:1): expected 0 to 65535"),
        ("server_bind_address = 'a.example'", "`server_bind_address` (FILE:1): expected an IP address"),
        ("grpc_rpc_timeout_ms = 0", "`agent.rpc_timeout` (FILE:1): expected 1ms to 1h"),
        ("grpc_rpc_timeout_ms = true", "`agent.rpc_timeout` (FILE:1): expected a duration"),
        ("log_format = 'xml'", "`log.format` (FILE:1): expected plain or json, found `xml`"),
        ("agent.cert_file = '/x'", "`agent.key_file` (FILE:1): expected the private key"),
        ("agent.allow_to = ['10.0.0.0/33']", "`agent.allow_to` (FILE:1): expected a list of networks"),
    ] {
        let error = loaded(&[], &[], Some(file)).map(|_| file).unwrap_err();
        assert!(error.starts_with(message), "{error}");
    }
    let error = loaded(&[], &[("HAPROXY_AGENT_SERVER_PRT", "1")], None).unwrap_err();
    assert_eq!(
        error,
        "unknown environment variable `HAPROXY_AGENT_SERVER_PRT`; did you mean `HAPROXY_AGENT_SERVER_PORT`?"
    );
    let error = loaded(&[], &[("HAPROXY_VITALS_TRACES_SAMPLER", "always_on")], None).unwrap_err();
    assert!(error.contains("of no meaning here"), "{error}");
    assert!(
        loaded(&[("--server-port", "x")], &[], None).unwrap_err().starts_with("`server_port` (flag --server-port): ")
    );
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let file = File::new("server_port = 7");
    for name in ["HAPROXY_AGENT_CONFIG", "HAPROXY_VITALS_CONFIG"] {
        let found = loaded(&[], &[(name, &file.0.display().to_string())], None).unwrap();
        assert_eq!(found.config.agent.listen, address("0.0.0.0:7"), "{name}");
    }
    let error = loaded(&[("--config", "/nowhere/at.all")], &[], None).unwrap_err();
    assert!(error.starts_with("`config` (flag --config): expected a file that can be read"), "{error}");
}

#[test]
fn modules_of_the_other_program_are_topics_of_this_one() {
    let file =
        "[logging.packages]\nhaproxy_grpc_agent = 'debug'\n'haproxy_grpc_agent::server' = 'warn'\ntonic = 'error'\n";
    let found = loaded(&[], &[], Some(file)).unwrap();
    assert_eq!((found.config.log.level, found.config.log.agent_level), (Level::Debug, Some(Level::Warning)));
    assert!(
        found.warnings.iter().any(|line| line.starts_with("`tonic` (") && line.ends_with("ignored")),
        "{:?}",
        found.warnings
    );
    let variables = [("RUST_LOG", "trace,haproxy_grpc_agent::checker=error,h2=x,haproxy_grpc_agent=what")];
    let found = loaded(&[], &variables, Some("log_level = 'info'")).unwrap();
    assert_eq!((found.config.log.level, found.config.log.agent_level), (Level::Trace, Some(Level::Error)));
    assert!(found.warnings.iter().any(|line| line == "RUST_LOG: `what` is no level; ignored"), "{:?}", found.warnings);
    let found = loaded(&[("--log-level", "warn")], &variables, None).unwrap();
    assert_eq!(found.config.log.level, Level::Warning);
}

#[test]
fn what_is_open_to_all_is_a_warning_that_names_what_narrows_it() {
    let warned = |file: &str| {
        let warnings = loaded(&[], &[], Some(file)).unwrap().warnings;
        warnings.iter().any(|line| line.contains("`agent.allow_from` and `agent.allow_to`"))
    };
    assert!(warned(""));
    assert!(warned("server_bind_address = '::'"));
    for narrow in ["agent.allow_from = ['10.0.0.0/8']", "agent.allow_to = ['10.0.0.0/8']", "agent.allow_any = false"] {
        assert!(!warned(narrow), "{narrow}");
    }
    assert!(!warned("server_bind_address = '127.0.0.1'"));
    let late = loaded(&[], &[("HAPROXY_AGENT_GRPC_RPC_TIMEOUT", "5000")], None).unwrap().warnings;
    let late = late.iter().find(|line| line.contains("is never reached")).unwrap();
    assert!(late.starts_with("`agent.rpc_timeout` (environment HAPROXY_AGENT_GRPC_RPC_TIMEOUT): 5s"), "{late}");
}
