//! OTLP over gRPC.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;

use super::intake::{Intake, Protocol, Received};
use crate::server::{Body, BoxError, Serve, from_tonic, header_list, serve_http};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(super) fn serve(intake: &Arc<Intake>) -> Serve {
    let intake = intake.clone();
    Arc::new(move |stream| {
        let intake = intake.clone();
        Box::pin(serve_http(stream, move |request| answer(intake.clone(), request)))
    })
}

async fn answer(intake: Arc<Intake>, mut request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    check_head(&intake, &request);
    let reached = Arc::new(AtomicBool::new(false));
    let received = Received {
        protocol: Protocol::Grpc,
        path: request.uri().path().to_owned(),
        headers: header_list(request.headers()),
        spans: 0,
        at: Instant::now(),
    };
    request.extensions_mut().insert(Call { received: received.clone(), reached: reached.clone() });
    let mut service =
        TraceServiceServer::new(Collector { intake: intake.clone() }).accept_compressed(CompressionEncoding::Gzip);
    let response = service.call(request).await?;
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
    if request.method() != http::Method::POST || request.uri().path() != EXPORT {
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

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        mut request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let call: Call = request.extensions_mut().remove().expect("set by `answer`");
        call.reached.store(true, Ordering::Relaxed);
        let answer = self.intake.admit(request.into_inner(), call.received).await;
        answer.map(tonic::Response::new).map_err(|refusal| refusal.to_grpc())
    }
}
