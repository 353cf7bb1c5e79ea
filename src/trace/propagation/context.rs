//! A trace's context between two services, whatever the format.

use crate::trace::record::Head;
use crate::trace::w3c::{FLAG_SAMPLED, hex2, hex16};

/// What a caller says of its trace. Identifiers stay in hexadecimal: they are copied, not computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// 32 lowercase hexadecimal digits, not all zero. Shorter ones are padded on the left.
    pub trace_id: [u8; 32],
    /// The caller's span: 16 lowercase hexadecimal digits, not all zero.
    pub span_id: [u8; 16],
    /// Absent: the caller has left the decision to us.
    pub sampled: Option<bool>,
    /// More than sampled: somebody looks at this one trace. B3 and Jaeger have it.
    pub debug: bool,
}

/// What a format's headers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A trace to continue.
    Context(Context),
    /// B3 alone: no trace, but what is to become of it.
    Decision {
        /// Whether it is sampled.
        sampled: bool,
        /// See [`Context::debug`].
        debug: bool,
    },
}

/// What the server is told. Identifiers are hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The trace.
    pub trace_id: [u8; 32],
    /// The CLIENT span.
    pub span_id: [u8; 16],
    /// The SERVER span where the request is recorded.
    pub server_span: Option<[u8; 16]>,
    /// W3C trace flags.
    pub flags: u8,
    /// The caller's debug flag, kept on.
    pub debug: bool,
}

impl Sent {
    /// What a record's head says.
    pub fn of(head: &Head) -> Self {
        let span = |id: [u8; 8]| hex16(u64::from_be_bytes(id));
        let (mut trace_id, id) = ([0; 32], u128::from_be_bytes(head.trace_id));
        let (high, low) = trace_id.split_at_mut(16);
        high.copy_from_slice(&hex16(u64::try_from(id >> 64).unwrap_or_default()));
        low.copy_from_slice(&hex16(u64::try_from(id & u128::from(u64::MAX)).unwrap_or_default()));
        Self {
            trace_id,
            span_id: span(head.client_span),
            server_span: head.verdict.recorded.then(|| span(head.server_span)),
            flags: head.flags,
            debug: head.verdict.debug,
        }
    }

    /// Whether the server is told that the trace is sampled.
    pub const fn is_sampled(&self) -> bool {
        self.flags & FLAG_SAMPLED != 0
    }

    /// `1` or `0`.
    pub const fn sampled_digit(&self) -> &'static [u8] {
        if self.is_sampled() { b"1" } else { b"0" }
    }

    /// Two digits.
    pub const fn flag_digits(&self) -> [u8; 2] {
        hex2(self.flags)
    }

    /// The span that a client of this proxy has called.
    pub fn called_span(&self) -> [u8; 16] {
        self.server_span.unwrap_or(self.span_id)
    }
}

/// An id of at most `N` hexadecimal digits in any case, as `N` lowercase ones. `None`: empty, longer, all zero, or something
/// else.
pub(super) fn padded<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut id = [b'0'; N];
    let room = id.get_mut(N.checked_sub(digits.len())?..)?;
    room.copy_from_slice(digits);
    id.make_ascii_lowercase();
    id.iter().any(|&digit| digit != b'0').then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::{Verdict, hex};
    use proptest::prelude::*;

    #[test]
    fn short_ids_are_padded_and_zero_is_none() {
        assert_eq!(padded::<4>(b"Af"), Some(*b"00af"));
        assert_eq!(padded::<4>(b"abcd"), Some(*b"abcd"));
        for bad in [&b""[..], b"0", b"0000", b"abcde", b"xy", b"+1", b" 1"] {
            assert_eq!(padded::<4>(bad), None);
        }
    }

    proptest! {
        #[test]
        fn a_record_s_head_says_what_was_sent(
            trace_id: [u8; 16], spans: [[u8; 8]; 2], flags: u8, recorded: bool, debug: bool,
        ) {
            let [client_span, server_span] = spans;
            let verdict = Verdict { recorded, debug, ..Verdict::default() };
            let head = Head { verdict, flags, trace_id, client_span, server_span, parent: [0; 8], started: 0 };
            let sent = Sent::of(&head);
            prop_assert_eq!((hex(&sent.trace_id), hex(&sent.span_id)), (Some(trace_id), Some(client_span)));
            prop_assert_eq!(sent.server_span.and_then(|span| hex(&span)), recorded.then_some(server_span));
            prop_assert_eq!((sent.flags, sent.debug), (flags, debug));
            prop_assert_eq!(hex(&sent.called_span()), Some(if recorded { server_span } else { client_span }));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = padded::<32>(&bytes);
        }
    }
}
