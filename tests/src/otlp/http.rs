//! OTLP over HTTP, with protobuf.

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use flate2::read::GzDecoder;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::intake::{Intake, Protocol, Received};
use crate::server::{Body, BoxError, Serve, full, header_list, serve_http};

const CONTENT_TYPE: &str = "application/x-protobuf";

pub(super) fn serve(intake: &Arc<Intake>) -> Serve {
    let intake = intake.clone();
    Arc::new(move |stream| {
        let intake = intake.clone();
        Box::pin(serve_http(stream, move |request| answer(intake.clone(), request)))
    })
}

async fn answer(intake: Arc<Intake>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let received = Received {
        protocol: Protocol::Http,
        path: head.uri.path().to_owned(),
        headers: header_list(&head.headers),
        spans: 0,
        at: Instant::now(),
    };
    match read(&head.method, &received, &body) {
        Ok(export) => Ok(match intake.admit(export, received).await {
            Ok(done) => Response::builder().header("content-type", CONTENT_TYPE).body(full(done.encode_to_vec()))?,
            Err(refusal) => refusal.to_http().map(full),
        }),
        Err((status, why)) => {
            intake.violation(format!("HTTP request: {why}"));
            intake.lock().requests.push(received);
            Ok(Response::builder().status(status).body(full(why))?)
        }
    }
}

/// The request, or the status that tells what is wrong with it.
fn read(method: &Method, received: &Received, body: &[u8]) -> Result<ExportTraceServiceRequest, (u16, String)> {
    if received.path != "/v1/traces" {
        return Err((404, format!("path `{}`", received.path)));
    }
    if method != Method::POST {
        return Err((405, format!("method {method}")));
    }
    if received.header("content-type") != Some(CONTENT_TYPE) {
        return Err((415, format!("content-type {:?}", received.header("content-type"))));
    }
    let body = match received.header("content-encoding") {
        None | Some("identity") => body.to_vec(),
        Some("gzip") => unzip(body).map_err(|e| (400, format!("gzip: {e}")))?,
        Some(other) => return Err((415, format!("content-encoding `{other}`"))),
    };
    ExportTraceServiceRequest::decode(body.as_slice()).map_err(|e| (400, format!("undecodable body: {e}")))
}

fn unzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain)?;
    Ok(plain)
}
