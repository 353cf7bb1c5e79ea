//! A request's headers, as HAProxy hands them over: in its own buffer to native hooks, as text to Lua.
//!
//! The text is that of `req.hdrs`: `name: value` lines that end in CR LF, then an empty line. HAProxy lets no line end and no
//! NUL pass in a value, from HTTP/1.1 as from HTTP/2.

use memchr::memchr;

use super::htx;
use super::record::scan::{find, split_once};

/// The headers of one request. Borrowed: nothing is copied before it is known to be wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block<'a> {
    /// Lines of text.
    Text(&'a [u8]),
    /// A message in HAProxy's buffer.
    Message(htx::Message<'a>),
}

impl<'a> Block<'a> {
    /// Goes through all of them.
    pub const fn iter(&self) -> Headers<'a> {
        match self {
            Self::Text(text) => Headers::Lines(Lines(text)),
            Self::Message(message) => Headers::Message(message.headers()),
        }
    }
}

impl Default for Block<'_> {
    fn default() -> Self {
        Self::Text(b"")
    }
}

impl<'a> IntoIterator for &Block<'a> {
    type Item = (&'a [u8], &'a [u8]);
    type IntoIter = Headers<'a>;

    fn into_iter(self) -> Headers<'a> {
        self.iter()
    }
}

/// Goes through the headers of one block. Total: broken bytes end the walk.
#[derive(Debug, Clone)]
pub enum Headers<'a> {
    /// Of lines of text.
    Lines(Lines<'a>),
    /// Of a message.
    Message(htx::Headers<'a>),
}

impl<'a> Headers<'a> {
    /// The next header whose name begins with one of the lower-case `initials`: the others cost next to nothing.
    #[inline]
    pub fn next_of(&mut self, initials: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        match self {
            Self::Lines(lines) => lines.next_of(initials),
            Self::Message(headers) => headers.next_of(initials),
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Lines(lines) => lines.next(),
            Self::Message(headers) => headers.next(),
        }
    }
}

/// Goes through lines of text.
#[derive(Debug, Clone)]
pub struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next_of(&mut self, initials: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        loop {
            let line = self.line()?;
            let first = line.first()?.to_ascii_lowercase();
            if initials.contains(&first) {
                return halves(line);
            }
        }
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let (line, rest) = self.0.split_at_checked(line_end(self.0)?)?;
        self.0 = rest.get(1..)?;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        halves(self.line()?)
    }
}

/// Most lines are short, where the plain search is quicker; cookies are not.
fn line_end(block: &[u8]) -> Option<usize> {
    match block.split_at_checked(SHORT) {
        Some((near, far)) => find(near, b'\n').or_else(|| memchr(b'\n', far).map(|at| SHORT + at)),
        None => find(block, b'\n'),
    }
}

/// Bytes of a header line that is not long.
const SHORT: usize = 48;

fn halves(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = split_once(line, b':')?;
    Some((name, value.strip_prefix(b" ").unwrap_or(value)))
}

/// Writes a block, as HAProxy does: for tests and benchmarks.
#[doc(hidden)]
pub fn write_block(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        for part in [name, &b": "[..], value, b"\r\n"] {
            block.extend_from_slice(part);
        }
    }
    block.extend_from_slice(b"\r\n");
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_value_hides_no_header_after_it() {
        let block = write_block(&[(b"a", b""), (b"b", b":1: ")]);
        let read: Vec<_> = Block::Text(&block).iter().collect();
        assert_eq!(read, [(&b"a"[..], &b""[..]), (b"b", b":1: ")]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            headers in proptest::collection::vec(
                ("[a-z-]{1,40}", proptest::collection::vec(0x20_u8.., 0..9000)), 0..20)
        ) {
            let pairs: Vec<_> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
            let block = write_block(&pairs);
            let read: Vec<_> = Block::Text(&block).iter().collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(block in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Block::Text(&block).iter().count() <= block.len());
        }
    }
}
