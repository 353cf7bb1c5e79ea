//! For machines: the same, and a verdict on what came out. One line for each check.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::{Haproxy, SOON, SpanView, client, poll};

use crate::stage::{Collector, SERVICE, Stage};
use crate::states;
use crate::traffic::{Call, Doors, ROUND, Traffic};
use crate::{Fault, Stop, say};

/// Runs every check; `false` when one failed. The spans come to the demo's own collector, whatever the environment says.
pub(crate) fn run(stop: &Stop) -> Result<bool, Fault> {
    // Spans are taken from the receiver: it has them all.
    let (sender, _) = mpsc::channel();
    let stage = Stage::start(sender)?;
    let collector = stage.collector.as_ref().ok_or("no collector")?;
    let checks = Checks { stage: &stage, collector, doors: Doors::of(&stage) };
    let traffic = Traffic::start(checks.doors, PAUSE);
    let mut report = Report { stop, failed: 0 };

    report.line("both gRPC backends are up at the start", || checks.becomes(SECOND, "UP", SOON))?;
    report.line("every request of the round has an answer", || checks.round())?;
    report.line("/ has a SERVER span with a CLIENT span under it", || checks.pair("/", 200))?;
    report.line("/api/items/7?x=1 too, with path and query", || checks.items())?;
    report.line("the origin received the CLIENT span as its parent", || checks.traceparent())?;
    report.line("/denied has a SERVER span alone", || checks.denied())?;
    report.line("/missing is an error of the CLIENT span only", || checks.missing())?;
    report.line("/slow shows the time of the origin", || checks.slow())?;
    report.line("gRPC has a SERVER span with a CLIENT span under it", || checks.pair(GRPC_PATH, 200))?;
    report.line("NOT_SERVING takes the server down within two health intervals", || checks.flips_down())?;
    report.line("while it is down, no call goes to it", || checks.avoids_second())?;
    report.line("SERVING brings it up within two health intervals", || checks.flips_up())?;
    report.line("then it is called again", || checks.second_is_called())?;
    report.line("a client's trace goes on in HAProxy", || checks.continues())?;
    report.line("the page answers, and its script", || checks.page())?;
    report.line("the page finds a trace that began in HAProxy", || checks.page_has("/slow"))?;
    report.line("and one that began in the client", || checks.page_has(CONTINUED))?;
    let unanswered = traffic.stop();
    report.line("no request went unanswered", || (unanswered == 0).ok_or_say(|| unanswered.to_string()))?;
    report.line("no span was lost", || checks.nothing_lost())?;
    report.line("every span is as OTLP wants it", || checks.clean())?;
    let failed = report.failed;
    let mut report = Report { stop, failed };
    let Stage { haproxy, .. } = stage;
    report.line("HAProxy stops in order", || finish(haproxy))?;
    Ok(report.failed == 0)
}

/// Why a check failed.
type Verdict = Result<(), String>;

struct Report<'a> {
    stop: &'a Stop,
    failed: u32,
}

impl Report<'_> {
    fn line(&mut self, what: &str, check: impl FnOnce() -> Verdict) -> Result<(), Fault> {
        if self.stop.is_asked() {
            return Err("interrupted".into());
        }
        match check() {
            Ok(()) => say(&format!("ok   {what}"))?,
            Err(why) => {
                self.failed += 1;
                say(&format!("FAIL {what}: {why}"))?;
            }
        }
        Ok(())
    }
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

