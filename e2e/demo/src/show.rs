//! For people: everything runs, and what happens is printed until Ctrl-C.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use haproxy_vitals_tests::{GrpcBackend, SpanView, poll};

use crate::stage::{self, Stage};
use crate::states::States;
use crate::traffic::{Doors, Traffic};
use crate::tree::{Tree, trees};
use crate::{Fault, Stop, say};

/// Runs until it is told to stop, or until nobody reads what it prints.
pub(crate) fn run(stop: &Stop) -> Result<(), Fault> {
    let (sender, spans) = mpsc::channel();
    // The sender stays: without one, waiting for spans would not wait.
    let stage = if stage::has_endpoint() { Stage::start_with_environment() } else { Stage::start(sender.clone()) }?;
    say(&introduction(&stage))?;
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
    if end.is_ok() {
        let Stage { haproxy, .. } = stage;
        haproxy.finish();
    }
    end
}

/// What runs, and where to look at it.
pub(crate) fn introduction(stage: &Stage) -> String {
    let doors = Doors::of(stage);
    let mut lines = vec![
        format!("HAProxy {} runs with the module.\n", stage.haproxy.info("Version")),
        format!(
            "  try            curl -i 'http://{}/api/items/7?x=1'   (and / /denied /missing /slow /broken)",
            doors.http
        ),
        format!("  gRPC           {}, HTTP/2 without TLS, grpc.health.v1.Health", doors.grpc),
        match &stage.collector {
            Some(collector) => format!("  traces         {}", collector.page.link()),
            None => {
                "  traces         go where OTEL_EXPORTER_OTLP_* says: no page here, and no trace printed".to_owned()
            }
        },
    ];
    for (what, name) in
        [("configuration", "haproxy.cfg"), ("", "vitals.toml"), ("log", "syslog.log"), ("stats socket", "stats.sock")]
    {
        lines.push(format!("  {what:<14} {}", stage.file(name).display()));
    }
    lines.push("\nThe server grpc2 stops serving and comes back every few seconds. Ctrl-C ends it all.\n".to_owned());
    lines.join("\n")
}

/// What is told as time goes by.
struct Story {
    begin: Instant,
    states: States,
    last_tree: Option<Instant>,
    /// How often a trace of each target was shown.
    shown: BTreeMap<String, u64>,
    flips: u32,
}

impl Story {
    fn begin() -> Self {
        Self { begin: Instant::now(), states: States::default(), last_tree: None, shown: BTreeMap::new(), flips: 0 }
    }

    fn go_on(&mut self, stage: &Stage, batch: &[SpanView]) -> std::io::Result<()> {
        for change in self.states.changes(&stage.haproxy) {
            self.tell(&change.to_string())?;
        }
        if self.last_tree.is_none_or(|last| last.elapsed() >= TREE_PAUSE) {
            self.show_one(batch)?;
        }
        let [_, second] = &stage.grpc;
        if self.begin.elapsed() >= FLIP * (self.flips + 1) {
            self.flip(second)?;
            stage.forget();
        }
        Ok(())
    }

    /// The trace of the batch whose like was shown least.
    fn show_one(&mut self, batch: &[SpanView]) -> std::io::Result<()> {
        let shown = |tree: &Tree| self.shown.get(&tree.target).copied().unwrap_or(0);
        let Some(tree) = trees(batch).min_by_key(shown) else { return Ok(()) };
        self.last_tree = Some(Instant::now());
        if self.shown.len() >= TARGETS {
            self.shown.clear();
        }
        *self.shown.entry(tree.target).or_default() += 1;
        self.tell(&tree.text)
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
/// Between two traces that are printed, at least.
const TREE_PAUSE: Duration = Duration::from_millis(500);
/// Between two changes of the second gRPC backend.
const FLIP: Duration = Duration::from_secs(6);
/// So many are told apart; then counting begins again.
const TARGETS: usize = 100;
const SAME_TIME: Duration = Duration::from_secs(1);
