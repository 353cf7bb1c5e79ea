//! The agent as a program of its own, as a process.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::poll::{self, SOON};

/// How to start it. Its environment is empty but for what is put there.
#[must_use]
pub struct AgentBuilder {
    command: Command,
    dir: TempDir,
}

/// A running one. Killed when dropped.
pub struct AgentProgram {
    child: Child,
    dir: TempDir,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    started_in: Duration,
}

impl AgentBuilder {
    /// On free ports of 127.0.0.1.
    pub fn new() -> Self {
        let free = ["--set", "agent.listen=127.0.0.1:0", "--set", "metrics.listen=127.0.0.1:0"];
        Self::bare().args(&free)
    }

    /// As nothing but the arguments and the environment say.
    pub fn bare() -> Self {
        let mut command = Command::new(agent_binary());
        command.env_clear().stdin(Stdio::null());
        Self { command, dir: TempDir::new().unwrap() }
    }

    /// More arguments.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// A variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// A settings file.
    pub fn file(self, toml: &str) -> Self {
        let path = self.dir.path().join("agent.toml");
        fs::write(&path, toml).unwrap();
        self.args(&["--config", &path.display().to_string()])
    }

    /// Starts it and waits until it says that it listens.
    #[track_caller]
    pub fn start(mut self) -> AgentProgram {
        let begin = Instant::now();
        let log = self.dir.path().join("stderr");
        let mut child = self.command.stderr(File::create(&log).unwrap()).stdout(Stdio::null()).spawn().unwrap();
        let first = poll::try_until(SOON, || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended ({ended:?}): {}", read(&log));
            objects(&log).into_iter().find(|line| line["fields"]["message"] == LISTENING)
        });
        let first = first.unwrap_or_else(|| panic!("it does not say that it listens: {}", read(&log)));
        let address = |name: &str| first["fields"][name].as_str().unwrap().parse().ok();
        let (address, metrics) = (address("address").unwrap(), address("metrics"));
        AgentProgram { child, dir: self.dir, address, metrics, started_in: begin.elapsed() }
    }

    /// Runs it to its end: how it ended, and what it said on standard output and error.
    #[track_caller]
    pub fn run(mut self) -> (ExitStatus, String, String) {
        let child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status, text(output.stdout), text(output.stderr))
    }
}

impl Default for AgentBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl AgentProgram {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers Prometheus.
    #[track_caller]
    pub fn metrics(&self) -> SocketAddr {
        self.metrics.expect("metrics are on")
    }

    /// From the start of the process to its first line, with what this harness needs to see that.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Resident memory.
    pub fn rss_kib(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.pid())));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// A connection to it.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// The answer to one line, without its end.
    #[track_caller]
    pub fn ask(&self, line: &str) -> String {
        ask(&mut self.connect(), line)
    }

    /// The same about a target without TLS.
    #[track_caller]
    pub fn ask_about(&self, target: SocketAddr) -> String {
        self.ask(&format!("{} {} no-ssl {target}", target.ip(), target.port()))
    }

    /// What it has said so far, where that is JSON.
    pub fn log(&self) -> Vec<Value> {
        objects(&self.dir.path().join("stderr"))
    }

    /// All that it has said so far.
    pub fn stderr(&self) -> String {
        read(&self.dir.path().join("stderr"))
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        poll::until_some(within, "the agent has ended", || self.child.try_wait().unwrap())
    }
}

impl Drop for AgentProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer to one line on a connection, without its end; empty when the connection ends.
#[track_caller]
pub fn ask(stream: &mut TcpStream, line: &str) -> String {
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    answer(stream)
}

/// The next answer on a connection, without its end; empty when the connection ends.
#[track_caller]
pub fn answer(stream: &mut impl Read) -> String {
    let mut text = String::new();
    BufReader::with_capacity(1, stream).read_line(&mut text).unwrap();
    text.trim_end().to_owned()
}

fn objects(log: &Path) -> Vec<Value> {
    // The last line may be half written.
    read(log).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The program under test: `VITALS_AGENT`, or what `tasks/build-agent` makes. A missing one fails the test.
pub fn agent_binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        #[expect(clippy::disallowed_methods, reason = "the harness has no settings tree of its own")]
        let given = std::env::var_os("VITALS_AGENT");
        let path = given.map_or_else(build, PathBuf::from);
        assert!(path.is_file(), "no agent to test: {} (tasks/build-agent makes it)", path.display());
        path
    })
}

fn build() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tasks/build-agent");
    let built = Command::new(&script).stderr(Stdio::piped()).output().unwrap();
    assert!(built.status.success(), "the agent does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    String::from_utf8(built.stdout).unwrap().trim_end().into()
}

/// What it says when it answers.
const LISTENING: &str = "HAProxy gRPC agent listening";
