//! The demo: HAProxy with the module, an HTTP origin, two gRPC backends, traffic, and a page for the traces.
//!
//! It listens on ports of 127.0.0.1 only. `--check` looks at what came out instead of showing it.

mod check;
mod page;
mod show;
mod stage;
mod states;
mod traffic;
mod tree;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Why the demo cannot go on.
type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            let _ = writeln!(io::stderr(), "error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let stop = Stop::on_signals()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => show::run(&stop).map(|()| true),
        ["--check"] => check::run(&stop),
        _ => Err("usage: vitals-demo [--check]".into()),
    }
}

/// Whether somebody asked for the end: Ctrl-C, `SIGTERM`, or the end of the terminal.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            flag::register(signal, stop.clone())?;
        }
        Ok(Self(stop))
    }

    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Prints a line; the error is that nobody reads any more.
fn say(text: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
