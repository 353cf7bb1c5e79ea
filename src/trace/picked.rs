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
    /// Walks through `headers`, whose names HAProxy keeps in lower case. Hot path: the length tells most names apart.
    pub fn read(headers: &Block<'a>) -> Self {
        let mut picked = Self::default();
        match headers {
            Block::Text(_) => headers.iter().for_each(|(name, value)| picked.add(name, value)),
            Block::Message(message) => message.headers().for_each(|(name, value)| picked.add(name, value)),
        }
        picked
    }

    #[inline]
    fn add(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            4 if name == b"host" => self.host = value,
            7 if name == b"upgrade" => self.upgrade = value,
            10 => match name {
                b"user-agent" => self.user_agent = value,
                b"tracestate" => {
                    self.tracestate_lines += 1;
                    self.tracestate = value;
                }
                _ => {}
            },
            11 if name == b"traceparent" => {
                self.traceparent_lines += 1;
                self.traceparent = value;
            }
            12 if name == b"content-type" => self.content_type = value,
            14 if name == b"content-length" => self.content_length = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::headers::write_block;

    #[test]
    fn names_are_in_lower_case_and_lines_are_counted() {
        let text = write_block(&[
            (b"host", b"a"),
            (b"traceparent", b"1"),
            (b"tracestate", b"a=1"),
            (b"tracestate", b"b=2"),
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
