//! What can go wrong with a connection, told apart by type and never by text.

use std::error::Error;
use std::io;

use http::StatusCode;
use tonic::Code;

use super::outcome::{CheckResult, Class, printable};

/// Why a call got no gRPC answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkFault {
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// No connection within the bound.
    #[error("no connection within {0} ms")]
    ConnectTimeout(u128),
    /// The connection went away.
    #[error("connection closed: {0}")]
    Closed(String),
    /// `GOAWAY` with `NO_ERROR`: the server wants a new connection.
    #[error("the server closes its connections")]
    GoAway,
    /// `REFUSED_STREAM`: the server has not looked at the request.
    #[error("the server refuses the request")]
    RefusedStream,
    /// The server reset the request.
    #[error("the server reset the request: {0}")]
    Reset(String),
    /// Not HTTP/2, or not as HTTP/2 must be.
    #[error("not HTTP/2: {0}")]
    NotHttp2(String),
    /// An answer that names no gRPC status, and an HTTP status that is a failure.
    #[error("HTTP status {0}")]
    Http(StatusCode),
    /// An answer without `content-type: application/grpc`.
    #[error("the answer is not gRPC")]
    NotGrpc,
}

impl LinkFault {
    /// A failure to connect.
    pub(crate) fn connect(error: &io::Error) -> Self {
        Self::Connect(printable(&error.to_string()))
    }

    /// Finds the HTTP/2 layer's own error below `error`.
    pub(crate) fn from_error(error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(h2) = error.downcast_ref::<h2::Error>() {
                return Self::from_h2(h2);
            }
            text = error.to_string();
            cause = error.source();
        }
        Self::Closed(printable(&text))
    }

    /// The fault below `error`, where one of ours is.
    pub(crate) fn below(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(fault.clone());
            }
            cause = error.source();
        }
        None
    }

    fn from_h2(error: &h2::Error) -> Self {
        let text = printable(&error.to_string());
        match error.reason() {
            _ if error.is_io() => Self::Closed(text),
            Some(h2::Reason::REFUSED_STREAM) => Self::RefusedStream,
            Some(h2::Reason::NO_ERROR) if error.is_remote() && error.is_go_away() => Self::GoAway,
            _ if error.is_remote() && error.is_reset() => Self::Reset(text),
            _ => Self::NotHttp2(text),
        }
    }

    /// Whether the same check may be tried once more on a fresh connection without being counted: the server has not
    /// seen it, or the connection was an old one (`reused`) that had gone stale.
    pub(crate) fn is_retryable(&self, reused: bool) -> bool {
        match self {
            Self::GoAway | Self::RefusedStream => true,
            Self::Closed(_) | Self::NotHttp2(_) => reused,
            Self::Connect(_) | Self::ConnectTimeout(_) | Self::Reset(_) | Self::Http(_) | Self::NotGrpc => false,
        }
    }

    /// What the check's result is then.
    pub(crate) fn result(&self) -> CheckResult {
        let class = match self {
            Self::Connect(_) | Self::ConnectTimeout(_) | Self::Closed(_) => Class::Connect,
            Self::GoAway | Self::RefusedStream | Self::Reset(_) => Class::RpcError,
            Self::NotHttp2(_) | Self::NotGrpc => Class::Protocol,
            Self::Http(status) => Class::of(code_for(*status)),
        };
        CheckResult::soft(class, self.to_string())
    }
}

/// gRPC's "HTTP to gRPC Status Code Mapping".
fn code_for(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}
