//! Whether the spans are right.

use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::{SOON, SpanView, client, poll};

use super::{CONTINUED, Checks, OrSay, Verdict};
use crate::stage::SERVICE;
use crate::traffic::{LEFT, QUEUED, ROUND};

impl Checks<'_> {
    pub(super) fn round(&self) -> Verdict {
        ROUND.into_iter().try_for_each(|call| self.doors.send(call)).map_err(|why| why.to_string())
    }

    /// The first SERVER span of a path, and the spans under it.
    pub(super) fn trace(&self, path: &str) -> Result<(SpanView, Vec<SpanView>), String> {
        let receiver = &self.collector.receiver;
        let find = || receiver.server_spans().into_iter().find(|span| span.str("url.path") == Some(path));
        let server = poll::try_until(SOON, find).ok_or_else(|| format!("no SERVER span with url.path {path}"))?;
        let children = receiver.children_of(&server);
        Ok((server, children))
    }

    /// The SERVER and the CLIENT span of a path, proved to be a pair.
    pub(super) fn both(&self, path: &str) -> Result<(SpanView, SpanView), String> {
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

    pub(super) fn pair(&self, path: &str, status: i64) -> Verdict {
        let (server, client) = self.both(path)?;
        for span in [&server, &client] {
            let found = span.int("http.response.status_code");
            (found == Some(status)).ok_or_say(|| format!("status {found:?} in {span}"))?;
        }
        Ok(())
    }

    pub(super) fn items(&self) -> Verdict {
        let (server, client) = self.both("/api/items/7")?;
        has(&server, "http.request.method", "GET")?;
        has(&server, "url.query", "x=1")?;
        has(&server, "user_agent.original", "vitals-demo")?;
        has(&server, "haproxy.frontend.name", "www")?;
        has(&client, "haproxy.backend.name", "api")?;
        has(&client, "haproxy.server.name", "api1")?;
        let name = server.resource.str("service.name");
        (name == Some(SERVICE)).ok_or_say(|| format!("service.name {name:?}"))
    }

    pub(super) fn traceparent(&self) -> Verdict {
        let (_, client) = self.both("/api/items/7")?;
        let expected = format!("00-{}-{}-{:02x}", client.trace_id, client.span_id, client.flags & 0xff);
        let came = self.stage.app.requests();
        let found = came.iter().any(|seen| seen.headers_named("traceparent") == [expected.as_str()]);
        found.ok_or_say(|| format!("no request with {expected}"))
    }

    pub(super) fn continues(&self) -> Verdict {
        let headers = [("traceparent", TRACEPARENT)];
        client::try_request(self.doors.http, "GET", CONTINUED, &headers, b"").map_err(|why| why.to_string())?;
        let (server, _) = self.trace(CONTINUED)?;
        let given = format!("00-{}-{}-01", server.trace_id, server.parent_id);
        (given == TRACEPARENT).ok_or_say(|| format!("{server} is not under {TRACEPARENT}"))
    }

    pub(super) fn denied(&self) -> Verdict {
        let (server, children) = self.trace("/denied")?;
        let status = server.int("http.response.status_code");
        (status == Some(403)).ok_or_say(|| format!("status {status:?}"))?;
        children.is_empty().ok_or_say(|| format!("{} spans under it", children.len()))?;
        let came = self.stage.app.requests().iter().any(|seen| seen.target == "/denied");
        (!came).ok_or_say(|| "the origin saw it".to_owned())
    }

    pub(super) fn missing(&self) -> Verdict {
        self.pair("/missing", 404)?;
        let (server, client) = self.both("/missing")?;
        has(&client, "error.type", "404")?;
        (!server.has("error.type")).ok_or_say(|| format!("error.type in {server}"))
    }

    pub(super) fn slow(&self) -> Verdict {
        let (server, client) = self.both("/slow")?;
        let timer = server.int("haproxy.timer.response_headers").unwrap_or(0);
        let long = timer >= SLOW_MS && client.duration().as_millis() >= SLOW_MS.unsigned_abs().into();
        long.ok_or_say(|| format!("response timer {timer} ms, CLIENT span {:?}", client.duration()))
    }

    pub(super) fn broken(&self) -> Verdict {
        let (server, client) = self.both("/broken")?;
        let status = server.int("http.response.status_code");
        (status == Some(503)).ok_or_say(|| format!("status {status:?}"))?;
        has(&client, "error.type", "connect_error")?;
        let retries = server.int("haproxy.retries");
        (retries == Some(2)).ok_or_say(|| format!("{retries:?} retries in {server}"))
    }

    pub(super) fn queue(&self) -> Verdict {
        let waited =
            |span: &SpanView| span.str("url.path") == Some(QUEUED) && span.int("haproxy.timer.queue") >= Some(QUEUE_MS);
        let find = || self.collector.receiver.server_spans().into_iter().find(waited);
        poll::try_until(SOON, find).map(drop).ok_or_else(|| format!("no {QUEUED} waited for {QUEUE_MS} ms"))
    }

    pub(super) fn abort(&self) -> Verdict {
        let (server, client) = self.both(LEFT)?;
        has(&server, "error.type", "client_abort")?;
        (!client.has("error.type")).ok_or_say(|| format!("error.type in {client}"))
    }

    pub(super) fn clean(&self) -> Verdict {
        let violations = self.collector.receiver.violations();
        violations.is_empty().ok_or_say(|| violations.join("; "))
    }

    pub(super) fn nothing_lost(&self) -> Verdict {
        let counts = || self.stage.haproxy.try_cli("show vitals traces").unwrap_or_default();
        let settled = || {
            let text = counts();
            let count = |name| count(&text, name);
            let ended = count("requests.started")? == count("requests.ended")?;
            (ended && count("spans.created")? == count("spans.exported")?).then_some(())
        };
        poll::try_until(SOON, settled).ok_or_else(counts)
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

/// Any that is valid, sampled.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// What `/slow` takes at least.
const SLOW_MS: i64 = 300;
/// What the second of two waits at least, of the first one's 150.
const QUEUE_MS: i64 = 50;
