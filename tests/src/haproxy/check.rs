//! `haproxy -c`: what it says, and what it starts while it does.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use super::process;
use crate::poll::{self, SOON};

/// What `haproxy -c` said.
#[derive(Debug)]
pub struct CheckOutcome {
    /// Whether it accepted the configuration.
    pub ok: bool,
    /// Standard output and error.
    pub output: String,
    /// The most threads that were seen at once: the process itself, and for a moment a second one of HAProxy's own, which
    /// loads libgcc. A thread that lives for less than the time between two looks is missed.
    pub threads_seen: usize,
    /// The names of the threads that were seen; HAProxy's own are all called `haproxy`.
    pub thread_names: Vec<String>,
}

pub(super) fn run(command: &mut Command) -> CheckOutcome {
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdout(Stdio::from(writer.try_clone().unwrap())).stderr(Stdio::from(writer));
    let pid = process::spawn(command);
    // The command holds the writing end too: the pipe ends only once both are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let output = thread::spawn(move || {
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });

    // The child has its starter's name until it is HAProxy.
    let starter = fs::read_to_string("/proc/thread-self/comm").unwrap();
    let (mut threads_seen, mut thread_names) = (0, Vec::new());
    let exit = poll::until_some(SOON, "the end of haproxy -c", || {
        let mut now = process::threads(pid);
        now.retain(|name| name != starter.trim_end());
        threads_seen = threads_seen.max(now.len());
        thread_names.extend(now);
        process::reap(pid)
    });
    thread_names.sort();
    thread_names.dedup();
    CheckOutcome { ok: exit.success(), output: output.join().unwrap(), threads_seen, thread_names }
}
