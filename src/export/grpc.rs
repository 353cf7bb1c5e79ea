//! OTLP/gRPC: a unary call over HTTP/2, its message being bytes already. gRPC over HTTP2, "Requests" and "Responses".
//!
//! Written out, because the batch needs no codec, and because a header of the collector's must not be able to panic.

use std::time::Duration;

use ::http::header::{self, HeaderMap, HeaderValue};
use ::http::{StatusCode, request, response};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use tonic::Code;

use super::error::{SendError, quote};
use super::http;
use super::retry::retry_info;
use super::sender::Answer;
use super::{Accepted, Signal};

pub(super) const CONTENT_TYPE: &str = "application/grpc";

/// Adds the headers of one call and returns what stands before its message of `length` bytes: whether it is compressed, length.
pub(super) fn prepare(head: &mut request::Parts, length: usize, compressed: bool, within: Duration) -> Bytes {
    head.version = ::http::Version::HTTP_2;
    head.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    // At most eight digits.
    let millis = within.as_millis().clamp(1, 99_999_999);
    if let Ok(value) = HeaderValue::try_from(format!("{millis}m")) {
        head.headers.insert("grpc-timeout", value);
    }
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    Bytes::copy_from_slice(&[u8::from(compressed), a, b, c, d])
}

/// The status stands in the trailers, or in the headers of an answer without a body.
pub(super) fn read(signal: Signal, head: &response::Parts, answer: Answer) -> Result<Accepted, SendError> {
    let status = answer.trailers().and_then(Status::read).or_else(|| Status::read(&head.headers));
    match status {
        Some(status) if status.code == Code::Ok => Ok(Accepted::decode(signal, message(&answer.to_bytes()))),
        Some(Status { code, message, retry_info }) => Err(SendError::Grpc { code, message, retry_info }),
        // A proxy's answer, in the place of the collector's.
        None if head.status != StatusCode::OK => Err(http::failure(head, &answer.to_bytes())),
        None => Err(SendError::NotGrpc),
    }
}

/// The first message of `body`; empty when it is not whole or compressed, which nobody asked for.
fn message(body: &[u8]) -> &[u8] {
    let Some(([0, a, b, c, d], rest)) = body.split_first_chunk::<5>() else { return &[] };
    let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
    rest.get(..length).unwrap_or_default()
}

/// What the `grpc-` headers say.
struct Status {
    code: Code,
    message: String,
    retry_info: Option<Duration>,
}

impl Status {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?.to_str().ok().and_then(|code| code.parse().ok());
        let message = headers.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
        let details = headers.get("grpc-status-details-bin").map(HeaderValue::as_bytes).unwrap_or_default();
        Some(Self {
            // Code::from_i32 answers Unknown to what it does not know.
            code: Code::from_i32(code.unwrap_or(-1)),
            message: quote(&percent_encoding::percent_decode(message).decode_utf8_lossy()),
            retry_info: BASE64.decode(details).ok().and_then(|details| retry_info(&details)),
        })
    }
}

/// Binary headers come with and without padding. gRPC over HTTP2, "Custom-Metadata".
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pairs: &[(&'static str, &str)]) -> Option<Status> {
        Status::read(&pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn status_is_read_with_its_message_decoded() {
        let status = status(&[("grpc-status", "14"), ("grpc-message", "come%20back")]).unwrap();
        assert_eq!((status.code, status.message.as_str()), (Code::Unavailable, "come back"));
    }

    #[test]
    fn status_that_makes_no_sense_is_unknown_and_never_panics() {
        assert_eq!(status(&[("grpc-status", "many")]).unwrap().code, Code::Unknown);
        assert_eq!(status(&[("grpc-status", "8"), ("grpc-status-details-bin", "!")]).unwrap().retry_info, None);
        assert!(status(&[("content-type", "text/html")]).is_none());
    }

    #[test]
    fn message_is_cut_out_of_its_frame() {
        assert_eq!(message(&[0, 0, 0, 0, 2, 7, 8, 9]), [7, 8]);
        for broken in [&[][..], &[0, 0, 0], &[0, 0, 0, 0, 2, 7], &[1, 0, 0, 0, 1, 7], &[0, 255, 255, 255, 255]] {
            assert!(message(broken).is_empty());
        }
    }
}
