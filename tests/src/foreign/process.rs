//! A server's process: orders go in by lines, what happens comes out by lines.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::poll;
use crate::third_party::installed;

/// A running server. Dropping it kills it; when the test process is killed, its closed input ends it.
pub(super) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a program on a port and waits until it listens.
    pub(super) fn start(mut command: Command, port: u16, options: &[String]) -> Self {
        command.arg("--port").arg(port.to_string()).args(options);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let (lines, output) = (Arc::<Mutex<Vec<String>>>::default(), child.stdout.take().unwrap());
        let heard = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                heard.lock().unwrap().push(line);
            }
        });
        let mut process = Self { child, lines };
        process.wait_heard("ready", 1);
        process
    }

    /// Gives an order and waits until it is done.
    pub(super) fn order(&mut self, line: &str) {
        let done = self.heard("done");
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap_or_else(|e| panic!("the server does not take `{line}`: {e}"));
        self.wait_heard("done", done + 1);
    }

    /// How often it wrote this line.
    pub(super) fn heard(&self, line: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|heard| *heard == line).count()
    }

    /// Sends it a signal; one that has ended gets none.
    pub(super) fn signal(&mut self, signal: Signal) {
        if !self.has_ended() {
            kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
        }
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(super) fn wait_end(&mut self, within: Duration) {
        poll::until(within, "the server ends", || self.has_ended());
    }

    fn wait_heard(&mut self, line: &str, times: usize) {
        poll::until(START, &format!("the server says `{line}`"), || {
            assert!(!self.has_ended() || self.heard(line) >= times, "the server ended and never said `{line}`");
            self.heard(line) >= times
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of `tests/servers/python`.
pub(super) fn python(program: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(servers().join("python").join(program)).env("PYTHONPATH", installed().join("python"));
    // gRPC's core tells every handshake that fails, which some cases want.
    command.env("GRPC_VERBOSITY", "NONE");
    command
}

/// A program of `tests/servers/node`.
pub(super) fn node(program: &str) -> Command {
    let mut command = Command::new(installed().join("node/bin/node"));
    command.arg(servers().join("node").join(program)).env("NODE_PATH", installed().join("node/node_modules"));
    command
}

fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("servers")
}

/// An interpreter takes its time on a busy machine.
const START: Duration = Duration::from_secs(30);
