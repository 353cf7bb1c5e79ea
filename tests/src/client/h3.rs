//! HTTP/3, by a client that others wrote.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::third_party::installed;

/// Paths with their `traceparent`, over one connection and all at once; the status of each. The certificate is not looked at.
#[track_caller]
pub fn h3_get_each(addr: SocketAddr, asked: &[(String, String)]) -> Vec<u16> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/python/http3.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(addr.port().to_string()).env("PYTHONPATH", installed().join("python"));
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let lines: Vec<_> = asked.iter().map(|(path, traceparent)| format!("{path} {traceparent}")).collect();
    // It reads everything before it writes.
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|status| status.parse().unwrap()).collect()
}
