//! OTLP/HTTP with binary protobuf: what the answer means. OTLP specification, "OTLP/HTTP Response".

use std::time::{Duration, SystemTime};

use ::http::{StatusCode, header, response};
use prost::Message;

use super::error::{SendError, quote};
use super::retry::{RpcStatus, retry_after};
use super::sender::Accepted;

pub(super) const CONTENT_TYPE: &str = "application/x-protobuf";

/// 200 is success, everything else is not; a redirect is not followed.
pub(super) fn read(head: &response::Parts, body: &[u8]) -> Result<Accepted, SendError> {
    if head.status == StatusCode::OK {
        return Ok(Accepted::decode(body));
    }
    Err(failure(head, body))
}

/// What an HTTP status other than 200 means.
pub(super) fn failure(head: &response::Parts, body: &[u8]) -> SendError {
    SendError::Http { status: head.status, message: message(head, body), retry_after: wish(head) }
}

/// The failure's `google.rpc.Status.message`.
fn message(head: &response::Parts, body: &[u8]) -> String {
    let is_protobuf = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == CONTENT_TYPE);
    let status = RpcStatus::decode(body).ok().filter(|_| is_protobuf);
    status.map(|status| quote(&status.message)).unwrap_or_default()
}

fn wish(head: &response::Parts) -> Option<Duration> {
    let value = head.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    retry_after(value, SystemTime::now())
}
