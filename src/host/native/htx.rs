//! HTX, HAProxy's form of a message, read from the bytes that hold it. Safe: every address in it is checked.

/// A message's blocks, from its oldest on.
pub(in super::super) struct Blocks<'a> {
    bytes: &'a [u8],
    /// Where the blocks' contents begin, and the index of the blocks ends.
    start: usize,
    position: i32,
    tail: i32,
}

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Block<'a> {
    /// Method, target and version; or version, status and reason.
    Line([&'a [u8]; 3]),
    /// A header: its name in lower case, its value.
    Header(&'a [u8], &'a [u8]),
    /// A trailer.
    Trailer(&'a [u8], &'a [u8]),
    /// The end of the headers.
    EndOfHeaders,
    /// Bytes of the body.
    Data(&'a [u8]),
    /// Anything else: no part of the message.
    Other,
}

impl<'a> Blocks<'a> {
    /// No message.
    pub(super) const NONE: Self = Self { bytes: &[], start: 0, position: 0, tail: -1 };

    /// Of the bytes of an HTX message. `None` where its own size differs from theirs, or its blocks would not fit in.
    pub(super) fn new(bytes: &'a [u8], fields: Fields) -> Option<Self> {
        let Fields { positions, contents: start } = fields;
        let size = usize::try_from(number(bytes, SIZE)?).ok()?;
        let (tail, head) = (number(bytes, positions)?.cast_signed(), number(bytes, positions + 4)?.cast_signed());
        let fits = head <= tail && usize::try_from(tail).map_or(tail == -1, |tail| tail < size / ENTRY);
        if size.checked_add(start) != Some(bytes.len()) || !fits {
            return None;
        }
        Some(Self { bytes, start, position: if head < 0 { i32::MAX } else { head }, tail })
    }

    /// The next block and how many bytes of the message it is.
    fn advance(&mut self) -> Option<(Block<'a>, usize)> {
        if self.position > self.tail {
            return None;
        }
        let position = usize::try_from(self.position).ok()?;
        self.position = self.position.checked_add(1)?;
        let entry = self.bytes.len().checked_sub(position.checked_add(1)?.checked_mul(ENTRY)?)?;
        if entry < self.start {
            return None;
        }
        let (address, info) = (number(self.bytes, entry)?, number(self.bytes, entry + 4)?);
        let from = self.start.checked_add(usize::try_from(address).ok()?)?;
        let rest = self.bytes.get(from..)?;
        let text = |from: usize, len: usize| rest.get(from..from.checked_add(len)?);
        let named = || {
            let (name, value) = ((info & 0xff) as usize, (info >> 8 & 0xf_ffff) as usize);
            Some((text(0, name)?, text(name, value)?, name + value))
        };
        let all = (info & 0xfff_ffff) as usize;
        Some(match info >> 28 {
            0 | 1 => (Block::Line(line(text(0, all)?)?), all),
            2 => named().map(|(name, value, len)| (Block::Header(name, value), len))?,
            3 => (Block::EndOfHeaders, all),
            4 => (Block::Data(text(0, all)?), all),
            5 => named().map(|(name, value, len)| (Block::Trailer(name, value), len))?,
            15 => (Block::Other, 0),
            _ => (Block::Other, all),
        })
    }

    /// The trailers that begin within `len` bytes from `offset` on.
    pub(super) fn trailers(mut self, offset: usize, len: usize, mut each: impl FnMut(&[u8], &[u8])) {
        let mut at = 0;
        while let Some((block, size)) = self.advance() {
            if let Block::Trailer(name, value) = block
                && at >= offset
                && at < offset.saturating_add(len)
            {
                each(name, value);
            }
            at = at.saturating_add(size);
        }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().map(|(block, _)| block)
    }
}

/// `htx_sl`: flags, method or status, three lengths, three texts.
fn line(block: &[u8]) -> Option<[&[u8]; 3]> {
    let mut from = 20usize;
    let mut part = |length_at: usize| {
        let len = usize::try_from(number(block, length_at)?).ok()?;
        let text = block.get(from..from.checked_add(len)?)?;
        from += len;
        Some(text)
    };
    Some([part(8)?, part(12)?, part(16)?])
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Where `struct htx` has what. Its size comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Fields {
    /// The positions of the newest block, of the oldest, and of the first to look at: three numbers in a row.
    pub(in super::super) positions: usize,
    /// Its blocks' contents. Their addresses count from here.
    pub(in super::super) contents: usize,
}

const SIZE: usize = 0;

/// Bytes of `struct htx_blk`.
const ENTRY: usize = 8;

#[cfg(test)]
mod tests {
    use super::{Block, Blocks, Fields};

    const FIELDS: Fields = Fields { positions: 8, contents: 48 };

    /// A message as HAProxy 3.2 lays it out.
    fn message(blocks: &[(u32, Vec<u8>)], size: usize) -> Vec<u8> {
        let mut bytes = vec![0; 48 + size];
        let mut at = 0;
        for (n, (info, content)) in blocks.iter().enumerate() {
            bytes[48 + at..48 + at + content.len()].copy_from_slice(content);
            let entry = bytes.len() - 8 * (n + 1);
            bytes[entry..entry + 4].copy_from_slice(&u32::try_from(at).unwrap().to_ne_bytes());
            bytes[entry + 4..entry + 8].copy_from_slice(&info.to_ne_bytes());
            at += content.len();
        }
        bytes[..4].copy_from_slice(&u32::try_from(size).unwrap().to_ne_bytes());
        bytes[8..12].copy_from_slice(&(i32::try_from(blocks.len()).unwrap() - 1).to_ne_bytes());
        bytes
    }

    fn start_line() -> (u32, Vec<u8>) {
        let mut line = vec![0; 8];
        for len in [3u32, 1, 8] {
            line.extend(len.to_ne_bytes());
        }
        line.extend(b"GET/HTTP/1.1");
        (u32::try_from(line.len()).unwrap(), line)
    }

    fn request() -> Vec<u8> {
        let header = (2 << 28 | 1 << 8 | 4, b"hosta".to_vec());
        let trailer = (5 << 28 | 2 << 8 | 3, b"tlrxy".to_vec());
        message(&[start_line(), header, (3 << 28 | 1, vec![0]), (4 << 28 | 2, b"hi".to_vec()), trailer], 256)
    }

    #[test]
    fn blocks_come_in_order() {
        let bytes = request();
        let blocks: Vec<_> = Blocks::new(&bytes, FIELDS).unwrap().collect();
        let expected = [
            Block::Line([b"GET", b"/", b"HTTP/1.1"]),
            Block::Header(b"host", b"a"),
            Block::EndOfHeaders,
            Block::Data(b"hi"),
            Block::Trailer(b"tlr", b"xy"),
        ];
        assert_eq!(blocks, expected);
    }

    #[test]
    fn a_trailer_is_found_where_it_is_and_nowhere_else() {
        let bytes = request();
        let found = |offset, len| {
            let mut names = Vec::new();
            Blocks::new(&bytes, FIELDS)
                .unwrap()
                .trailers(offset, len, |name, value| names.push((name.to_vec(), value.to_vec())));
            names
        };
        let before = 32 + 5 + 1;
        assert_eq!(found(before, 7), [(b"tlr".to_vec(), b"xy".to_vec())]);
        assert!(found(before, 2).is_empty());
        assert!(found(before + 3, 9).is_empty());
    }

    #[test]
    fn another_layout_is_noticed() {
        assert!(Blocks::new(&request(), Fields { contents: 40, ..FIELDS }).is_none());
    }

    #[test]
    fn addresses_out_of_the_message_end_it() {
        let mut bytes = request();
        let entry = bytes.len() - 16;
        bytes[entry..entry + 4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(Blocks::new(&bytes, FIELDS).unwrap().count(), 1);
        for tail in [i32::MAX, 256 / 8, -2] {
            bytes[8..12].copy_from_slice(&tail.to_ne_bytes());
            assert!(Blocks::new(&bytes, FIELDS).is_none(), "{tail}");
        }
    }
}
