//! What HAProxy wrote, and which of it is a fault.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};
use std::{fs, io::Write};

/// Standard output and error.
pub(super) const OUTPUT: &str = "output.log";
/// What came to `${log}`.
const SYSLOG: &str = "syslog.log";

pub(super) fn read(dir: &Path) -> String {
    let read = |name| fs::read(dir.join(name)).unwrap_or_default();
    String::from_utf8_lossy(&[read(OUTPUT), read(SYSLOG)].concat()).into_owned()
}

/// Lines that no healthy HAProxy writes. Alerts that tell of an end by a signal that was asked for are none.
pub(super) fn faults(log: &str, allowed: &[String], killed: bool) -> Vec<String> {
    let crash = ["panicked", "Aborted", "Segmentation fault", "core dumped", "AddressSanitizer"];
    let asked = |line: &str| {
        let by_signal = line.contains("exited with code 143") || line.contains("exited with code 130");
        by_signal || (killed && line.contains("exited with code 137"))
    };
    let is_fault = |line: &&str| {
        // HAProxy writes the first, Lua's `core.Alert` the second.
        let alert = (line.contains("[ALERT]") || line.contains("[alert]")) && !asked(line);
        // The master warns only, where the signal is the one that it sends itself.
        let killed_by_reload = line.contains("exited with code 138");
        (alert || killed_by_reload || crash.iter().any(|text| line.contains(text)))
            && !allowed.iter().any(|text| line.contains(text))
    };
    log.lines().filter(is_fault).map(str::to_owned).collect()
}

/// Whether the messages of a reload say that the new worker did not come to be.
pub(super) fn tells_of_refusal(messages: &str) -> bool {
    const BEFORE_3_1: &str = "Loading failure!";
    ["Failed to load worker", "can't start a new worker", BEFORE_3_1].iter().any(|refusal| messages.contains(refusal))
}

/// Whether this is how a HAProxy ends that did not crash: with 0, or by a signal that was sent to it.
pub(super) fn is_orderly(exit: ExitStatus, killed: bool) -> bool {
    const SIGINT: i32 = 2;
    const SIGKILL: i32 = 9;
    const SIGTERM: i32 = 15;
    let signal = exit.signal().or_else(|| exit.code().and_then(|code| code.checked_sub(128)));
    exit.success() || matches!(signal, Some(SIGINT | SIGTERM)) || (killed && signal == Some(SIGKILL))
}

/// A syslog receiver, so that a daemon's log can be read too. One datagram, one line.
pub(super) struct Sink {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    pub(super) fn start(dir: &Path) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let mut file = File::create(dir.join(SYSLOG)).unwrap();
        let thread = thread::spawn(move || {
            let mut datagram = vec![0; 65_536];
            while let Ok(length @ 1..) = socket.recv(&mut datagram) {
                let _ = writeln!(file, "{}", String::from_utf8_lossy(&datagram[..length]).trim_end());
            }
        });
        Self { address, thread: Some(thread) }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // An empty datagram ends the thread.
        let told = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.send_to(&[], self.address));
        if let (Ok(_), Some(thread)) = (told, self.thread.take()) {
            let _ = thread.join();
        }
    }
}
