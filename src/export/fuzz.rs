//! Collectors' answers, for `fuzz/`: the doors to what is read from the network here.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::http::{HeaderMap, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use super::{Accepted, SendError, Signal, grpc, http, retry};

/// An answer of OTLP/HTTP.
pub fn over_http(signal: Signal, answer: Response<Bytes>) -> Result<Accepted, SendError> {
    let (head, body) = answer.into_parts();
    http::read(signal, &head, &body)
}

/// An answer of OTLP/gRPC.
pub fn over_grpc(signal: Signal, answer: Response<Bytes>, trailers: HeaderMap) -> Result<Accepted, SendError> {
    let (head, body) = answer.into_parts();
    let whole = Full::new(body).with_trailers(std::future::ready(Some(Ok(trailers)))).collect();
    match pin!(whole).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => grpc::read(signal, &head, answer),
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => Err(SendError::NotGrpc),
    }
}

/// The details of a gRPC status.
pub fn retry_info(details: &[u8]) -> Option<Duration> {
    retry::retry_info(details)
}
