//! Whether servers follow what their backends say.

use std::time::{Duration, Instant, UNIX_EPOCH};

use haproxy_vitals_tests::{SOON, SpanView, poll};

use super::{Checks, OrSay, Verdict};
use crate::states;
use crate::traffic::Call;

impl Checks<'_> {
    pub(super) fn both_up(&self) -> Verdict {
        [FIRST, SECOND].into_iter().try_for_each(|server| self.becomes(server, "UP", SOON))
    }

    fn becomes(&self, server: &str, state: &str, within: Duration) -> Verdict {
        let begin = Instant::now();
        let is = || states::is(&self.stage.haproxy, server, state).then_some(());
        let found = poll::try_until(within, is);
        found.ok_or_else(|| format!("{server} is not {state} after {:?}", begin.elapsed()))
    }

    pub(super) fn flips_down(&self) -> Verdict {
        let [_, second] = &self.stage.grpc;
        second.set_not_serving("");
        self.becomes(SECOND, "DOWN", TWO_INTERVALS)
    }

    pub(super) fn flips_up(&self) -> Verdict {
        let [_, second] = &self.stage.grpc;
        second.set_serving("");
        self.becomes(SECOND, "UP", TWO_INTERVALS)
    }

    pub(super) fn avoids_second(&self) -> Verdict {
        let begin = UNIX_EPOCH.elapsed().map_err(|why| why.to_string())?.as_nanos();
        for _ in 0..CALLS {
            self.doors.send(Call::Grpc).map_err(|why| why.to_string())?;
        }
        let since = |server| self.calls_to(server).filter(|span| u128::from(span.start_ns) > begin).count();
        let came = || (since("grpc1") + since("grpc2") >= CALLS).then_some(());
        poll::try_until(SOON, came).ok_or("the spans did not come")?;
        (since("grpc2") == 0).ok_or_say(|| format!("{} calls", since("grpc2")))
    }

    pub(super) fn second_is_called(&self) -> Verdict {
        let before = self.calls_to("grpc2").count();
        let called = || (self.calls_to("grpc2").count() > before).then_some(());
        poll::try_until(SOON, called).ok_or_else(|| "no call".to_owned())
    }

    fn calls_to(&self, server: &'static str) -> impl Iterator<Item = SpanView> {
        let spans = self.collector.receiver.server_spans().into_iter();
        spans.filter(move |span| span.str("haproxy.server.name") == Some(server))
    }
}

const FIRST: &str = "services/grpc1";
const SECOND: &str = "services/grpc2";
/// `interval` of vitals.toml, twice.
const TWO_INTERVALS: Duration = Duration::from_secs(2);
const CALLS: usize = 6;
