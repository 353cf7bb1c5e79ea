//! An exporter with counters and a log of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Endpoint, ExportConfig, Protocol, SignalExport};
use crate::export::queue::queue_with;
use crate::export::{Batch, QueueHandle, Sender, Signal};
use crate::log::Level;
use crate::runtime::Tasks;
use crate::stats::{DropReason, ExportStats};

pub(super) struct Rig {
    pub(super) queue: QueueHandle,
    pub(super) stats: &'static ExportStats,
    pub(super) stop: watch::Sender<bool>,
    pub(super) task: JoinHandle<()>,
    lines: Arc<Mutex<Vec<(Level, String)>>>,
}

impl Rig {
    pub(super) fn start(config: &ExportConfig) -> Self {
        let lines = Arc::<Mutex<Vec<(Level, String)>>>::default();
        let log = Arc::clone(&lines);
        let stats: &'static ExportStats = Box::leak(Box::new(ExportStats::new()));
        let say = Box::new(move |level, text| log.lock().unwrap().push((level, text)));
        let (queue, exporter) = queue_with(config, Sender::new(config, Signal::Traces).unwrap(), stats, say);
        let (stop, stopped) = watch::channel(false);
        let tasks = Tasks::new(tokio::runtime::Handle::current(), stopped);
        let task = tasks.spawn("export", exporter.run(tasks.stop()));
        Self { queue, stats, stop, task, lines }
    }

    /// Pushes a batch of `spans` and waits until it has been sent or dropped.
    pub(super) async fn export(&self, spans: u64) {
        self.queue.push(batch(spans)).unwrap();
        eventually("the batch has left", || self.queue.queued() == 0).await;
    }

    /// Closes the queue and waits for the task's end.
    pub(super) async fn finish(self) {
        self.queue.close();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }

    pub(super) fn dropped(&self) -> Vec<(DropReason, u64)> {
        let all = DropReason::ALL.map(|reason| (reason, self.stats.dropped(reason)));
        all.into_iter().filter(|(_, spans)| *spans > 0).collect()
    }

    /// Exported, retries, queued.
    pub(super) fn counted(&self) -> (u64, u64, u64) {
        (self.stats.exported.value(), self.stats.retries.value(), self.stats.queued.value())
    }

    pub(super) fn lines(&self) -> Vec<(Level, String)> {
        self.lines.lock().unwrap().clone()
    }
}

pub(super) fn grpc(address: SocketAddr) -> ExportConfig {
    config(Protocol::Grpc, address)
}

pub(super) fn http(address: SocketAddr) -> ExportConfig {
    config(Protocol::HttpProtobuf, address)
}

fn config(protocol: Protocol, address: SocketAddr) -> ExportConfig {
    let path = "/v1/traces".to_owned();
    let endpoint = Endpoint { tls: false, host: address.ip().to_string(), port: address.port(), path };
    let mut config = ExportConfig { max_queue_size: 100, ..ExportConfig::default() };
    let default = SignalExport::default_for(Signal::Traces);
    config.resolved.traces = SignalExport { protocol, endpoint, timeout: Duration::from_secs(5), ..default };
    config
}

pub(super) fn request(spans: u64) -> ExportTraceServiceRequest {
    let spans = (0..spans).map(|n| Span { name: format!("span {n}"), ..Span::default() }).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
}

pub(super) fn batch(spans: u64) -> Batch {
    Batch { bytes: request(spans).encode_to_vec().into(), items: spans }
}

/// An address that refuses connections.
pub(super) async fn refusing() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Polls until `holds`.
pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) const PATIENCE: Duration = Duration::from_secs(20);
