//! The agent as a program: flags, signals, systemd, an exit code. Everything else is in the core, `haproxy_vitals::standalone`.
//!
//! Exit codes: 0 after a stop that was asked for; 1 when it cannot start, or does not answer `--probe`; 2 for flags that cannot be read.

mod flags;
mod life;
mod probe;
mod systemd;

use std::io::{self, Write};
use std::process::ExitCode;

use haproxy_vitals::config::{self, Loaded};
use haproxy_vitals::standalone::Standalone;

use flags::{Flags, Task};

fn main() -> ExitCode {
    let Flags { task, sources } = flags::of_process();
    let outcome = config::load_agent(&sources).map_err(|error| error.to_string()).and_then(|loaded| match task {
        Task::Run => run(&loaded),
        Task::Check => Standalone::verify(&loaded).map(|()| warn(&loaded)).map_err(|error| error.to_string()),
        Task::Probe => probe::ask(&loaded.config),
        Task::Print => io::stdout().write_all(loaded.describe_agent().as_bytes()).map_err(|error| error.to_string()),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // The log may not be open yet, and an operator looks here first.
            let _ = writeln!(io::stderr(), "haproxy-vitals-agent: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(loaded: &Loaded) -> Result<(), String> {
    let standalone = Standalone::start(loaded).map_err(|error| error.to_string())?;
    life::until_told(standalone)
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        let _ = writeln!(io::stderr(), "haproxy-vitals-agent: warning: {warning}");
    }
}
