//! Whether the page is there, and shows the traces.

use haproxy_vitals_tests::{SOON, SpanView, client, poll};

use super::{Checks, OrSay, Verdict};
use crate::show;
use crate::stage::SERVICE;
use crate::traffic::Call;

impl Checks<'_> {
    fn get(&self, path: &str) -> Result<String, String> {
        let answer = client::try_request(self.collector.page.addr(), "GET", path, &[], b"");
        let answer = answer.map_err(|why| format!("{path}: {why}"))?;
        (answer.status == 200).ok_or_say(|| format!("{path}: {}", answer.status))?;
        Ok(answer.text())
    }

    pub(super) fn page(&self) -> Verdict {
        let page = self.get("/search")?;
        page.contains("<title>Jaeger UI</title>").ok_or_say(|| "another page".to_owned())?;
        let script = page.split('"').find(|text| text.starts_with("./static/index-"));
        let script = script.ok_or("no script in the page")?;
        self.get(script.trim_start_matches('.')).map(drop)
    }

    /// What is printed for people opens the page, and the search that the page makes of it finds the newest trace.
    pub(super) fn link(&self) -> Verdict {
        let printed = show::introduction(self.stage);
        let link = printed.split_whitespace().find(|word| word.contains("/search")).ok_or("no link is printed")?;
        let here = format!("http://{}", self.collector.page.addr());
        let target = link.strip_prefix(&here).ok_or_else(|| format!("{link} is not at {here}"))?;
        let page = self.get(target)?;
        page.contains("<title>Jaeger UI</title>").ok_or_say(|| "another page".to_owned())?;

        self.doors.send(Call::Http(NEWEST)).map_err(|why| why.to_string())?;
        let (server, client) = self.both(NEWEST)?;
        // The page's script hands its own query on.
        let (_, query) = target.split_once('?').ok_or("the link has no query")?;
        let search = format!("/api/traces?{query}");
        let mut last = String::new();
        let found = poll::try_until(SOON, || {
            last = self.get(&search).unwrap_or_else(|why| why);
            (last.contains(&server.span_id) && last.contains(&client.span_id)).then_some(())
        });
        found.ok_or_else(|| format!("{search} does not show {server}: {}", last.chars().take(200).collect::<String>()))
    }

    /// By its search, and by the trace's id.
    pub(super) fn page_has(&self, path: &str) -> Verdict {
        let (server, children) = self.trace(path)?;
        let spans: Vec<&SpanView> = children.iter().chain([&server]).collect();
        let is_whole = |text: &str| spans.iter().all(|span| text.contains(&span.span_id));
        let search = format!("/api/traces?service={SERVICE}&limit=1000");
        let found = || self.get(&search).is_ok_and(|text| is_whole(&text)).then_some(());
        poll::try_until(SOON, found).ok_or("the search does not find it")?;
        let trace = self.get(&format!("/api/traces/{}", server.trace_id))?;
        is_whole(&trace).ok_or_say(|| "spans are missing".to_owned())
    }
}

/// Nobody asks for it before.
const NEWEST: &str = "/newest";
