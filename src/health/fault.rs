//! What can go wrong with a connection, told apart by type and never by text.

use std::fmt;
use std::io;
use std::net::IpAddr;

use http::StatusCode;

use super::outcome::{CheckResult, Class, printable};
use super::policy::Policy;

/// Why a call got no gRPC answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkFault {
    /// The name has no address.
    #[error("cannot resolve {host}: {reason}")]
    Dns {
        /// The name.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// No connection.
    #[error("{0}")]
    Connect(String),
    /// The address is not in the networks that the settings allow.
    #[error("{0} is not in `agent.allow_to`")]
    Forbidden(IpAddr),
    /// TLS failed, on either side.
    #[error("TLS: {0}")]
    Tls(String),
    /// No connection within the bound, in milliseconds.
    #[error("no {0} within {1} ms")]
    ConnectTimeout(Stage, u128),
    /// No answer within the bound, in milliseconds.
    #[error("no answer within {0} ms")]
    Timeout(u128),
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
    /// gRPC, but not as it must be.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// The answer says that it has so many bytes; it was not read.
    #[error("the answer is too long: {0} bytes")]
    TooLong(u32),
}

/// How far connecting got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Resolve,
    Tcp,
    Tls,
    Settings,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "answer from the resolver",
            Self::Tcp => "connection",
            Self::Tls => "TLS handshake",
            Self::Settings => "HTTP/2 settings from the server",
        })
    }
}

impl LinkFault {
    /// A failure to connect.
    pub(crate) fn connect(error: &io::Error) -> Self {
        Self::Connect(printable(&error.to_string()))
    }

    /// A failure of the handshake: rustls says why, or the connection ended.
    pub(crate) fn tls(error: &io::Error) -> Self {
        Self::Tls(printable(&error.to_string()))
    }

    pub(crate) fn from_h2(error: &h2::Error) -> Self {
        let text = printable(&error.to_string());
        match error.reason() {
            _ if error.get_io().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) => {
                Self::Closed("by the server".to_owned())
            }
            _ if error.is_io() => Self::Closed(text),
            Some(h2::Reason::REFUSED_STREAM) => Self::RefusedStream,
            Some(h2::Reason::NO_ERROR) if error.is_remote() && error.is_go_away() => Self::GoAway,
            _ if error.is_remote() && error.is_reset() => Self::Reset(text),
            // What h2 says of a connection that ended while a request waited.
            None => Self::Closed(text),
            Some(_) => Self::NotHttp2(text),
        }
    }

    /// Whether the same check may be tried once more on a fresh connection without being counted: the server has not
    /// seen it, or the connection was an old one (`reused`) that had gone stale.
    pub(crate) fn is_retryable(&self, reused: bool) -> bool {
        match self {
            Self::GoAway | Self::RefusedStream => true,
            Self::Closed(_) | Self::NotHttp2(_) | Self::Tls(_) => reused,
            _ => false,
        }
    }

    /// The resolver has no answer, or none in time.
    pub(crate) fn is_unresolved(&self) -> bool {
        matches!(self, Self::Dns { .. } | Self::ConnectTimeout(Stage::Resolve, _))
    }

    /// What the check's result is then.
    pub(crate) fn result(&self, policy: &Policy) -> CheckResult {
        let class = match self {
            Self::Dns { .. } | Self::ConnectTimeout(Stage::Resolve, _) => Class::Dns,
            Self::Tls(_) | Self::ConnectTimeout(Stage::Tls, _) => Class::Tls,
            Self::Connect(_) | Self::ConnectTimeout(..) | Self::Closed(_) => Class::Connect,
            Self::Timeout(_) => Class::Timeout,
            Self::GoAway | Self::RefusedStream | Self::Reset(_) => Class::RpcError,
            Self::NotHttp2(_) | Self::NotGrpc | Self::Malformed(_) | Self::TooLong(_) => Class::Protocol,
            Self::Http(status) => return policy.http(*status),
            Self::Forbidden(_) => return CheckResult::hold(Class::Forbidden, self.to_string()),
        };
        CheckResult::soft(class, self.to_string())
    }
}
