//! A request as a door sees it at its start. Borrowed: nothing is copied before it is known to be wanted.

use super::record::scan::split_once;

/// What is known of a request when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Incoming<'a> {
    /// The header block, as HAProxy's `req.hdrs` gives it.
    pub headers: &'a [u8],
    /// Empty where the door brings the request line at the end.
    pub method: &'a [u8],
    /// The target with its query; empty as `method` is.
    pub target: &'a [u8],
    /// For example `1.1`; empty as `method` is.
    pub version: &'a [u8],
    /// One span is wanted for both legs: the server's parent is the SERVER span then.
    pub single_span: bool,
    /// What only some settings ask for ([`Plan::head`](super::plan::Plan::head)).
    pub head: Option<Head<'a>>,
}

/// More of a request, where the settings need it at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head<'a> {
    /// The frontend's name.
    pub frontend: &'a [u8],
    /// The client's address as text.
    pub source: &'a [u8],
    /// Whether the client's connection has TLS.
    pub tls: bool,
}

impl<'a> Incoming<'a> {
    /// Headers and nothing else.
    pub fn of_headers(headers: &'a [u8]) -> Self {
        Self { headers, ..Self::default() }
    }

    /// Reads what the profile hands over: a header block, or `@ FRONTEND SOURCE TLS METHOD VERSION TARGET ` and the block.
    /// No part but the block can have a space in it, and no header's name begins with `@`. Total: what cannot be read is taken
    /// as a block.
    pub fn of_profile(text: &'a [u8]) -> Self {
        Self::with_head(text).unwrap_or_else(|| Self::of_headers(text))
    }

    fn with_head(text: &'a [u8]) -> Option<Self> {
        let mut rest = text.strip_prefix(b"@ ")?;
        let mut next = || {
            let (part, after) = split_once(rest, b' ')?;
            rest = after;
            Some(part)
        };
        let head = Head { frontend: next()?, source: next()?, tls: next()? == b"1" };
        let (method, version, target) = (next()?, next()?, next()?);
        Some(Self { headers: rest, method, target, version, single_span: false, head: Some(head) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_profile_hands_over_a_block_or_a_head_and_a_block() {
        let block = b"host: a b\r\n\r\n";
        assert_eq!(Incoming::of_profile(block), Incoming::of_headers(block));
        let text = [&b"@ www 192.0.2.1 1 GET 1.1 /a?b "[..], block].concat();
        let incoming = Incoming::of_profile(&text);
        assert_eq!((incoming.headers, incoming.method, incoming.target), (&block[..], &b"GET"[..], &b"/a?b"[..]));
        assert_eq!(incoming.head, Some(Head { frontend: b"www", source: b"192.0.2.1", tls: true }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Incoming::of_profile(&text);
            let _ = Incoming::of_profile(&[b"@ ", &text[..]].concat());
        }
    }
}
