//! How a collector says no, in both protocols.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::intake::Protocol;

/// A refusal: the gRPC status that one protocol answers and the HTTP status that the other does.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: Code,
    status: u16,
    headers: Vec<(String, String)>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// This gRPC status; 503 over HTTP.
    pub fn grpc(code: Code) -> Self {
        Self { code, status: 503, headers: Vec::new(), retry_after: None }
    }

    /// This HTTP status; `UNAVAILABLE` over gRPC.
    pub fn http(status: u16) -> Self {
        Self { code: Code::Unavailable, status, headers: Vec::new(), retry_after: None }
    }

    /// Adds a header of the answer, or an entry of its metadata.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// When to come again: `RetryInfo` in the status over gRPC, `retry-after` in whole seconds over HTTP.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    pub(super) fn to_grpc(&self) -> Status {
        let pairs = self.headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap()));
        let metadata = MetadataMap::from_headers(pairs.collect());
        let details =
            if self.retry_after.is_some() { Bytes::from(self.rpc_status().encode_to_vec()) } else { Bytes::new() };
        Status::with_details_and_metadata(self.code, MESSAGE, details, metadata)
    }

    /// The body is of the request's form.
    pub(super) fn to_http(&self, protocol: Protocol) -> http::Response<Vec<u8>> {
        let (content_type, body) = match protocol {
            Protocol::Json => {
                let body = serde_json::json!({ "code": i32::from(self.code), "message": MESSAGE });
                ("application/json", body.to_string().into_bytes())
            }
            Protocol::Grpc | Protocol::Http => ("application/x-protobuf", self.rpc_status().encode_to_vec()),
        };
        let status = StatusCode::from_u16(self.status).unwrap();
        let mut response = http::Response::builder().status(status).header("content-type", content_type);
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        if let Some(delay) = self.retry_after {
            response = response.header("retry-after", delay.as_secs());
        }
        response.body(body).unwrap()
    }

    fn rpc_status(&self) -> RpcStatus {
        let info = |delay: Duration| RetryInfo {
            retry_delay: Some(ProtoDuration {
                seconds: i64::try_from(delay.as_secs()).unwrap(),
                nanos: i32::try_from(delay.subsec_nanos()).unwrap(),
            }),
        };
        let details = self.retry_after.map(|delay| ProtoAny {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: info(delay).encode_to_vec(),
        });
        RpcStatus { code: self.code.into(), message: MESSAGE.to_owned(), details: details.into_iter().collect() }
    }
}

const MESSAGE: &str = "refused as the test asked";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<ProtoAny>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct ProtoAny {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}
