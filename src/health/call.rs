//! gRPC on an HTTP/2 stream: requests of `grpc.health.v1.Health`, and its answers, message by message.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use prost::Message;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::fault::LinkFault;
use super::link::Link;
use super::load::Meter;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// `HealthCheckResponse.status`, any number.
    Status(i32),
    /// `grpc-status` and `grpc-message`. 0, in a stream, is its regular end.
    Code(i32, String),
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message, encoded.
    Message(Bytes),
    /// `grpc-status` and `grpc-message`: the end.
    End(i32, String),
}

/// The framed `HealthCheckRequest` for `service`.
pub(crate) fn frame(service: &str) -> Bytes {
    frame_of(&HealthCheckRequest { service: service.to_owned() }.encode_to_vec())
}

/// An encoded message of ours, framed. gRPC over HTTP/2, Length-Prefixed-Message.
pub(crate) fn frame_of(message: &[u8]) -> Bytes {
    // Settings bound what is in it: it is far shorter than 4 GiB.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = BytesMut::with_capacity(PREFIX + message.len());
    bytes.extend_from_slice(&[0]);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.freeze()
}

/// One request, one answer. The caller bounds the time; `meter` hears the metadata.
pub(crate) async fn unary(
    link: &Link,
    request: Request<()>,
    body: Bytes,
    meter: Option<Arc<Meter>>,
) -> Result<Answer, LinkFault> {
    let mut answers = Answers::of(link, request, body, meter).await?;
    let first = answers.next().await?;
    match first {
        Answer::Code(0, _) => Err(LinkFault::Malformed("it says OK without a message")),
        Answer::Code(..) => Ok(first),
        Answer::Status(_) => match answers.next().await? {
            Answer::Code(0, _) => Ok(first),
            Answer::Status(_) => Err(LinkFault::Malformed("more than one message")),
            failure @ Answer::Code(..) => Ok(failure),
        },
    }
}

/// The answers of one stream. Dropping it resets the stream.
pub(crate) struct Answers {
    link: Link,
    body: RecvStream,
    /// Bound: [`MAX_MESSAGE_BYTES`] and what one frame brings.
    buffer: BytesMut,
    /// `grpc-status` has come: there is nothing more.
    end: Option<(i32, String)>,
    /// Hears headers and trailers.
    meter: Option<Arc<Meter>>,
}

impl Answers {
    /// Sends the request and reads the answer's head.
    pub(crate) async fn of(
        link: &Link,
        request: Request<()>,
        body: Bytes,
        meter: Option<Arc<Meter>>,
    ) -> Result<Self, LinkFault> {
        let response = link.send(request, body).await?;
        let (head, body) = response.await.map_err(|error| link.explain(&error))?.into_parts();
        if let Some(meter) = &meter {
            meter.hear(&head.headers);
        }
        let end = read_head(&Response::from_parts(head, ()))?;
        Ok(Self { link: link.clone(), body, buffer: BytesMut::new(), end, meter })
    }

    /// The next status, or the code at the end. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Answer, LinkFault> {
        match self.frame().await? {
            Frame::End(code, message) => Ok(Answer::Code(code, message)),
            Frame::Message(bytes) => status(bytes).map(Answer::Status),
        }
    }

    /// The next message, whatever it is, or the code at the end. Cancelling loses nothing.
    pub(crate) async fn frame(&mut self) -> Result<Frame, LinkFault> {
        if let Some((code, message)) = &self.end {
            return Ok(Frame::End(*code, message.clone()));
        }
        loop {
            if let Some(message) = message(&mut self.buffer)? {
                return Ok(Frame::Message(message));
            }
            let Some(data) = self.body.data().await else { return self.trailers().await };
            let data = data.map_err(|error| self.link.explain(&error))?;
            // What has come is given back; a message that is too long is refused before the rest may come.
            let _ = self.body.flow_control().release_capacity(data.len());
            self.buffer.extend_from_slice(&data);
        }
    }

    async fn trailers(&mut self) -> Result<Frame, LinkFault> {
        if !self.buffer.is_empty() {
            return Err(LinkFault::Malformed("it ends within a message"));
        }
        let trailers = self.body.trailers().await.map_err(|error| self.link.explain(&error))?;
        if let (Some(meter), Some(trailers)) = (&self.meter, &trailers) {
            meter.hear(trailers);
        }
        let end = trailers.as_ref().and_then(code).ok_or(LinkFault::Malformed("it ends without `grpc-status`"))?;
        let (code, message) = self.end.insert(end);
        Ok(Frame::End(*code, message.clone()))
    }
}

/// Takes a whole message out of the buffer. gRPC over HTTP/2, Length-Prefixed-Message.
pub(super) fn message(buffer: &mut BytesMut) -> Result<Option<Bytes>, LinkFault> {
    let Some((prefix, _)) = buffer.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [compressed, length @ ..] = *prefix;
    let length = u32::from_be_bytes(length);
    if compressed != 0 {
        return Err(LinkFault::Malformed("compressed, which was not asked for"));
    }
    if length > MAX_MESSAGE_BYTES {
        return Err(LinkFault::TooLong(length));
    }
    let whole = PREFIX + length as usize;
    if buffer.len() < whole {
        return Ok(None);
    }
    let mut message = buffer.split_to(whole);
    message.advance(PREFIX);
    Ok(Some(message.freeze()))
}

/// `HealthCheckResponse.status` of an encoded message, any number.
pub(super) fn status(message: Bytes) -> Result<i32, LinkFault> {
    let response = HealthCheckResponse::decode(message).map_err(|_| LinkFault::Malformed("no such message"))?;
    Ok(response.status)
}

/// The code, where the head has one: then it is the whole answer.
pub(super) fn read_head(head: &Response<()>) -> Result<Option<(i32, String)>, LinkFault> {
    let end = code(head.headers());
    if head.status() != StatusCode::OK && end.is_none() {
        return Err(LinkFault::Http(head.status()));
    }
    if head.status() == StatusCode::OK && !is_grpc(head.headers()) {
        return Err(LinkFault::NotGrpc);
    }
    Ok(end)
}

/// gRPC over HTTP/2, "Responses": `application/grpc`, perhaps with `+proto` or parameters.
fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A status that is no number counts as `UNKNOWN`, as in every implementation.
pub(super) fn code(headers: &HeaderMap) -> Option<(i32, String)> {
    let code = headers.get("grpc-status")?;
    let code = code.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(UNKNOWN);
    let message = headers.get("grpc-message").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let message: String = message.chars().take(MAX_MESSAGE_TEXT).collect();
    Some((code, percent_decode_str(&message).decode_utf8_lossy().into_owned()))
}

const UNKNOWN: i32 = 2;

/// Whether it is compressed, and its length: gRPC over HTTP/2, Length-Prefixed-Message.
const PREFIX: usize = 5;

/// Bytes of one message; one that says more is refused unread. Two bytes are usual for a `HealthCheckResponse`.
const MAX_MESSAGE_BYTES: u32 = 64 * 1024;

/// Characters of `grpc-message`, before its percent signs are read.
const MAX_MESSAGE_TEXT: usize = 512;
