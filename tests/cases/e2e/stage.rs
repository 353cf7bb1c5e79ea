//! What runs: HAProxy with the files of `e2e/`, and what is behind it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use haproxy_vitals_tests::client::{self, Response};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::otlp::SpanKind;
use haproxy_vitals_tests::{
    Collector, EchoServer, Foreign, ForeignBackend, Haproxy, HealthServer, OtlpReceiver, Port, Prometheus, SOON,
    SpanView, poll, vitals,
};
use tonic_health::ServingStatus;

/// Everything but Prometheus. The spans come to `receiver` from a collector that others wrote.
pub(super) struct Stage {
    pub(super) haproxy: Haproxy,
    pub(super) http: Port,
    pub(super) grpc: Port,
    metrics: Port,
    pub(super) python: ForeignBackend,
    pub(super) collector: Collector,
    pub(super) receiver: OtlpReceiver,
    _node: ForeignBackend,
    _shop: EchoServer,
}

impl Stage {
    pub(super) fn start() -> Self {
        Self::with(|haproxy| haproxy)
    }

    /// Starts with more said about HAProxy, and waits until both gRPC servers have been judged.
    pub(super) fn with(more: impl FnOnce(Builder) -> Builder) -> Self {
        let (shop, python, node) = (EchoServer::start(), Foreign::Python.start(), Foreign::Node.start());
        let receiver = OtlpReceiver::start();
        let collector = Collector::start(&receiver);
        let (http, grpc, metrics) = (Port::reserve(), Port::reserve(), Port::reserve());
        let haproxy = configuration(http.addr(), grpc.addr(), [shop.addr(), python.addr(), node.addr()])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.grpc_endpoint())
            .env("OTEL_METRICS_EXPORTER", "prometheus")
            .env("OTEL_EXPORTER_PROMETHEUS_HOST", metrics.addr().ip())
            .env("OTEL_EXPORTER_PROMETHEUS_PORT", metrics.number());
        let haproxy = more(haproxy).start();
        let stage = Self { haproxy, http, grpc, metrics, python, collector, receiver, _node: node, _shop: shop };
        for server in ["python", "node"] {
            stage.wait_state(server, "UP");
        }
        stage
    }

    /// A Prometheus with `e2e/prometheus.yaml`, whose target is here.
    pub(super) fn prometheus(&self) -> Prometheus {
        let (text, target) = (file("prometheus.yaml"), self.metrics.addr().to_string());
        assert!(text.contains(TARGET), "no {TARGET} in prometheus.yaml");
        Prometheus::start(&text.replace(TARGET, &target))
    }

    pub(super) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        client::get(self.http.addr(), path, headers)
    }

    /// A gRPC call, which must be answered.
    #[track_caller]
    pub(super) fn call(&self, metadata: &[(&'static str, &str)]) {
        let answer = client::ask_health(self.grpc.addr(), "e2e", metadata);
        assert_eq!(answer.unwrap_or_else(|e| panic!("a gRPC call failed: {e}")), ServingStatus::Serving);
    }

    /// The two spans of the `n`th trace.
    #[track_caller]
    pub(super) fn pair(&self, n: u64) -> (SpanView, SpanView) {
        let server = vitals::server_span(&self.receiver, &vitals::trace_id(n));
        let come = || self.receiver.client_span_of(&server);
        let client = poll::until_some(SOON, "the CLIENT span", come);
        (server, client)
    }

    /// Waits until exactly so many spans have arrived, one half of them SERVER spans.
    #[track_caller]
    pub(super) fn wait_spans(&self, count: u64) {
        let spans = self.receiver.wait_spans(usize::try_from(count).unwrap(), SOON);
        assert_eq!(spans.len() as u64, count);
        assert_eq!(2 * spans.iter().filter(|span| span.kind == SpanKind::Server).count(), spans.len());
    }

    /// Waits until the module has judged a gRPC server so, and HAProxy treats it so.
    #[track_caller]
    pub(super) fn wait_state(&self, server: &str, state: &str) {
        let begin = format!("carts/{server} ");
        poll::until(SOON, &format!("{server} is {state}"), || {
            let told = self.haproxy.cli("show vitals health");
            let told = told.lines().find(|line| line.starts_with(&begin)).unwrap_or_default().to_uppercase();
            let shown = self.haproxy.cli("show stat carts 4 -1");
            // It has no `check` of HAProxy's.
            let is_down =
                shown.lines().any(|line| line.starts_with(&format!("carts,{server},")) && line.contains(",DOWN,"));
            told.contains(&format!(" {state} ")) && is_down == (state == "DOWN")
        });
    }

    /// Everything that came was as OTLP wants it, and HAProxy ends without a fault.
    #[track_caller]
    pub(super) fn finish(self) {
        self.receiver.assert_clean();
        self.haproxy.finish();
    }
}

/// HAProxy with the files of `e2e/`. The image loads the module before them; here these lines do.
pub(super) fn configuration(http: SocketAddr, grpc: SocketAddr, [shop, python, node]: [SocketAddr; 3]) -> Builder {
    Haproxy::config(&format!("global\n  nbthread 2\n{}{}", vitals::LOAD, file("haproxy.cfg")))
        .module()
        .settings(&file("haproxy-vitals.toml"))
        .env("LISTEN_HTTP", http)
        .env("LISTEN_GRPC", grpc)
        .env("SHOP", shop)
        .env("CARTS_PYTHON", python)
        .env("CARTS_NODE", node)
}

/// A file of `e2e/`.
pub(super) fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What `prometheus.yaml` scrapes, in the network of `compose.yaml`.
const TARGET: &str = "proxy:9464";
