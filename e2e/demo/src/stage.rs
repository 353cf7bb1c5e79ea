//! Everything that runs: HAProxy, what stands behind it, and where its spans go.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use haproxy_vitals_tests::{GrpcBackend, Haproxy, OtlpReceiver, SpanView, Upstream};
use prost::Message;

use crate::Fault;
use crate::page::Page;

/// The parts of the demo. HAProxy goes first when they are dropped, so that it misses none of the others.
pub(crate) struct Stage {
    pub(crate) haproxy: Haproxy,
    pub(crate) app: Upstream,
    pub(crate) grpc: [GrpcBackend; 2],
    /// None where the spans go to a collector of the user's.
    pub(crate) collector: Option<Collector>,
}

/// The demo's own collector, and the page that shows what came to it.
pub(crate) struct Collector {
    pub(crate) receiver: OtlpReceiver,
    pub(crate) page: Page,
}

impl Stage {
    /// Starts with a collector of its own, which hands every batch of spans to `spans`.
    pub(crate) fn start(spans: Sender<Vec<SpanView>>) -> Result<Self, Fault> {
        let collector = Collector::start(spans)?;
        let endpoint = collector.receiver.grpc_endpoint();
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
        Self::with(Some(collector), env.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    /// Starts with the exporter's settings as the environment has them.
    pub(crate) fn start_with_environment() -> Result<Self, Fault> {
        Self::with(None, environment())
    }

    fn with(collector: Option<Collector>, env: Vec<(String, String)>) -> Result<Self, Fault> {
        let (app, grpc) = (Upstream::start(), [GrpcBackend::start(), GrpcBackend::start()]);
        let [first, second] = &grpc;
        let mut haproxy = Haproxy::config(&format!("{GLOBAL}{SITES}"))
            .module()
            .file("vitals.toml", VITALS)
            .set("app1", app.addr())
            .set("grpc1", first.addr())
            .set("grpc2", second.addr());
        let defaults = DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        for (name, value) in defaults.into_iter().chain(env) {
            haproxy = haproxy.env(&name, value);
        }
        let haproxy = haproxy.try_start().map_err(|why| format!("HAProxy does not start: {why}"))?;
        Ok(Self { haproxy, app, grpc, collector })
    }

    /// A file that HAProxy was started with.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        Path::new(self.haproxy.dir()).join(name)
    }

    /// Forgets what came so far: the demo may run for days.
    pub(crate) fn forget(&self) {
        self.app.clear();
        self.grpc.iter().for_each(GrpcBackend::clear);
        if let Some(collector) = &self.collector {
            collector.receiver.clear();
        }
    }
}

impl Collector {
    fn start(spans: Sender<Vec<SpanView>>) -> Result<Self, Fault> {
        let (receiver, page) = (OtlpReceiver::start(), Page::start()?);
        let feed = page.feed();
        receiver.tap(move |export| {
            // A page that is behind misses spans; the exporter must not wait for it.
            let _ = feed.try_send(export.encode_to_vec());
            let _ = spans.send(SpanView::flatten(export));
        });
        Ok(Self { receiver, page })
    }
}

/// Whether the environment says where spans go.
#[expect(clippy::disallowed_methods, reason = "the demo has no settings tree of its own")]
pub(crate) fn has_endpoint() -> bool {
    let names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    names.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

#[expect(clippy::disallowed_methods, reason = "handed on to HAProxy as it is")]
fn environment() -> Vec<(String, String)> {
    let texts = env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| name.starts_with("OTEL_")).collect()
}

pub(crate) const SERVICE: &str = "haproxy-demo";
/// The user's values come later and win.
const DEFAULTS: [(&str, &str); 2] = [("OTEL_SERVICE_NAME", SERVICE), ("OTEL_BSP_SCHEDULE_DELAY", "300")];

const GLOBAL: &str = include_str!("../config/global.cfg");
const SITES: &str = include_str!("../config/sites.cfg");
const VITALS: &str = include_str!("../config/vitals.toml");
