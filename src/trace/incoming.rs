//! A request as it is seen when it starts. Borrowed: nothing is copied before it is known to be wanted.

use std::net::IpAddr;

use super::headers::Block;

/// What is known of a request when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Incoming<'a> {
    /// Its headers.
    pub headers: Block<'a>,
    /// Its method.
    pub method: &'a [u8],
    /// The target with its query.
    pub target: &'a [u8],
    /// For example `1.1`.
    pub version: &'a [u8],
    /// One span is wanted for both legs: the server's parent is the SERVER span then.
    pub single_span: bool,
    /// A connection in TCP mode: there is nothing of the above.
    pub connection: bool,
    /// What only some settings ask for ([`Plan::arrival`](super::plan::Plan::arrival)).
    pub arrival: Option<Arrival<'a>>,
}

/// How a request came in, where the settings need it at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival<'a> {
    /// The frontend's name.
    pub frontend: &'a [u8],
    /// The client's address.
    pub source: Option<IpAddr>,
    /// Whether the client's connection has TLS.
    pub tls: bool,
}

impl<'a> Incoming<'a> {
    /// Headers as text and nothing else.
    pub fn of_headers(text: &'a [u8]) -> Self {
        Self { headers: Block::Text(text), ..Self::default() }
    }
}
