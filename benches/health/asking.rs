//! The agent's listener under load: so many lines in a second over kept connections, first alone, then beside connections
//! that idle and others that do harm; then one connection for each line, as HAProxy asks.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream as Blocking};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use haproxy_vitals::config::{AgentConfig, HealthConfig};
use haproxy_vitals::health::{AgentListener, Checker};
use haproxy_vitals::runtime::Tasks;
use haproxy_vitals::stats;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::Failure;

/// What was seen.
pub(super) struct Figures {
    alone: Paced,
    crowded: Paced,
    /// Connections of what does harm, those that were made again too.
    hostile: u64,
    /// Lines in a second with a connection for each.
    singly: f64,
}

/// Lines at a given pace.
struct Paced {
    /// Answered in a second.
    rate: f64,
    /// From a line to its answer.
    p50: Duration,
    p99: Duration,
    worst: Duration,
}

/// Asks about `b/s0`, which is up. Each of the three parts takes `window`.
pub(super) fn measure(
    health: &HealthConfig,
    checker: &Checker,
    tasks: &Tasks,
    window: Duration,
) -> Result<Figures, Failure> {
    // Held, so that nobody else gets the port; the listener shares it.
    let port = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    port.set_reuse_port(true)?;
    port.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = port.local_addr()?.as_socket().ok_or("no port")?;
    let config = AgentConfig {
        listen: Some(address),
        max_connections: MAX_CONNECTIONS,
        max_lines: 1_000_000,
        idle_timeout: Duration::from_mins(5),
        ..AgentConfig::default()
    };
    let listener = AgentListener::bind(&config, health, checker, tasks)?.ok_or("it listens nowhere")?;
    let closer = listener.closer();
    tasks.spawn("agent door", listener.run(tasks.stop()));

    let clients = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut figures = attempt(&clients, address, window)?;
    for _ in 1..ATTEMPTS {
        if figures.faults().is_empty() {
            break;
        }
        figures = attempt(&clients, address, window)?;
    }
    clients.shutdown_timeout(Duration::ZERO);
    closer.close();
    let shed = stats::AGENT.shed.value();
    if shed > 0 {
        return Err(format!("{shed} connections had to leave, and there was room for all").into());
    }
    Ok(figures)
}

fn attempt(clients: &Runtime, address: SocketAddr, window: Duration) -> Result<Figures, Failure> {
    let alone = clients.block_on(paced(address, window))?;
    let (crowded, hostile) = clients.block_on(crowded(address, window))?;
    Ok(Figures { alone, crowded, hostile, singly: singly(address, window)? })
}

/// [`RATE`] lines in a second over [`ASKERS`] connections.
async fn paced(address: SocketAddr, window: Duration) -> Result<Paced, Failure> {
    let mut askers = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..ASKERS {
        askers.spawn(ask(address, begin + window));
    }
    let mut waits = Vec::new();
    while let Some(asked) = askers.join_next().await {
        waits.extend(asked??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    waits.sort_unstable();
    let within = |percent: usize| waits.get(waits.len() * percent / 100).copied().ok_or("nothing was answered");
    let worst = waits.last().copied().unwrap_or_default();
    Ok(Paced { rate: waits.len() as f64 / seconds, p50: within(50)?, p99: within(99)?, worst })
}

/// One connection's share; how long each answer took.
async fn ask(address: SocketAddr, end: Instant) -> Result<Vec<Duration>, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut ticks = interval(Duration::from_secs(1) * ASKERS / RATE);
    let mut waits = Vec::new();
    while Instant::now() < end {
        // What is late is made up for.
        ticks.tick().await;
        let asked = Instant::now();
        stream.write_all(LINE).await?;
        let mut answer = [0; UP.len()];
        stream.read_exact(&mut answer).await?;
        waits.push(asked.elapsed());
        is_right(&answer)?;
    }
    Ok(waits)
}

/// The same beside [`IDLE`] connections that say nothing and [`HOSTILE`] that do harm.
async fn crowded(address: SocketAddr, window: Duration) -> Result<(Paced, u64), Failure> {
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(TcpStream::connect(address).await?);
    }
    let made = Arc::new(AtomicU64::new(0));
    let mut hostile = JoinSet::new();
    for nth in 0..HOSTILE {
        let made = Arc::clone(&made);
        hostile.spawn(async move {
            loop {
                made.fetch_add(1, Ordering::Relaxed);
                // How it is got rid of is the listener's business.
                let _ = harm(address, nth).await;
                sleep(PAUSE).await;
            }
        });
    }
    let paced = paced(address, window).await;
    hostile.shutdown().await;
    Ok((paced?, made.load(Ordering::Relaxed)))
}

