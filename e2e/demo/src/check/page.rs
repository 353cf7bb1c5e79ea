//! Whether the page is there, and shows the traces.

use haproxy_vitals_tests::{SOON, SpanView, client, poll};

use super::{Checks, OrSay, Verdict};
use crate::stage::SERVICE;

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
