//! Why a sender cannot be made, and why an attempt to send failed.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use ::http::StatusCode;
use tonic::Code;

use super::connect::ConnectError;
use super::retry::Retry;
use super::tls;

/// Why the settings give no sender.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A file of certificates or a key that is missing, unreadable or wrong.
    #[error("`export.{key}`: {path}: {reason}")]
    File {
        /// The last part of the setting's name.
        key: &'static str,
        /// The file as configured.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody would be trusted.
    #[error(
        "the endpoint asks for TLS, and the system has no certificate authorities: name a file in `export.certificate`"
    )]
    NoAuthorities,
    /// TLS needs a name or an address that a certificate can have.
    #[error("the host `{host}` cannot stand in a certificate")]
    ServerName {
        /// The endpoint's host.
        host: String,
    },
    /// TLS itself.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// The library's words.
        reason: String,
    },
    /// The host or the path cannot stand in a URI.
    #[error("the endpoint `{endpoint}` is not a valid address")]
    Endpoint {
        /// What was put together from the settings.
        endpoint: String,
    },
    /// A name or a value that HTTP does not allow. The value is a secret.
    #[error("the header `{name}` has a name or a value that HTTP does not allow")]
    Header {
        /// The header's name as configured.
        name: String,
    },
    /// A header that the protocol itself sets.
    #[error("the header `{name}` is set by the protocol and cannot be configured")]
    ReservedHeader {
        /// The header's name as configured.
        name: String,
    },
}

/// Why one attempt to send one batch failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke before the answer was complete.
    #[error("connection lost: {0}")]
    Broken(Cause),
    /// The bound on one attempt.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// An HTTP status other than 200.
    #[error("HTTP status {}{}", .status.as_u16(), Detail(.message))]
    Http {
        /// The status.
        status: StatusCode,
        /// What the collector said about it, cut short; may be empty.
        message: String,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A gRPC status other than OK.
    #[error("gRPC status {code:?}{}", Detail(.message))]
    Grpc {
        /// The status.
        code: Code,
        /// What the collector said about it, cut short; may be empty.
        message: String,
        /// `google.rpc.RetryInfo` in the status's details; zero when it names no delay.
        retry_info: Option<Duration>,
    },
    /// HTTP 200 without `grpc-status`: no gRPC server.
    #[error("the answer is not gRPC")]
    NotGrpc,
    /// The bound on an answer's length.
    #[error("the answer is longer than {0} bytes")]
    ResponseTooLong(usize),
    /// The bound on a request's length.
    #[error("the batch is longer than {0} bytes")]
    RequestTooLong(usize),
    /// A batch that has no JSON form or cannot be compressed: a fault of this module.
    #[error("the batch cannot be encoded: {0}")]
    Encode(String),
}

impl SendError {
    /// Whether, and when, the same batch may be sent again. OTLP specification, "Failures" of OTLP/gRPC and of OTLP/HTTP.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::Timeout(_) => Retry::Backoff,
            Self::Http { status, retry_after, .. } if is_retryable_status(*status) => Retry::after(*retry_after),
            Self::Grpc { code, retry_info, .. } if is_retryable_code(*code, *retry_info) => Retry::after(*retry_info),
            Self::Http { .. }
            | Self::Grpc { .. }
            | Self::NotGrpc
            | Self::ResponseTooLong(_)
            | Self::RequestTooLong(_)
            | Self::Encode(_) => Retry::Never,
        }
    }

    /// One word for metrics: a few values in all.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Connect(ConnectError::Resolve { .. }) => "resolve",
            Self::Connect(ConnectError::Dial { .. }) => "connect",
            Self::Connect(ConnectError::Proxy { .. }) => "proxy",
            Self::Connect(ConnectError::Tls { .. }) => "tls",
            Self::Broken(_) => "broken",
            Self::Timeout(_) => "timeout",
            Self::Http { .. } => "http_status",
            Self::Grpc { .. } => "grpc_status",
            Self::NotGrpc => "not_grpc",
            Self::ResponseTooLong(_) => "response_too_long",
            Self::RequestTooLong(_) => "request_too_long",
            Self::Encode(_) => "encode",
        }
    }

    /// What an HTTP client's error means: our own connector's error, or a broken connection.
    pub(super) fn from_client(error: hyper_util::client::legacy::Error) -> Self {
        let connect = chain(&error).find_map(|cause| cause.downcast_ref::<ConnectError>()).cloned();
        match connect {
            Some(connect) => Self::Connect(connect),
            None => Self::Broken(Cause(Box::new(error))),
        }
    }
}

/// An error that reads as its root: "connection reset by peer", not "transport error".
#[derive(Debug)]
pub struct Cause(pub(super) Box<dyn Error + Send + Sync>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = chain(self.0.as_ref()).find_map(tls::reason_within) {
            return f.write_str(&reason);
        }
        match chain(self.0.as_ref()).last() {
            Some(root) => write!(f, "{root}"),
            None => write!(f, "{}", self.0),
        }
    }
}

/// An error and everything that caused it, the root last.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn is_retryable_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn is_retryable_code(code: Code, retry_info: Option<Duration>) -> bool {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => retry_info.is_some(),
        _ => false,
    }
}

/// The collector's own words, fit for one line of a log: no control characters, at most 200 characters.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(MAX_QUOTE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `: text`, or nothing.
struct Detail<'a>(&'a str);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// Characters.
const MAX_QUOTE: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn grpc(code: Code, retry_info: Option<Duration>) -> Retry {
        SendError::Grpc { code, message: String::new(), retry_info }.retry()
    }

    fn http(status: u16) -> Retry {
        let status = StatusCode::from_u16(status).unwrap();
        SendError::Http { status, message: String::new(), retry_after: None }.retry()
    }

    #[test]
    fn grpc_codes_are_retried_as_the_specification_lists_them() {
        let retried: Vec<_> = (1..=16).filter(|code| grpc(Code::from_i32(*code), None) != Retry::Never).collect();
        assert_eq!(retried, [1, 4, 10, 11, 14, 15]);
    }

    #[test]
    fn resource_exhausted_is_retried_only_with_retry_info() {
        let delay = Duration::from_secs(3);
        assert_eq!(grpc(Code::ResourceExhausted, None), Retry::Never);
        assert_eq!(grpc(Code::ResourceExhausted, Some(delay)), Retry::After(delay));
        assert_eq!(grpc(Code::ResourceExhausted, Some(Duration::ZERO)), Retry::Backoff);
    }

    #[test]
    fn http_statuses_are_retried_as_the_specification_lists_them() {
        let retried: Vec<_> = (201..600).filter(|status| http(*status) != Retry::Never).collect();
        assert_eq!(retried, [429, 502, 503, 504]);
    }

    #[test]
    fn collectors_words_are_cut_and_cleaned() {
        assert_eq!(quote("a\u{1b}[2J\nb"), "a [2J b");
        assert_eq!(quote(&"ä".repeat(1000)).chars().count(), MAX_QUOTE);
    }
}
