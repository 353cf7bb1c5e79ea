//! For machines: the same, and a verdict on what came out. One line for each check.

mod health;
mod page;
mod spans;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use haproxy_vitals_tests::Haproxy;

use crate::stage::{Collector, Stage};
use crate::traffic::{Doors, Traffic};
use crate::{Fault, Stop, say};

/// Runs every check; `false` when one failed. The spans come to the demo's own collector, whatever the environment says.
pub(crate) fn run(stop: &Stop) -> Result<bool, Fault> {
    // Spans are taken from the receiver: it has them all.
    let (sender, _) = mpsc::channel();
    let stage = Stage::start(sender)?;
    let failed = verify(&stage, stop)?;
    if failed > 0 {
        say(&format!("--- log of HAProxy ---\n{}---", stage.haproxy.log()))?;
    }
    let Stage { haproxy, .. } = stage;
    let end = verdict("HAProxy stops in order", &finish(haproxy))?;
    Ok(failed == 0 && end)
}

/// Returns how many checks failed.
fn verify(stage: &Stage, stop: &Stop) -> Result<u32, Fault> {
    let collector = stage.collector.as_ref().ok_or("no collector")?;
    let checks = Checks { stage, collector, doors: Doors::of(stage) };
    let traffic = Traffic::start(checks.doors, PAUSE);
    let mut report = Report { haproxy: &stage.haproxy, stop, failed: 0 };

    report.line("both gRPC backends are up at the start", || checks.both_up())?;
    report.line("every request of the round has an answer", || checks.round())?;
    report.line("/ has a SERVER span with a CLIENT span under it", || checks.pair("/", 200))?;
    report.line("/api/items/7?x=1 too, with path and query", || checks.items())?;
    report.line("the origin received the CLIENT span as its parent", || checks.traceparent())?;
    report.line("/denied has a SERVER span alone", || checks.denied())?;
    report.line("/missing is an error of the CLIENT span only", || checks.missing())?;
    report.line("/slow shows the time of the origin", || checks.slow())?;
    report.line("/broken is a 503 after two retries", || checks.broken())?;
    report.line("of two at once, one waits in the queue", || checks.queue())?;
    report.line("a client that leaves is told from an error", || checks.abort())?;
    report.line("gRPC has a SERVER span with a CLIENT span under it", || checks.pair(GRPC_PATH, 200))?;
    report.line("NOT_SERVING takes the server down within two health intervals", || checks.flips_down())?;
    report.line("while it is down, no call goes to it", || checks.avoids_second())?;
    report.line("SERVING brings it up within two health intervals", || checks.flips_up())?;
    report.line("then it is called again", || checks.second_is_called())?;
    report.line("a client's trace goes on in HAProxy", || checks.continues())?;
    report.line("the page answers, and its script", || checks.page())?;
    report.line("the link that is printed shows the newest trace", || checks.link())?;
    report.line("the page finds a trace that began in HAProxy", || checks.page_has("/slow"))?;
    report.line("and one that began in the client", || checks.page_has(CONTINUED))?;
    let unanswered = traffic.stop();
    report.line("no request went unanswered", || (unanswered == 0).ok_or_say(|| unanswered.to_string()))?;
    report.line("no span was lost", || checks.nothing_lost())?;
    report.line("every span is as OTLP wants it", || checks.clean())?;
    Ok(report.failed)
}

/// Why a check failed.
type Verdict = Result<(), String>;

struct Report<'a> {
    haproxy: &'a Haproxy,
    stop: &'a Stop,
    failed: u32,
}

impl Report<'_> {
    /// An error is that the rest makes no sense.
    fn line(&mut self, what: &str, check: impl FnOnce() -> Verdict) -> Result<(), Fault> {
        self.failed += u32::from(!verdict(what, &check())?);
        if self.stop.is_asked() {
            return Err("interrupted".into());
        }
        match self.haproxy.try_exit() {
            Some(exit) => Err(format!("HAProxy ended: {exit}\n{}", self.haproxy.log()).into()),
            None => Ok(()),
        }
    }
}

/// Prints it, and says whether it is a good one.
fn verdict(what: &str, verdict: &Verdict) -> Result<bool, Fault> {
    match verdict {
        Ok(()) => say(&format!("ok   {what}"))?,
        Err(why) => say(&format!("FAIL {what}: {why}"))?,
    }
    Ok(verdict.is_ok())
}

/// A condition with the reason why it does not hold.
trait OrSay {
    fn ok_or_say(self, why: impl FnOnce() -> String) -> Verdict;
}

impl OrSay for bool {
    fn ok_or_say(self, why: impl FnOnce() -> String) -> Verdict {
        if self { Ok(()) } else { Err(why()) }
    }
}

struct Checks<'a> {
    stage: &'a Stage,
    collector: &'a Collector,
    doors: Doors,
}

fn finish(haproxy: Haproxy) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| haproxy.finish())).map_err(|why| {
        let text = why.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("it does not").to_owned()
    })
}

const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
/// Its client brings a trace along.
const CONTINUED: &str = "/continued";
/// Between two requests in the background.
const PAUSE: Duration = Duration::from_millis(50);
