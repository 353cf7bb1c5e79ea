//! Processes as `/proc` shows them, and what is done to them.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::poll;

/// A process id.
pub type Pid = i32;

/// Starts a child that [`reap`] will wait for.
#[expect(clippy::zombie_processes, reason = "it is reaped by its id")]
pub(super) fn spawn(command: &mut Command) -> Pid {
    let child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    Pid::try_from(child.id()).unwrap()
}

/// The living children of a process, oldest first.
pub(super) fn children(parent: Pid) -> Vec<Pid> {
    let mut found: Vec<Stat> = processes().into_iter().filter(|p| p.parent == parent && p.lives()).collect();
    found.sort_by_key(|p| (p.started, p.pid));
    found.into_iter().map(|p| p.pid).collect()
}

/// Whether a process exists and is no zombie.
pub(super) fn alive(pid: Pid) -> bool {
    Stat::read(pid).is_some_and(|p| p.lives())
}

pub(super) fn rss_kib(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")).unwrap().parse().unwrap()
}

/// Names of a process's threads, sorted; none when it is gone.
pub(super) fn threads(pid: Pid) -> Vec<String> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim_end().to_owned()).collect();
    names.sort();
    names
}

pub(super) fn open_fds(pid: Pid) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Sends a signal; a process that is gone is no error.
pub(super) fn signal(pid: Pid, signal: Signal) {
    let _ = kill(nix::unistd::Pid::from_raw(pid), signal);
}

/// Kills a process and its descendants. Stopping each before looking for its children leaves none the time to fork.
pub(super) fn kill_tree(pid: Pid) {
    signal(pid, Signal::SIGSTOP);
    for child in children(pid) {
        kill_tree(child);
    }
    signal(pid, Signal::SIGKILL);
}

/// How a child ended; `None` while it lives or when somebody else has reaped it.
pub(super) fn reap(pid: Pid) -> Option<ExitStatus> {
    match waitpid(nix::unistd::Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus::from_raw(code << 8)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Some(ExitStatus::from_raw(signal as i32)),
        _ => None,
    }
}

/// Waits for the end of a child that was killed.
pub(super) fn reap_within(pid: Pid, within: Duration) -> Option<ExitStatus> {
    poll::try_until(within, || reap(pid))
}

/// Whether somebody listens on a TCP port of 127.0.0.1 or of all addresses, seen without connecting to it.
pub(super) fn is_listened_on(port: u16) -> bool {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&format!(":{port:04X}")) && fields.nth(1) == Some(LISTEN)
    })
}

/// The fields of `/proc/PID/stat` that matter here.
struct Stat {
    pid: Pid,
    state: char,
    parent: Pid,
    started: u64,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything: the fields are counted from its end.
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_whitespace().collect();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }
}

fn processes() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| Stat::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}
