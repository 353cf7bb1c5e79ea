//! The real checker with many targets: CPU time, memory for each of them, and how late checks begin. HAProxy has no part
//! in it; the server that answers is another process. Then the agent's listener with many who ask.
//!
//! Arguments: `--targets N` (10000), `--seconds N` (30; a third of it for each part of the agent's), `--json FILE`. Fails
//! when a limit is exceeded.
#![expect(clippy::print_stdout, reason = "a program that measures")]

mod asking;
mod process;
mod server;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use haproxy_vitals::config::{BackendConfig, HealthConfig, RuntimeConfig};
use haproxy_vitals::health::{Checker, Force, ServerSeen};
use haproxy_vitals::runtime::Runtime;
use process::Answering;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == SERVE) {
        return server::serve();
    }
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let targets = option("--targets").map_or(Ok(10_000), |text| text.parse())?;
    let seconds = option("--seconds").map_or(Ok(30), |text| text.parse())?;
    let figures = measure(targets, Duration::from_secs(seconds))?;
    figures.print();
    if let Some(file) = option("--json") {
        std::fs::write(file, format!("{:#}\n", figures.json()))?;
    }
    figures.judge()
}

/// What was seen.
struct Figures {
    targets: u32,
    seconds: f64,
    /// From the first sweep until every target had its first result.
    start: Duration,
    /// First checks that found no room in their interval, and were put off by one.
    start_overdue: u64,
    checks: u64,
    overdue: u64,
    /// Seconds of CPU time in a second.
    cpu: f64,
    kib_per_target: f64,
    late_p50: Option<Duration>,
    late_p99: Option<Duration>,
    asking: asking::Figures,
}

fn measure(targets: u32, window: Duration) -> Result<Figures, Failure> {
    let server = Answering::start()?;
    let runtime = Runtime::start(&RuntimeConfig::default())?;
    let _inside = runtime.tasks().enter();
    let interval = Duration::from_secs(2);
    let backend = BackendConfig { interval, fast_interval: interval, ..BackendConfig::named("b") };
    let health = HealthConfig { backends: vec![backend], ..HealthConfig::default() };
    let checker = Checker::start(&health, runtime.tasks())?;
    let seen: Vec<ServerSeen> = (0..targets).map(|number| target(number, server.port())).collect();
    let before = process::resident_kib()?;

    let begun = Instant::now();
    checker.initial(&seen);
    await_up(&checker, targets)?;
    let (start, start_overdue) = (begun.elapsed(), overdue(&checker)?);
    // Two rounds: what the start has left behind is over.
    sleep(2 * interval);

    let (lateness, cpu, put_off) = (checker.lateness(), process::cpu()?, overdue(&checker)?);
    let begun = Instant::now();
    sleep(window);
    let seconds = begun.elapsed().as_secs_f64();
    let late = checker.lateness().since(&lateness);
    let cpu = process::cpu()?.saturating_sub(cpu).as_secs_f64() / seconds;
    let (put_off, resident) = (overdue(&checker)?.saturating_sub(put_off), process::resident_kib()?);
    // Their answers stay, and asking is measured alone.
    checker.stop();
    let figures = Figures {
        targets,
        seconds,
        start,
        start_overdue,
        checks: late.checks(),
        overdue: put_off,
        cpu,
        kib_per_target: resident.saturating_sub(before) as f64 / f64::from(targets),
        late_p50: late.within(0.5),
        late_p99: late.within(0.99),
        asking: asking::measure(&health, &checker, runtime.tasks(), window / 3)?,
    };
    runtime.stop(Duration::from_secs(1));
    Ok(figures)
}

/// Every target has an address of its own, and one server listens on all of them.
fn target(number: u32, port: u16) -> ServerSeen {
    let [_, high, middle, low] = (number + 1).to_be_bytes();
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, high + 1, middle, low)), port);
    ServerSeen {
        backend: "b".to_owned(),
        server: format!("s{number}"),
        id: u64::from(number),
        address: address.to_string(),
        status: "no check".to_owned(),
        native_check: false,
        tracks: false,
        tls: None,
        name: None,
        weight: None,
    }
}

