//! OTLP over HTTP, with protobuf and with JSON.

use std::io::Read;
use std::sync::Arc;

use flate2::read::GzDecoder;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::intake::{Intake, Protocol, Received};
use super::signal::{Export, Signal};
use crate::server::{Body, BoxError, full};

pub(super) async fn answer(
    intake: Arc<Intake>,
    tls: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let is_json = head.headers.get("content-type").is_some_and(|kind| kind == JSON);
    let protocol = if is_json { Protocol::Json } else { Protocol::Http };
    let signal = Signal::of_http_path(head.uri.path());
    let mut received = Received::new(protocol, signal, head.uri.path(), &head.headers);
    (received.bytes, received.tls) = (body.len(), tls);
    match read(&head.method, &received, &body) {
        Ok(export) => Ok(match intake.admit(export, received).await {
            Ok(taken) if is_json => Response::builder().header("content-type", JSON).body(full(taken.to_json()))?,
            Ok(taken) => Response::builder().header("content-type", PROTOBUF).body(full(taken.to_protobuf()))?,
            Err(refusal) => refusal.to_http(protocol).map(full),
        }),
        Err((status, why)) => {
            intake.violation(format!("HTTP request: {why}"));
            intake.lock().requests.push(received);
            Ok(Response::builder().status(status).body(full(why))?)
        }
    }
}

/// The request, or the status that tells what is wrong with it.
fn read(method: &Method, received: &Received, body: &[u8]) -> Result<Export, (u16, String)> {
    let Some(signal) = received.signal else { return Err((404, format!("path `{}`", received.path))) };
    if method != Method::POST {
        return Err((405, format!("method {method}")));
    }
    let content_type = received.header("content-type");
    if !matches!(content_type, Some(PROTOBUF | JSON)) {
        return Err((415, format!("content-type {content_type:?}")));
    }
    let body = match received.header("content-encoding") {
        None | Some("identity") => body.to_vec(),
        Some("gzip") => unzip(body).map_err(|e| (400, format!("gzip: {e}")))?,
        Some("zstd") => zstd::decode_all(body).map_err(|e| (400, format!("zstd: {e}")))?,
        Some(other) => return Err((415, format!("content-encoding `{other}`"))),
    };
    if received.protocol == Protocol::Json {
        check_names(&body).map_err(|e| (400, e))?;
        Export::from_json(signal, &body).map_err(|e| (400, format!("undecodable JSON: {e}")))
    } else {
        Export::from_protobuf(signal, &body).map_err(|e| (400, format!("undecodable body: {e}")))
    }
}

/// Names are in lowerCamelCase. OTLP specification, "JSON Protobuf Encoding".
fn check_names(body: &[u8]) -> Result<(), String> {
    fn snake(value: &serde_json::Value) -> Option<&str> {
        match value {
            serde_json::Value::Object(fields) => {
                let named = fields.keys().find(|name| name.contains('_'));
                named.map(String::as_str).or_else(|| fields.values().find_map(snake))
            }
            serde_json::Value::Array(items) => items.iter().find_map(snake),
            _ => None,
        }
    }
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|e| format!("undecodable JSON: {e}"))?;
    snake(&value).map_or(Ok(()), |name| Err(format!("JSON name `{name}`")))
}

fn unzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain)?;
    Ok(plain)
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
