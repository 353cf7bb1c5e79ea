//! The command line: haproxy-grpc-agent's flags, `--set` for every other key, and what to do.

use clap::{Arg, ArgAction, ArgMatches, Command};
use haproxy_vitals::VERSION;
use haproxy_vitals::config::{AgentSources, Environment};

/// What the command line says.
pub(crate) struct Flags {
    /// What to do.
    pub(crate) task: Task,
    /// Where settings come from.
    pub(crate) sources: AgentSources,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Answer until told to stop.
    Run,
    /// `--check`: say whether it would start.
    Check,
    /// `--probe`: ask the one that runs whether it answers.
    Probe,
    /// `--print-config`.
    Print,
}

/// Of this process. Ends it with a message where they cannot be read, and after `--help`.
pub(crate) fn of_process() -> Flags {
    read(&command().get_matches(), Environment::of_process())
}

fn read(matches: &ArgMatches, environment: Environment) -> Flags {
    let value = |flag: &&'static str| matches.get_one::<String>(flag.trim_start_matches("--")).cloned();
    let given = SETTINGS.iter().map(|(flag, ..)| flag).chain([&CONFIG]);
    let flags = given.filter_map(|flag| Some((*flag, value(flag)?))).collect();
    let set = matches.get_many::<String>("set").into_iter().flatten().cloned().collect();
    let asked = [("check", Task::Check), ("probe", Task::Probe), ("print-config", Task::Print)];
    let task = asked.into_iter().find(|(flag, _)| matches.get_flag(flag)).map_or(Task::Run, |(_, task)| task);
    Flags { task, sources: AgentSources { flags, set, environment } }
}

fn command() -> Command {
    let setting = |(flag, value, help): &(&'static str, &'static str, &'static str)| {
        let name = flag.trim_start_matches("--");
        let arg = Arg::new(name).long(name).value_name(*value).help(*help);
        // Its flag without a value turns it on.
        if *flag == CACHE { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
    };
    let config = Arg::new("config").short('c').long("config").value_name("FILE").help("Settings, in TOML");
    let set = Arg::new("set").long("set").value_name("KEY=VALUE").action(ArgAction::Append);
    let check = Arg::new("check").long("check").action(ArgAction::SetTrue).help("Only say whether it would start");
    let probe = Arg::new("probe").long("probe").action(ArgAction::SetTrue);
    let print = Arg::new("print-config").long("print-config").action(ArgAction::SetTrue);
    Command::new("haproxy-vitals-agent")
        .version(VERSION)
        .about("Answers HAProxy's agent-check from gRPC health checks")
        .after_help("Settings: flags before environment before file before defaults. docs/standalone.md has them all.")
        .arg(config)
        .args(SETTINGS.iter().map(setting))
        .arg(set.help("Any other key, such as agent.allow_from=10.0.0.0/8; may be repeated"))
        .arg(check)
        .arg(probe.help("Ask the one that runs with these settings; 0 if it answers"))
        .arg(print.help("Print each setting with its source"))
}

const CONFIG: &str = "--config";
const CACHE: &str = "--grpc-channel-cache";

/// Flags with a value, as haproxy-grpc-agent has them.
const SETTINGS: [(&str, &str, &str); 13] = [
    ("--server-port", "PORT", "Port for agent-check [5555]"),
    ("--server-bind", "ADDRESS", "Its address [0.0.0.0]"),
    ("--metrics-port", "PORT", "Port for Prometheus [9090]; 0 turns it off"),
    ("--metrics-bind", "ADDRESS", "Its address [0.0.0.0]"),
    ("--grpc-connect-timeout", "MS", "Bound on TCP, TLS and HTTP/2 settings [1000]"),
    ("--grpc-rpc-timeout", "MS", "Bound on the call [1500]"),
    (CACHE, "BOOL", "Keep connections between checks [true]"),
    ("--log-level", "LEVEL", "error, warn, info, debug or trace [info]"),
    ("--log-format", "FORMAT", "json or pretty [json]"),
    ("--log-destination", "WHERE", "console (standard error), stdout or file [console]"),
    ("--log-file-path", "FILE", "With file: where"),
    ("--log-file-rotation", "WHEN", "With file: size, hourly, daily or never [size]"),
    ("--log-file-max-files", "N", "With file: how many are kept [5]"),
];

#[cfg(test)]
mod tests {
    use haproxy_vitals::config::load_agent;

    use super::*;

    fn flags(line: &str) -> Flags {
        let words = ["agent"].into_iter().chain(line.split_whitespace());
        read(&command().try_get_matches_from(words).unwrap(), Environment::default())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_with_a_value_is_a_setting() {
        for (flag, kind, _) in SETTINGS {
            let value = match kind {
                "ADDRESS" => "127.0.0.1",
                "BOOL" => "false",
                "LEVEL" => "error",
                "FORMAT" => "pretty",
                "WHERE" => "stdout",
                "FILE" => "x.log",
                "WHEN" => "daily",
                _ => "77",
            };
            let loaded = load_agent(&flags(&format!("{flag}={value}")).sources).unwrap();
            assert!(loaded.describe_agent().contains(&format!("# flag {flag}\n")), "{flag}");
        }
    }

    #[test]
    fn the_cache_is_turned_on_by_its_flag_alone() {
        assert_eq!(flags(CACHE).sources.flags, [(CACHE, "true".to_owned())]);
    }

    #[test]
    fn one_of_four_things_is_done() {
        assert_eq!(flags("").task, Task::Run);
        assert_eq!(flags("--check -c x.toml").task, Task::Check);
        assert_eq!(flags("--probe").task, Task::Probe);
        assert_eq!(flags("--print-config --set a=b --set c=d").sources.set, ["a=b", "c=d"]);
    }
}
