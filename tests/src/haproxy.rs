//! A running HAProxy: its processes, its sockets, its log.

mod binary;
mod builder;
mod check;
mod log;
mod process;
mod reload;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, thread};

use nix::sys::signal::Signal;
use tempfile::TempDir;

pub use binary::{haproxy_binary, haproxy_of, is_since, lua_dir, module_dir, package};
pub use builder::Builder;
pub use check::CheckOutcome;
pub use process::Pid;

use crate::poll::{self, SOON};
use crate::port::Port;

/// How HAProxy runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One process, `-db`.
    #[default]
    Foreground,
    /// A master and its worker in the foreground, `-W`.
    MasterWorker,
    /// One process in the background, `-D`. Nothing that it writes to its own output is seen.
    Daemon,
    /// A master and its worker in the background, `-W -D`.
    MasterWorkerDaemon,
}

impl Mode {
    /// Whether there is a master.
    pub fn has_master(self) -> bool {
        matches!(self, Self::MasterWorker | Self::MasterWorkerDaemon)
    }

    /// Whether it leaves its starter's terminal.
    pub fn is_daemon(self) -> bool {
        matches!(self, Self::Daemon | Self::MasterWorkerDaemon)
    }
}

/// A HAProxy that answers. Dropping it kills its processes; when a test panics, its log is printed first.
pub struct Haproxy {
    dir: TempDir,
    ports: BTreeMap<String, Port>,
    values: BTreeMap<String, String>,
    mode: Mode,
    pid: Pid,
    stats: bool,
    _sink: Option<log::Sink>,
    allowed_alerts: Vec<String>,
    killed: AtomicBool,
    exit: Mutex<Option<ExitStatus>>,
}

impl Haproxy {
    /// Begins with the text of a configuration; see [`Builder`] for its placeholders.
    pub fn config(text: &str) -> Builder {
        Builder::new(text)
    }

    /// Runs `haproxy -c` on a configuration.
    pub fn check(text: &str) -> CheckOutcome {
        Self::config(text).check()
    }

    /// The port that stands for `${port:NAME}`.
    #[track_caller]
    pub fn port(&self, name: &str) -> u16 {
        self.addr(name).port()
    }

    /// The address that `bind 127.0.0.1:${port:NAME}` listens on.
    #[track_caller]
    pub fn addr(&self, name: &str) -> SocketAddr {
        self.ports.get(name).unwrap_or_else(|| panic!("the configuration has no ${{port:{name}}}")).addr()
    }

    /// The folder of its files, `${dir}`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command on the stats socket and returns the answer.
    #[track_caller]
    pub fn cli(&self, command: &str) -> String {
        self.try_cli(command).unwrap_or_else(|e| panic!("stats socket: {command}: {e}"))
    }

    /// Runs a command on the stats socket, which may be closed.
    pub fn try_cli(&self, command: &str) -> std::io::Result<String> {
        ask(&self.dir().join(builder::STATS_SOCKET), command)
    }

    /// Runs a command on the master's socket.
    #[track_caller]
    pub fn master_cli(&self, command: &str) -> String {
        self.try_master_cli(command).unwrap_or_else(|e| panic!("master socket: {command}: {e}"))
    }

    fn try_master_cli(&self, command: &str) -> std::io::Result<String> {
        ask(&self.dir().join(builder::MASTER_SOCKET), command)
    }

    /// One field of `show info`.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let answer = self.cli("show info");
        let found = answer.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("show info has no `{field}`:\n{answer}")).to_owned()
    }

    /// Writes a file into its folder, with the placeholders of the configuration replaced; `haproxy.cfg` is the configuration.
    pub fn write(&self, name: &str, contents: &str) {
        fs::write(self.dir().join(name), builder::contents(name, contents, &self.values, &self.ports)).unwrap();
    }

    /// The process that was started: the master, or the only one.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The processes that serve, oldest first. Several during a reload.
    pub fn worker_pids(&self) -> Vec<Pid> {
        if !self.mode.has_master() {
            return if process::alive(self.pid) { vec![self.pid] } else { Vec::new() };
        }
        process::children(self.pid)
    }

    /// The process that serves; the newest one during a reload.
    #[track_caller]
    pub fn worker_pid(&self) -> Pid {
        *self.worker_pids().last().unwrap_or_else(|| panic!("no worker is alive\n{}", self.log()))
    }

    /// Resident memory of the worker.
    #[track_caller]
    pub fn rss_kib(&self) -> u64 {
        process::rss_kib(self.worker_pid())
    }

    /// Names of the worker's threads, sorted.
    #[track_caller]
    pub fn threads(&self) -> Vec<String> {
        process::threads(self.worker_pid())
    }

    /// How many file descriptors the worker has open.
    #[track_caller]
    pub fn open_fds(&self) -> usize {
        process::open_fds(self.worker_pid())
    }

    /// Everything that it wrote to its output, and to `${log}` if the configuration logs there.
    pub fn log(&self) -> String {
        log::read(self.dir())
    }

    /// Whether the log has this text already.
    pub fn log_contains(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits for a text in the log.
    #[track_caller]
    pub fn wait_log(&self, text: &str, within: Duration) {
        poll::until(within, &format!("`{text}` in the log of HAProxy"), || self.log_contains(text));
    }

    /// Asks it to finish what it serves and leave, `SIGUSR1`.
    pub fn soft_stop(&self) {
        self.signal(Signal::SIGUSR1);
    }

    /// Asks it to leave at once, `SIGTERM`.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// The terminal's Ctrl-C, `SIGINT`.
    pub fn interrupt(&self) {
        self.signal(Signal::SIGINT);
    }

    /// Ends it and its workers without asking, `SIGKILL`.
    pub fn kill(&self) {
        if self.try_exit().is_none() {
            self.killed.store(true, Ordering::Relaxed);
            process::kill_tree(self.pid);
        }
    }

    /// Sends any signal to the process that was started.
    pub fn signal(&self, signal: Signal) {
        // An id that is free again may be somebody else's.
        if self.try_exit().is_none() {
            process::signal(self.pid, signal);
        }
    }

    /// How it ended; `None` while it lives.
    pub fn try_exit(&self) -> Option<ExitStatus> {
        let mut exit = self.exit.lock().unwrap();
        *exit = exit.or_else(|| process::reap(self.pid));
        *exit
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&self, within: Duration) -> ExitStatus {
        let exit = poll::try_until(within, || self.try_exit());
        exit.unwrap_or_else(|| panic!("HAProxy still runs after {within:?}"))
    }

    /// Stops it, if it has not ended yet, and fails when it crashed or its log has an alert that was not allowed.
    #[track_caller]
    pub fn finish(self) {
        if self.try_exit().is_none() {
            self.terminate();
        }
        let exit = self.wait_exit(SOON);
        let killed = self.killed.load(Ordering::Relaxed);
        assert!(log::is_orderly(exit, killed), "HAProxy crashed: {exit}");
        let faults = log::faults(&self.log(), &self.allowed_alerts, killed);
        assert!(faults.is_empty(), "faults in the log of HAProxy:\n{}", faults.join("\n"));
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of HAProxy {} ---\n{}---", self.pid, self.log());
        }
        if self.exit.lock().is_ok_and(|exit| exit.is_none()) {
            process::kill_tree(self.pid);
            process::reap_within(self.pid, SOON);
        }
    }
}

/// One command on one of HAProxy's sockets. The master's closes only once the asking side has.
fn ask(socket: &PathBuf, command: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