impl Checks<'_> {
    fn round(&self) -> Verdict {
        ROUND.into_iter().try_for_each(|call| self.doors.send(call)).map_err(|why| why.to_string())
    }

    /// The first SERVER span of a path, and the spans under it.
    fn trace(&self, path: &str) -> Result<(SpanView, Vec<SpanView>), String> {
        let receiver = &self.collector.receiver;
        let find = || receiver.server_spans().into_iter().find(|span| span.str("url.path") == Some(path));
        let server = poll::try_until(SOON, find).ok_or_else(|| format!("no SERVER span with url.path {path}"))?;
        let children = receiver.children_of(&server);
        Ok((server, children))
    }

    /// The SERVER and the CLIENT span of a path, proved to be a pair.
    fn both(&self, path: &str) -> Result<(SpanView, SpanView), String> {
        let (server, _) = self.trace(path)?;
        // A batch may end between the two.
        let receiver = &self.collector.receiver;
        let come = || Some(receiver.children_of(&server)).filter(|children| !children.is_empty());
        let mut children = poll::try_until(SOON, come).unwrap_or_default();
        let client = children.pop().ok_or_else(|| format!("no span under {server}"))?;
        (children.is_empty() && client.kind == SpanKind::Client).ok_or_say(|| format!("under {server}: {client}"))?;
        server.is_root().ok_or_say(|| format!("a parent from nowhere: {server}"))?;
        let inside = server.start_ns <= client.start_ns && client.end_ns <= server.end_ns;
        inside.ok_or_say(|| format!("{client} is not within {server}"))?;
        Ok((server, client))
    }

    fn pair(&self, path: &str, status: i64) -> Verdict {
        let (server, client) = self.both(path)?;
        for span in [&server, &client] {
            let found = span.int("http.response.status_code");
            (found == Some(status)).ok_or_say(|| format!("status {found:?} in {span}"))?;
        }
        Ok(())
    }

    fn items(&self) -> Verdict {
        let (server, client) = self.both("/api/items/7")?;
        has(&server, "http.request.method", "GET")?;
        has(&server, "url.query", "x=1")?;
        has(&server, "user_agent.original", "vitals-demo")?;
        has(&server, "haproxy.frontend.name", "www")?;
        has(&client, "haproxy.server.name", "app1")?;
        let name = server.resource.str("service.name");
        (name == Some(SERVICE)).ok_or_say(|| format!("service.name {name:?}"))
    }

    fn traceparent(&self) -> Verdict {
        let (_, client) = self.both("/api/items/7")?;
        let expected = format!("00-{}-{}-{:02x}", client.trace_id, client.span_id, client.flags & 0xff);
        let came = self.stage.app.requests();
        let found = came.iter().any(|seen| seen.headers_named("traceparent") == [expected.as_str()]);
        found.ok_or_say(|| format!("no request with {expected}"))
    }

    fn continues(&self) -> Verdict {
        let headers = [("traceparent", TRACEPARENT)];
        client::try_request(self.doors.http, "GET", CONTINUED, &headers, b"").map_err(|why| why.to_string())?;
        let (server, _) = self.trace(CONTINUED)?;
        let given = format!("00-{}-{}-01", server.trace_id, server.parent_id);
        (given == TRACEPARENT).ok_or_say(|| format!("{server} is not under {TRACEPARENT}"))
    }

    fn denied(&self) -> Verdict {
        let (server, children) = self.trace("/denied")?;
        let status = server.int("http.response.status_code");
        (status == Some(403)).ok_or_say(|| format!("status {status:?}"))?;
        children.is_empty().ok_or_say(|| format!("{} spans under it", children.len()))?;
        let came = self.stage.app.requests().iter().any(|seen| seen.target == "/denied");
        (!came).ok_or_say(|| "the origin saw it".to_owned())
    }

    fn missing(&self) -> Verdict {
        self.pair("/missing", 404)?;
        let (server, client) = self.both("/missing")?;
        has(&client, "error.type", "404")?;
        (!server.has("error.type")).ok_or_say(|| format!("error.type in {server}"))
    }

    fn slow(&self) -> Verdict {
        let (server, client) = self.both("/slow")?;
        let timer = server.int("haproxy.timer.response_headers").unwrap_or(0);
        let long = timer >= SLOW_MS && client.duration().as_millis() >= SLOW_MS.unsigned_abs().into();
        long.ok_or_say(|| format!("response timer {timer} ms, CLIENT span {:?}", client.duration()))
    }

    fn becomes(&self, server: &str, state: &str, within: Duration) -> Verdict {
        let begin = Instant::now();
        let is = || states::is(&self.stage.haproxy, server, state).then_some(());
        let found = poll::try_until(within, is);
        found.ok_or_else(|| format!("{server} is not {state} after {:?}", begin.elapsed()))
    }

    fn flips_down(&self) -> Verdict {
        let [_, second] = &self.stage.grpc;
        second.set_not_serving("");
        self.becomes(SECOND, "DOWN", TWO_INTERVALS)
    }

    fn flips_up(&self) -> Verdict {
        let [_, second] = &self.stage.grpc;
        second.set_serving("");
        self.becomes(SECOND, "UP", TWO_INTERVALS)
    }

    fn avoids_second(&self) -> Verdict {
        let begin = UNIX_EPOCH.elapsed().map_err(|why| why.to_string())?.as_nanos();
        for _ in 0..CALLS {
            self.doors.send(Call::Grpc).map_err(|why| why.to_string())?;
        }
        let since = |server| self.calls_to(server).filter(|span| u128::from(span.start_ns) > begin).count();
        let came = || (since("grpc1") + since("grpc2") >= CALLS).then_some(());
        poll::try_until(SOON, came).ok_or("the spans did not come")?;
        (since("grpc2") == 0).ok_or_say(|| format!("{} calls", since("grpc2")))
    }

    fn second_is_called(&self) -> Verdict {
        let before = self.calls_to("grpc2").count();
        let called = || (self.calls_to("grpc2").count() > before).then_some(());
        poll::try_until(SOON, called).ok_or_else(|| "no call".to_owned())
    }

    fn calls_to(&self, server: &'static str) -> impl Iterator<Item = SpanView> {
        let spans = self.collector.receiver.server_spans().into_iter();
        spans.filter(move |span| span.str("haproxy.server.name") == Some(server))
    }

    fn get(&self, path: &str) -> Result<String, String> {
        let answer = client::try_request(self.collector.page.addr(), "GET", path, &[], b"");
        let answer = answer.map_err(|why| format!("{path}: {why}"))?;
        (answer.status == 200).ok_or_say(|| format!("{path}: {}", answer.status))?;
        Ok(answer.text())
    }

    fn page(&self) -> Verdict {
        let page = self.get("/search")?;
        page.contains("<title>Jaeger UI</title>").ok_or_say(|| "another page".to_owned())?;
        let script = page.split('"').find(|text| text.starts_with("./static/index-"));
        let script = script.ok_or("no script in the page")?;
        self.get(script.trim_start_matches('.')).map(drop)
    }

    /// By its search, and by the trace's id.
    fn page_has(&self, path: &str) -> Verdict {
        let (server, children) = self.trace(path)?;
        let spans: Vec<&SpanView> = children.iter().chain([&server]).collect();
        let is_whole = |text: &str| spans.iter().all(|span| text.contains(&span.span_id));
        let search = format!("/api/traces?service={SERVICE}&limit=1000");
        let found = || self.get(&search).is_ok_and(|text| is_whole(&text)).then_some(());
        poll::try_until(SOON, found).ok_or("the search does not find it")?;
        let trace = self.get(&format!("/api/traces/{}", server.trace_id))?;
        is_whole(&trace).ok_or_say(|| "spans are missing".to_owned())
    }

    fn nothing_lost(&self) -> Verdict {
        let counts = || self.stage.haproxy.try_cli("show vitals traces").unwrap_or_default();
        let settled = || {
            let text = counts();
            let count = |name| count(&text, name);
            let ended = count("requests.started")? == count("requests.ended")?;
            (ended && count("spans.created")? == count("spans.exported")?).then_some(())
        };
        poll::try_until(SOON, settled).ok_or_else(counts)
    }

    fn clean(&self) -> Verdict {
        let violations = self.collector.receiver.violations();
        violations.is_empty().ok_or_say(|| violations.join("; "))
    }
}

fn has(span: &SpanView, key: &str, value: &str) -> Verdict {
    let found = span.str(key);
    (found == Some(value)).ok_or_say(|| format!("{key} is {found:?} in {span}"))
}

fn count(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn finish(haproxy: Haproxy) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| haproxy.finish())).map_err(|why| {
        let text = why.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("it does not").to_owned()
    })
}

const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
const SECOND: &str = "services/grpc2";
/// `interval` of vitals.toml, twice.
const TWO_INTERVALS: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);
const CALLS: usize = 6;
const CONTINUED: &str = "/continued";
/// The example of W3C Trace Context, section 3.2.3.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// What `/slow` takes at least.
const SLOW_MS: i64 = 300;
