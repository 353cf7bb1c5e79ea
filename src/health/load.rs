//! Where a server tells its load: in the metadata of its answers, or in a stream of reports. What it says becomes its weight.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use prost::Message;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::call::{self, Answers, Frame};
use super::fault::LinkFault;
use super::orca::{self, Interval, OrcaLoadReport, OrcaLoadReportRequest, ReportError};
use super::probe::GrpcProbe;
use super::voice::Voice;
use super::watch::Backoff;
use super::weight::Weigher;
use crate::config::{OrcaReport, WeightConfig};
use crate::log::{Level, RateLimit};
use crate::runtime::Stop;
use crate::stats;

/// One server's load. Its check and its stream write, the checker reads.
pub(crate) struct Meter {
    config: WeightConfig,
    backend: String,
    server: String,
    voice: Arc<Voice>,
    state: Mutex<State>,
}

struct State {
    weigher: Weigher,
    /// Lines about reports that cannot be read.
    malformed: RateLimit,
    /// HAProxy does not take weights for it: nothing is asked any more.
    refused: bool,
    /// Warnings that were said.
    coarse: bool,
}

impl Meter {
    /// None where no source is configured.
    pub(crate) fn of(config: &WeightConfig, backend: &str, server: &str, voice: &Arc<Voice>) -> Option<Arc<Self>> {
        let state =
            State { weigher: Weigher::new(config), malformed: RateLimit::per(REPEAT), refused: false, coarse: false };
        let (backend, server, voice) = (backend.to_owned(), server.to_owned(), Arc::clone(voice));
        let meter = || Arc::new(Self { config: config.clone(), backend, server, voice, state: Mutex::new(state) });
        config.is_on().then(meter)
    }

    /// Reads an answer's headers or trailers.
    pub(crate) fn hear(&self, headers: &HeaderMap) {
        if let Some(value) = self.config.metadata.as_ref().and_then(|name| headers.get(name)) {
            let percent = value.to_str().ok().and_then(percent_of);
            return percent.map_or_else(|| self.malformed(ReportError::Malformed), |percent| self.take(percent));
        }
        if self.config.orca.is_none() || self.config.orca_report != OrcaReport::Trailers {
            return;
        }
        match orca::read(headers) {
            Ok(Some(report)) => self.weigh(&report),
            Ok(None) => {}
            Err(error) => self.malformed(error),
        }
    }

    /// What HAProxy is to give the server, in percent of its own weight; none when that is left as it is.
    pub(crate) fn wanted(&self) -> Option<u8> {
        let mut state = self.state();
        if state.weigher.expire(Instant::now()) {
            let name = format!("{}/{}", self.backend, self.server);
            let expiry = self.config.expiry.as_secs();
            self.voice.say(Level::Notice, format!("{name}: no load report for {expiry} s: its weight is whole again"));
        }
        (state.weigher.is_reported() && !state.refused).then(|| state.weigher.weight())
    }

    /// HAProxy's answer to a weight: it does not take it, and is not asked again.
    pub(crate) fn refuse(&self, reason: &str) {
        let mut state = self.state();
        if std::mem::replace(&mut state.refused, true) {
            return;
        }
        let name = format!("{}/{}", self.backend, self.server);
        self.voice.say(Level::Warning, format!("{name}: HAProxy refuses a weight from its load: {reason}"));
    }

    /// Says once that percentages of a weight as small as `initial` are coarse.
    pub(crate) fn warn_of_coarse(&self, initial: u32) {
        if std::mem::replace(&mut self.state().coarse, true) {
            return;
        }
        let name = format!("{}/{}", self.backend, self.server);
        self.voice.say(
            Level::Warning,
            format!("{name}: its weight in HAProxy's configuration is {initial}, so percentages of it round badly: set `weight 100`"),
        );
    }

    fn weigh(&self, report: &OrcaLoadReport) {
        let load = self.config.orca.as_ref().and_then(|metric| report.load(metric));
        if let Some(load) = load {
            self.take(orca::percent(load));
        }
    }

    fn take(&self, percent: f64) {
        if self.state().weigher.report(percent, Instant::now()) {
            self.voice.note_change(&self.backend, &self.server);
        }
    }

