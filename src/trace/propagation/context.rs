//! A trace's context between two services, whatever the format.

use crate::trace::carry::{SERVER_SPAN, TRACEPARENT_LEN, Verdict};

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

/// What the server is told, read from the bytes that HAProxy carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// 32 hexadecimal digits.
    pub trace_id: &'a [u8],
    /// The CLIENT span: 16 hexadecimal digits.
    pub span_id: &'a [u8],
    /// The SERVER span where the request is recorded: 16 hexadecimal digits.
    pub server_span: Option<&'a [u8]>,
    /// Two hexadecimal digits.
    pub flags: &'a [u8],
    /// The caller's debug flag, kept on.
    pub debug: bool,
}

impl<'a> Sent<'a> {
    /// Reads the fixed part. `None`: not ours.
    pub fn of(carried: &'a [u8]) -> Option<Self> {
        let traceparent = carried.get(..TRACEPARENT_LEN)?;
        let recorded = Verdict::is_recorded(carried);
        Some(Self {
            trace_id: traceparent.get(3..35)?,
            span_id: traceparent.get(36..52)?,
            server_span: if recorded { carried.get(SERVER_SPAN) } else { None },
            flags: traceparent.get(53..55)?,
            debug: Verdict::is_debug(carried),
        })
    }

    /// Whether the server is told that the trace is sampled.
    pub fn is_sampled(&self) -> bool {
        matches!(self.flags.last(), Some(b'1' | b'3'))
    }

    /// `1` or `0`.
    pub fn sampled_digit(&self) -> &'static [u8] {
        if self.is_sampled() { b"1" } else { b"0" }
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
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = padded::<32>(&bytes);
            let _ = Sent::of(&bytes);
        }
    }
}
