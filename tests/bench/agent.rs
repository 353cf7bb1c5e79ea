//! `tasks/bench-agent`: how large the agent is as a program, how soon it answers, and what memory it takes, against their limits.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement fails by panicking, and prints"
)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::agent_program::agent_binary;
use haproxy_vitals_tests::{AgentBuilder, GrpcBackend, SOON};

fn main() -> ExitCode {
    let json = std::env::args().nth(1);
    let size = fs::metadata(agent_binary()).unwrap().len();
    let start = median_start();
    let (rss_kib, slowest) = under_load();
    let figures = [
        ("size_bytes", size, MAX_SIZE),
        ("start_ms", millis(start), MAX_START_MS),
        ("rss_kib", rss_kib, MAX_RSS_KIB),
        ("p99_answer_ms", millis(slowest), MAX_ANSWER_MS),
    ];
    let lines: Vec<_> = figures
        .iter()
        .map(|(name, value, limit)| {
            println!("{name:<14} {value:>10}  (at most {limit})");
            format!("  \"{name}\": {value}")
        })
        .collect();
    if let Some(path) = json {
        fs::write(path, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
    }
    let broken: Vec<_> = figures.iter().filter(|(_, value, limit)| value > limit).map(|(name, ..)| *name).collect();
    if broken.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("over the limit: {}", broken.join(", "));
    ExitCode::FAILURE
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// From the start of the process to `READY=1`.
fn median_start() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let mut command = Command::new(agent_binary());
            command.env_clear().env("NOTIFY_SOCKET", &path).stderr(Stdio::null());
            let begin = Instant::now();
            let free = ["--set", "agent.listen=127.0.0.1:0", "--set", "metrics.listen=127.0.0.1:0"];
            let mut agent = command.args(free).spawn().unwrap();
            let mut bytes = [0; 256];
            let read = socket.recv(&mut bytes).expect("READY=1");
            let time = begin.elapsed();
            assert!(bytes[..read].starts_with(b"READY=1"));
            agent.kill().unwrap();
            agent.wait().unwrap();
            time
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// Resident memory and the slowest hundredth of the answers, at [`RATE`] requests in a second: each on a connection of its own, as
/// HAProxy asks, about one of [`TARGETS`], each a check.
fn under_load() -> (u64, Duration) {
    let agent = AgentBuilder::new().args(&["--set", "agent.max_age=0ms"]).start();
    let targets: Vec<GrpcBackend> = (0..TARGETS).map(|_| GrpcBackend::start()).collect();
    let (begin, mut rss) = (Instant::now(), 0);
    let mut times = Vec::new();
    for number in 0..RATE * SECONDS {
        let due = begin + Duration::from_secs(1) * number / RATE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        assert_eq!(agent.ask_about(targets[number as usize % TARGETS].addr()), "up");
        times.push(asked.elapsed());
        rss = rss.max(agent.rss_kib());
    }
    let behind = begin.elapsed().saturating_sub(Duration::from_secs(u64::from(SECONDS)));
    assert!(behind < Duration::from_secs(1), "it did not keep up: {behind:?} late");
    times.sort();
    (rss, times[times.len() * 99 / 100])
}

/// 12 MiB.
const MAX_SIZE: u64 = 12 << 20;
const MAX_START_MS: u64 = 100;
/// 30 MiB.
const MAX_RSS_KIB: u64 = 30 << 10;
const MAX_ANSWER_MS: u64 = 200;
const STARTS: usize = 9;
const RATE: u32 = 100;
const SECONDS: u32 = 10;
const TARGETS: usize = 10;