async fn harm(address: SocketAddr, nth: u32) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    match nth % 4 {
        // Bytes that trickle.
        0 => loop {
            stream.write_u8(b'x').await?;
            sleep(PAUSE).await;
        },
        // A line without an end.
        1 => loop {
            stream.write_all(&[b'x'; 4096]).await?;
        },
        // No text, in many lines.
        2 => {
            let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
            stream.write_all(&bytes).await?;
            stream.read(&mut [0; 4096]).await.map(drop)
        }
        // A line whose answer nobody waits for.
        _ => stream.write_all(LINE).await,
    }
}

/// A connection for each line, one after the other on each of [`SINGLE`] threads.
fn singly(address: SocketAddr, window: Duration) -> Result<f64, Failure> {
    let begin = Instant::now();
    let one = move || {
        let mut count = 0_u32;
        while begin.elapsed() < window {
            let mut stream = Blocking::connect(address)?;
            stream.write_all(LINE)?;
            let mut answer = [0; UP.len()];
            stream.read_exact(&mut answer)?;
            is_right(&answer)?;
            count += 1;
        }
        Ok::<_, Failure>(count)
    };
    let threads: Vec<_> = (0..SINGLE).map(|_| std::thread::spawn(one)).collect();
    let mut count = 0;
    for thread in threads {
        count += thread.join().map_err(|_| "an asker failed")??;
    }
    Ok(f64::from(count) / begin.elapsed().as_secs_f64())
}

fn is_right(answer: &[u8]) -> Result<(), Failure> {
    if answer == UP { Ok(()) } else { Err(format!("answered {:?}", String::from_utf8_lossy(answer)).into()) }
}

impl Figures {
    pub(super) fn print(&self) {
        println!("agent: {RATE} lines in a second over {ASKERS} connections, in this process too");
        println!("  alone: {}", self.alone);
        println!("  beside {IDLE} idle and {HOSTILE} hostile connections ({} made): {}", self.hostile, self.crowded);
        println!("  with a connection for each line: {:.0} in a second", self.singly);
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let paced = |paced: &Paced| {
            serde_json::json!({
                "lines_per_second": paced.rate,
                "answer_ms_p50": paced.p50.as_secs_f64() * 1e3,
                "answer_ms_p99": paced.p99.as_secs_f64() * 1e3,
                "answer_ms_worst": paced.worst.as_secs_f64() * 1e3,
            })
        };
        serde_json::json!({
            "alone": paced(&self.alone),
            "crowded": paced(&self.crowded),
            "hostile_connections": self.hostile,
            "connections_per_second": self.singly,
        })
    }

    /// What is wrong with these figures.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, paced) in [("alone", &self.alone), ("crowded", &self.crowded)] {
            if paced.rate < MIN_SHARE * f64::from(RATE) {
                faults.push(format!("agent, {name}: {:.0} lines in a second instead of {RATE}", paced.rate));
            }
            if paced.p99 > MAX_P99 {
                faults.push(format!("agent, {name}: 99 % of the answers took up to {:?}", paced.p99));
            }
        }
        faults
    }
}

impl std::fmt::Display for Paced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let (p50, p99, worst) = (millis(self.p50), millis(self.p99), millis(self.worst));
        write!(
            f,
            "{:.0} in a second, answers within {p50:.1} ms (half), {p99:.1} ms (99 %), {worst:.0} ms (all)",
            self.rate
        )
    }
}

const LINE: &[u8] = b"b/s0\n";
const UP: &[u8] = b"up\n";
/// Lines in a second: 20 000 servers, each asked about once in a second.
const RATE: u32 = 20_000;
/// Connections that ask. Each is due every 2.5 ms; timers are exact to 1 ms.
const ASKERS: u32 = 50;
const IDLE: u32 = 1000;
const HOSTILE: u32 = 100;
/// More than all of these together.
const MAX_CONNECTIONS: usize = 2048;
/// Threads that make a connection for each line.
const SINGLE: u32 = 2;
/// Of what does harm: between two bytes, and before the next connection.
const PAUSE: Duration = Duration::from_millis(50);
/// A twentieth of HAProxy's default `agent-inter`: far from where it would give up.
const MAX_P99: Duration = Duration::from_millis(100);
/// Of [`RATE`]: those who ask take as much of the machine as who answers.
const MIN_SHARE: f64 = 0.5;
/// A machine that does other things gets so many attempts.
const ATTEMPTS: u32 = 3;
