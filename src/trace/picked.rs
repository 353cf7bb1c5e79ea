//! The headers that every request is looked at for, picked in one walk.

use super::headers::Block;

/// What one walk through a request's headers finds. Empty where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Picked<'a> {
    /// `Host`; HAProxy puts HTTP/2's `:authority` there.
    pub host: &'a [u8],
    /// `User-Agent`.
    pub user_agent: &'a [u8],
    /// `Upgrade`.
    pub upgrade: &'a [u8],
    /// `Content-Type`.
    pub content_type: &'a [u8],
    /// `Content-Length`.
    pub content_length: &'a [u8],
    /// The last line of `traceparent`.
    pub traceparent: &'a [u8],
    /// Its lines.
    pub traceparent_lines: usize,
    /// The last line of `tracestate`.
    pub tracestate: &'a [u8],
    /// Its lines.
    pub tracestate_lines: usize,
}

impl<'a> Picked<'a> {
    /// Walks through `headers`. Hot path: the length and the first letter tell most names apart without a comparison.
    pub fn read(headers: &Block<'a>) -> Self {
        let mut picked = Self::default();
        for (name, value) in headers {
            let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
            match (name.len(), name.first().map(|first| first | 0x20)) {
                (4, Some(b'h')) if is(b"host") => picked.host = value,
                (7, Some(b'u')) if is(b"upgrade") => picked.upgrade = value,
                (10, Some(b'u')) if is(b"user-agent") => picked.user_agent = value,
                (10, Some(b't')) if is(b"tracestate") => {
                    picked.tracestate_lines += 1;
                    picked.tracestate = value;
                }
                (11, Some(b't')) if is(b"traceparent") => {
                    picked.traceparent_lines += 1;
                    picked.traceparent = value;
                }
                (12, Some(b'c')) if is(b"content-type") => picked.content_type = value,
                (14, Some(b'c')) if is(b"content-length") => picked.content_length = value,
                _ => {}
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::headers::write_block;

    #[test]
    fn names_have_no_case_and_lines_are_counted() {
        let text = write_block(&[
            (b"Host", b"a"),
            (b"TraceParent", b"1"),
            (b"tracestate", b"a=1"),
            (b"TRACESTATE", b"b=2"),
            (b"user-agent", b"curl"),
            (b"hosts", b"x"),
            (b"", b""),
        ]);
        let expected = Picked {
            host: b"a",
            user_agent: b"curl",
            traceparent: b"1",
            traceparent_lines: 1,
            tracestate: b"b=2",
            tracestate_lines: 2,
            ..Picked::default()
        };
        assert_eq!(Picked::read(&Block::Text(&text)), expected);
    }
}
