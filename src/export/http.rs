//! OTLP/HTTP, binary protobuf and JSON: what the answer means. OTLP specification, "OTLP/HTTP Response".

use std::time::{Duration, SystemTime};

use ::http::{StatusCode, header, response};
use prost::Message;

use super::error::{SendError, quote};
use super::retry::{RpcStatus, retry_after};
use super::{Accepted, Signal};

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";

/// 200 is success, everything else is not; a redirect is not followed.
pub(super) fn read(signal: Signal, head: &response::Parts, body: &[u8]) -> Result<Accepted, SendError> {
    if head.status == StatusCode::OK {
        let decode = if is(head, JSON) { Accepted::decode_json } else { Accepted::decode };
        return Ok(decode(signal, body));
    }
    Err(failure(head, body))
}

/// What an HTTP status other than 200 means.
pub(super) fn failure(head: &response::Parts, body: &[u8]) -> SendError {
    SendError::Http { status: head.status, message: message(head, body), retry_after: wish(head) }
}

/// The failure's `google.rpc.Status.message`.
fn message(head: &response::Parts, body: &[u8]) -> String {
    if is(head, PROTOBUF) {
        return RpcStatus::decode(body).map(|status| quote(&status.message)).unwrap_or_default();
    }
    let status: serde_json::Value =
        if is(head, JSON) { serde_json::from_slice(body).unwrap_or_default() } else { return String::new() };
    status.get("message").and_then(serde_json::Value::as_str).map(quote).unwrap_or_default()
}

/// Whether the body is of this media type, with parameters or without.
fn is(head: &response::Parts, media_type: &str) -> bool {
    let value = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(media_type))
}

fn wish(head: &response::Parts) -> Option<Duration> {
    let value = head.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    retry_after(value, SystemTime::now())
}
