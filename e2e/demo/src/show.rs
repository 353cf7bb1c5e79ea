//! For people: everything runs, and what happens is printed until Ctrl-C.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::{GrpcBackend, SpanView, poll};

use crate::stage::{self, SERVICE, Stage};
use crate::states::States;
use crate::traffic::{Doors, Traffic};
use crate::tree::trees;
use crate::{Fault, Stop, say};

/// Runs until it is told to stop, or until nobody reads what it prints.
pub(crate) fn run(stop: &Stop) -> Result<(), Fault> {
    let (sender, spans) = mpsc::channel();
    // The sender stays: without one, waiting for spans would not wait.
    let stage = if stage::has_endpoint() { Stage::start_with_environment() } else { Stage::start(sender.clone()) }?;
    introduce(&stage)?;
    let traffic = Traffic::start(Doors::of(&stage), PAUSE);
    let mut story = Story::begin();
    let end = loop {
        if stop.is_asked() {
            break Ok(());
        }
        if let Some(exit) = stage.haproxy.try_exit() {
            // Ctrl-C reaches it too, and perhaps first.
            let asked = poll::try_until(SAME_TIME, || stop.is_asked().then_some(()));
            break asked.ok_or_else(|| format!("HAProxy ended: {exit}\n{}", stage.haproxy.log()).into());
        }
        let batch = spans.recv_timeout(TICK).unwrap_or_default();
        if story.go_on(&stage, &batch).is_err() {
            break Ok(());
        }
    };
    traffic.stop();
    let Stage { haproxy, .. } = stage;
    haproxy.finish();
    end
}

fn introduce(stage: &Stage) -> Result<(), Fault> {
    let doors = Doors::of(stage);
    say(&format!("HAProxy {} runs with the module.\n", stage.haproxy.info("Version")))?;
    say(&format!("  try            curl -i 'http://{}/api/items/7?x=1'   (and / /denied /missing /slow)", doors.http))?;
    say(&format!("  gRPC           {}, HTTP/2 without TLS, grpc.health.v1.Health", doors.grpc))?;
    match &stage.collector {
        Some(collector) => say(&format!("  traces         http://{}/search?service={SERVICE}", collector.page.addr()))?,
        None => say("  traces         go where OTEL_EXPORTER_OTLP_* says: no page here, and no trace printed")?,
    }
    for (what, name) in
        [("configuration", "haproxy.cfg"), ("", "vitals.toml"), ("log", "syslog.log"), ("stats socket", "stats.sock")]
    {
        say(&format!("  {what:<14} {}", stage.file(name).display()))?;
    }
    say("\nThe server grpc2 stops serving and comes back every few seconds. Ctrl-C ends it all.\n")?;
    Ok(())
}

/// What is told as time goes by.
struct Story {
    begin: Instant,
    states: States,
    last_tree: Option<Instant>,
    flips: u32,
}

impl Story {
    fn begin() -> Self {
        Self { begin: Instant::now(), states: States::default(), last_tree: None, flips: 0 }
    }

    fn go_on(&mut self, stage: &Stage, batch: &[SpanView]) -> std::io::Result<()> {
        for change in self.states.changes(&stage.haproxy) {
            self.tell(&change.to_string())?;
        }
        for tree in trees(batch) {
            if self.last_tree.is_none_or(|last| last.elapsed() >= TREE_PAUSE) {
                self.last_tree = Some(Instant::now());
                self.tell(&tree)?;
                break;
            }
        }
        let [_, second] = &stage.grpc;
        if self.begin.elapsed() >= FLIP * (self.flips + 1) {
            self.flip(second)?;
            stage.forget();
        }
        Ok(())
    }

    fn flip(&mut self, backend: &GrpcBackend) -> std::io::Result<()> {
        self.flips += 1;
        if self.flips % 2 == 1 {
            backend.set_not_serving("");
            self.tell("grpc2 says NOT_SERVING from now on")
        } else {
            backend.set_serving("");
            self.tell("grpc2 says SERVING again")
        }
    }

    fn tell(&self, text: &str) -> std::io::Result<()> {
        say(&format!("{:7.2} s  {text}", self.begin.elapsed().as_secs_f64()))
    }
}

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(250);
/// How soon a change is seen.
const TICK: Duration = Duration::from_millis(50);
/// At most so often a trace is printed. Not a divisor of the traffic's round: each request has its turn.
const TREE_PAUSE: Duration = Duration::from_millis(700);
/// Between two changes of the second gRPC backend.
const FLIP: Duration = Duration::from_secs(6);
const SAME_TIME: Duration = Duration::from_secs(1);