    fn malformed(&self, error: ReportError) {
        stats::LOAD_REPORTS_MALFORMED.add(1);
        let Some(more) = self.state().malformed.pass(Instant::now().into_std()) else { return };
        let name = format!("{}/{}", self.backend, self.server);
        self.voice.say(Level::Warning, format!("{name}: its load report is not used: {error} ({more} more before)"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads `StreamCoreMetrics` until the process stops. Attempts follow as [`Backoff`] has them; a server without the service is
/// asked again after [`NOT_OFFERED`].
/// Connecting takes part in `doors`: after an outage, and at the start, all servers want a connection at once.
pub(crate) async fn run(meter: Arc<Meter>, mut probe: GrpcProbe, doors: Arc<Semaphore>, mut stop: Stop) {
    tokio::select! {
        () = streams(&meter, &mut probe, &doors) => {}
        () = stop.wait() => {}
    }
}

async fn streams(meter: &Meter, probe: &mut GrpcProbe, doors: &Semaphore) {
    let mut backoff = Backoff::default();
    let mut said = false;
    loop {
        let mut heard = false;
        let end = stream(meter, probe, doors, &mut heard).await;
        if heard {
            backoff = Backoff::default();
        }
        if let Ok(UNIMPLEMENTED) = end {
            if !std::mem::replace(&mut said, true) {
                let name = format!("{}/{}", meter.backend, meter.server);
                meter.voice.say(Level::Warning, format!("{name}: it has no {SERVICE}, which `orca_report` asks for"));
            }
            sleep(NOT_OFFERED).await;
        } else {
            sleep(backoff.next(rand::random())).await;
        }
    }
}

/// One stream, to its end: the code.
async fn stream(meter: &Meter, probe: &mut GrpcProbe, doors: &Semaphore, heard: &mut bool) -> Result<i32, LinkFault> {
    let link = {
        // An error would mean that nobody may pass any more, which does not happen.
        let _permit = doors.acquire().await;
        probe.connect(Instant::now() + probe.profile.config.connect_timeout).await?
    };
    let request = probe.request_to(PATH).ok_or(LinkFault::Malformed("no such path"))?;
    let body = call::frame_of(&question(meter.config.orca_interval));
    let silence = meter.config.expiry;
    let late = || LinkFault::Timeout(silence.as_millis());
    let mut answers =
        timeout(silence, Answers::of(&link, request, body, None)).await.unwrap_or_else(|_| Err(late()))?;
    loop {
        match timeout(silence, answers.frame()).await.unwrap_or_else(|_| Err(late()))? {
            Frame::End(code, _) => return Ok(code),
            Frame::Message(bytes) => match orca::decode(&bytes) {
                Ok(report) => {
                    *heard = true;
                    meter.weigh(&report);
                }
                Err(error) => meter.malformed(error),
            },
        }
        // What a server may make us do by talking is bounded: the rest waits in its own buffers.
        sleep(PACE).await;
    }
}

fn question(interval: Duration) -> Bytes {
    let seconds = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(interval.subsec_nanos()).unwrap_or_default();
    let request = OrcaLoadReportRequest { report_interval: Some(Interval { seconds, nanos }) };
    Bytes::from(request.encode_to_vec())
}

/// `75`, `75%`, `75.5`.
fn percent_of(text: &str) -> Option<f64> {
    let text = text.trim();
    let number: f64 = text.strip_suffix('%').unwrap_or(text).trim_end().parse().ok()?;
    (0.0..=100.0).contains(&number).then_some(number)
}

const SERVICE: &str = "xds.service.orca.v3.OpenRcaService";
const PATH: &str = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics";
const UNIMPLEMENTED: i32 = 12;

/// A server without the service is asked again after so long: it may have been replaced.
const NOT_OFFERED: Duration = Duration::from_mins(5);
/// Between two reports of one server that are looked at.
const PACE: Duration = Duration::from_millis(10);
/// Reports that cannot be read are said at most this often for one server.
const REPEAT: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_number_of_percent() {
        for (text, percent) in [
            ("75", Some(75.0)),
            (" 0.5 % ", Some(0.5)),
            ("100%", Some(100.0)),
            ("101", None),
            ("-1", None),
            ("NaN", None),
            ("", None),
        ] {
            assert_eq!(percent_of(text), percent, "{text}");
        }
    }

    #[test]
    fn the_question_names_the_interval() {
        // Field 1, 2 bytes: field 1 of the Duration, 10.
        assert_eq!(question(Duration::from_secs(10)).as_ref(), [0x0a, 2, 8, 10]);
    }
}
