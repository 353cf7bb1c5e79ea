//! OTLP over gRPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::Status;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::codegen::Service;

use super::intake::{Intake, Protocol, Received};
use super::signal::{Export, Signal, Taken};
use crate::server::{Body, BoxError, from_tonic};

pub(super) async fn answer(
    intake: Arc<Intake>,
    tls: bool,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    check_head(&intake, &request);
    let reached = Arc::new(AtomicBool::new(false));
    let signal = Signal::of_grpc_path(request.uri().path());
    let mut received = Received::new(Protocol::Grpc, signal, request.uri().path(), request.headers());
    received.tls = tls;
    request.extensions_mut().insert(Call { received: received.clone(), reached: reached.clone() });
    let collector = Collector { intake: intake.clone() };
    let accept = [Gzip, Zstd];
    let response = match signal {
        Some(Signal::Metrics) => {
            let server = MetricsServiceServer::new(collector);
            accept.into_iter().fold(server, MetricsServiceServer::accept_compressed).call(request).await?
        }
        Some(Signal::Logs) => {
            let server = LogsServiceServer::new(collector);
            accept.into_iter().fold(server, LogsServiceServer::accept_compressed).call(request).await?
        }
        // It answers what it does not know with UNIMPLEMENTED.
        Some(Signal::Traces) | None => {
            let server = TraceServiceServer::new(collector);
            accept.into_iter().fold(server, TraceServiceServer::accept_compressed).call(request).await?
        }
    };
    if !reached.load(Ordering::Relaxed) {
        let why = response.headers().get("grpc-message").map_or("", |text| text.to_str().unwrap_or_default());
        intake.violation(format!("undecodable gRPC request to {}: {why}", received.path));
        intake.lock().requests.push(received);
    }
    Ok(from_tonic(response))
}

/// What tonic would let pass.
fn check_head(intake: &Intake, request: &Request<Incoming>) {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = header("content-type");
    if !matches!(content_type, "application/grpc" | "application/grpc+proto") {
        intake.violation(format!("gRPC content-type `{content_type}`"));
    }
    if header("te") != "trailers" {
        intake.violation(format!("gRPC without `te: trailers`, but `{}`", header("te")));
    }
    if request.method() != http::Method::POST || Signal::of_grpc_path(request.uri().path()).is_none() {
        intake.violation(format!("gRPC {} {}", request.method(), request.uri().path()));
    }
    if request.version() != http::Version::HTTP_2 {
        intake.violation(format!("gRPC over {:?}", request.version()));
    }
}

/// Follows a request through tonic.
#[derive(Clone)]
struct Call {
    received: Received,
    /// Set once the request was decoded.
    reached: Arc<AtomicBool>,
}

struct Collector {
    intake: Arc<Intake>,
}

impl Collector {
    async fn take<T>(
        &self,
        request: tonic::Request<T>,
        export: fn(T) -> Export,
    ) -> Result<tonic::Response<Taken>, Status> {
        let (_, mut extensions, message) = request.into_parts();
        let call: Call = extensions.remove().expect("set by `answer`");
        call.reached.store(true, Ordering::Relaxed);
        let answer = self.intake.admit(export(message), call.received).await;
        answer.map(tonic::Response::new).map_err(|refusal| refusal.to_grpc())
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        Ok(self.take(request, Export::Traces).await?.map(|taken| taken.traces()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        Ok(self.take(request, Export::Metrics).await?.map(|taken| taken.metrics()))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        Ok(self.take(request, Export::Logs).await?.map(|taken| taken.logs()))
    }
}