fn await_up(checker: &Checker, targets: u32) -> Result<(), Failure> {
    let end = Instant::now() + START_DEADLINE;
    let mut up = 0;
    while up < targets as usize {
        up += checker.changes().iter().filter(|action| action.force == Some(Force::Up)).count();
        if Instant::now() > end {
            let summary = checker.describe();
            return Err(format!("only {up} of {targets} are up: {}", summary.lines().next().unwrap_or_default()).into());
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The checker's own count, in the first line of its description.
fn overdue(checker: &Checker) -> Result<u64, Failure> {
    let description = checker.describe();
    let count = description.split_once("overdue: ").map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()));
    Ok(count.and_then(|mut words| words.next()).ok_or("the description counts nothing overdue")?.parse()?)
}

impl Figures {
    fn print(&self) {
        println!("health checks of {} targets every 2 s, without HAProxy, for {:.0} s", self.targets, self.seconds);
        let start = self.start.as_secs_f64();
        println!("  start: all have a result after {start:.1} s ({} checks put off)", self.start_overdue);
        println!("  checks: {:.0} in a second, {} put off", self.checks as f64 / self.seconds, self.overdue);
        println!("  CPU: {:.3} s in a second, {:.0} us for a check", self.cpu, self.micros_per_check());
        println!("  memory: {:.1} KiB for a target", self.kib_per_target);
        println!("  late: half at most {}, 99 % at most {}", shown(self.late_p50), shown(self.late_p99));
        self.asking.print();
    }

    fn json(&self) -> serde_json::Value {
        let millis = |late: Option<Duration>| late.map(|late| late.as_millis());
        serde_json::json!({
            "targets": self.targets,
            "seconds": self.seconds,
            "start_seconds": self.start.as_secs_f64(),
            "start_overdue": self.start_overdue,
            "checks": self.checks,
            "overdue": self.overdue,
            "cpu_share": self.cpu,
            "cpu_us_per_check": self.micros_per_check(),
            "kib_per_target": self.kib_per_target,
            "late_ms_p50": millis(self.late_p50),
            "late_ms_p99": millis(self.late_p99),
            "agent": self.asking.json(),
        })
    }

    fn micros_per_check(&self) -> f64 {
        self.cpu * self.seconds * 1e6 / self.checks as f64
    }

    fn judge(&self) -> Result<(), Failure> {
        let rate = self.checks as f64 / self.seconds;
        let expected = f64::from(self.targets) / 2.0;
        let cpu = CPU_BASE + CPU_PER_TARGET * f64::from(self.targets);
        let faults = [
            (self.cpu > cpu, format!("more than {cpu:.2} s of CPU time in a second")),
            (self.kib_per_target > MAX_KIB, format!("a target takes more than {MAX_KIB} KiB")),
            (rate < 0.9 * expected, format!("{rate:.0} checks in a second instead of {expected:.0}")),
            (self.start > MAX_START, format!("the first results took longer than {MAX_START:?}")),
        ];
        let faults = faults.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text);
        let faults: Vec<String> = faults.chain(self.asking.faults()).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ").into()) }
    }
}

fn shown(late: Option<Duration>) -> String {
    late.map_or("more than 5 s".to_owned(), |late| format!("{} ms", late.as_millis()))
}

/// The argument that makes this program the server.
const SERVE: &str = "--serve";

/// With the next, half a core for 10 000 targets. A check of few costs more: it wakes threads that many would share.
const CPU_BASE: f64 = 0.1;
const CPU_PER_TARGET: f64 = 0.4 / 10_000.0;

/// Resident memory, the library's share of the runtime included.
const MAX_KIB: f64 = 40.0;

/// Three intervals, for 10 000 connections and as many first checks; twice that on a machine that does other things.
const MAX_START: Duration = Duration::from_secs(12);

/// Then something is wrong.
const START_DEADLINE: Duration = Duration::from_mins(1);
