//! An HTTP message as HAProxy keeps it in a buffer (HTX), read from its bytes. Total: any bytes get an answer.
//!
//! The message begins with numbers, then comes an area. Blocks' descriptors stand at the area's end, the first one last:
//! eight bytes each, where the block's bytes are and what they are. `include/haproxy/htx-t.h` of HAProxy; the assumptions
//! are those of `host/native`.

/// Where things stand in a message: bytes from its begin. They differ between versions of HAProxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The positions of the newest block, the oldest, and the first of the message, four bytes each.
    pub positions: usize,
    /// The area: contents, then descriptors.
    pub contents: usize,
}

/// Whether `bytes` hold a message of just their size: HAProxy keeps one in a whole buffer.
pub fn is_message(bytes: &[u8], layout: Layout) -> bool {
    let size = bytes.first_chunk().and_then(|size| usize::try_from(u32::from_le_bytes(*size)).ok());
    size.and_then(|size| size.checked_add(layout.contents)) == Some(bytes.len())
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// From the area's begin to its end.
    area: &'a [u8],
    /// Position of the start line's descriptor.
    first: usize,
    /// Position of the newest descriptor.
    last: usize,
}

/// A message's first line. RFC 9112, 3 and 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartLine<'a> {
    /// Method, target and version of a request; version, status and reason of a response.
    pub parts: [&'a [u8]; 3],
    /// Of a response.
    pub status: u16,
}

/// Goes through a message's headers; names are in lower case.
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    message: Message<'a>,
    next: usize,
    kind: u32,
}

/// One descriptor.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Where its bytes begin in the area.
    at: usize,
    info: u32,
}

impl<'a> Message<'a> {
    /// The message in `bytes`. `None`: there is no start line.
    pub fn new(bytes: &'a [u8], layout: Layout) -> Option<Self> {
        let (area, first, last) = Self::outline(bytes, layout, FIRST)?;
        Some(Self { area, first, last })
    }

    /// The first line.
    pub fn start_line(self) -> Option<StartLine<'a>> {
        let block = self.block(self.first)?;
        let line = self.area.get(block.at..)?.get(..block.len())?;
        let length = |n: usize| {
            let number = line.get(8 + 4 * n..)?.first_chunk()?;
            usize::try_from(u32::from_le_bytes(*number)).ok()
        };
        let (first, rest) = line.get(LINE_TEXT..)?.split_at_checked(length(0)?)?;
        let (second, rest) = rest.split_at_checked(length(1)?)?;
        let third = rest.get(..length(2)?)?;
        let status = if block.kind() == RESPONSE_LINE { u16::from_le_bytes(*line.get(4..)?.first_chunk()?) } else { 0 };
        (block.kind() <= RESPONSE_LINE).then_some(StartLine { parts: [first, second, third], status })
    }

    /// The headers.
    pub const fn headers(self) -> Headers<'a> {
        Headers { message: self, next: self.first.saturating_add(1), kind: HEADER }
    }

    /// The trailers in `bytes`. They come without a start line where that was sent before.
    pub fn trailers(bytes: &'a [u8], layout: Layout) -> Option<Headers<'a>> {
        let (area, head, last) = Self::outline(bytes, layout, HEAD)?;
        Some(Headers { message: Self { area, first: head, last }, next: head, kind: TRAILER })
    }

    /// The area, the position that stands at `from`, and the newest descriptor's.
    fn outline(bytes: &'a [u8], layout: Layout, from: usize) -> Option<(&'a [u8], usize, usize)> {
        let Layout { positions, contents } = layout;
        let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let position = |at: usize| usize::try_from(number(at)?.cast_signed()).ok();
        let size = usize::try_from(number(0)?).ok()?;
        Some((bytes.get(contents..)?.get(..size)?, position(positions.checked_add(from)?)?, position(positions)?))
    }

    fn block(self, position: usize) -> Option<Block> {
        let at = self.area.len().checked_sub(position.checked_add(1)?.checked_mul(8)?)?;
        let (place, rest) = self.area.get(at..)?.split_first_chunk()?;
        let at = usize::try_from(u32::from_le_bytes(*place)).ok()?;
        Some(Block { at, info: u32::from_le_bytes(*rest.first_chunk()?) })
    }
}

impl Block {
    const fn kind(self) -> u32 {
        self.info >> 28
    }

    /// Bytes of a block that is no header.
    const fn len(self) -> usize {
        (self.info & 0x0fff_ffff) as usize
    }

    const fn name_len(self) -> usize {
        (self.info & 0xff) as usize
    }

    const fn value_len(self) -> usize {
        (self.info >> 8 & 0xf_ffff) as usize
    }
}

impl<'a> Headers<'a> {
    /// The next header whose name begins with one of the `initials`.
    pub fn next_of(&mut self, initials: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
        self.find(|(name, _)| name.first().is_some_and(|first| initials.contains(first)))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.next <= self.message.last {
            let block = self.message.block(self.next)?;
            self.next += 1;
            if block.kind() == self.kind {
                let (name, rest) = self.message.area.get(block.at..)?.split_at_checked(block.name_len())?;
                return Some((name, rest.get(..block.value_len())?));
            }
            // A removed header leaves its descriptor behind; the end of headers ends them.
            if self.kind == HEADER && block.kind() != UNUSED {
                return None;
            }
        }
        None
    }
}

/// Bytes from the first of the positions, which is the newest block's.
const HEAD: usize = 4;
const FIRST: usize = 8;

/// Where a start line's text begins: after flags, method or status, and three lengths.
const LINE_TEXT: usize = 20;

// `enum htx_blk_type`.
const RESPONSE_LINE: u32 = 1;
const HEADER: u32 = 2;
const TRAILER: u32 = 5;
const UNUSED: u32 = 15;

/// A message as HAProxy lays it out: for tests, benchmarks and fuzzing.
#[doc(hidden)]
pub fn write(layout: Layout, line: [&[u8]; 3], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut payload = vec![0; 8];
    payload.extend(line.iter().flat_map(|part| u32::try_from(part.len()).unwrap_or_default().to_le_bytes()));
    payload.extend(line.concat());
    let low = |len: usize| u32::try_from(len).unwrap_or_default();
    let mut blocks = vec![(0, low(payload.len()))];
    for (name, value) in headers {
        blocks.push((low(payload.len()), HEADER << 28 | low(value.len()) << 8 | low(name.len())));
        payload.extend([*name, value].concat());
    }
    blocks.push((low(payload.len()), 3 << 28 | 1));
    payload.push(0);
    let size = (payload.len() + 8 * blocks.len() + 64).next_multiple_of(8);
    let mut bytes = vec![0; layout.contents];
    let mut number = |at: usize, value: u32| {
        if let Some(room) = bytes.get_mut(at..at + 4) {
            room.copy_from_slice(&value.to_le_bytes());
        }
    };
    number(0, low(size));
    number(layout.positions, low(blocks.len() - 1));
    payload.resize(size - 8 * blocks.len(), 0);
    bytes.extend(payload);
    for (at, info) in blocks.iter().rev() {
        bytes.extend(at.to_le_bytes());
        bytes.extend(info.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: Layout = Layout { positions: 8, contents: 48 };
    const NEW: Layout = Layout { positions: 12, contents: 40 };

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            headers in proptest::collection::vec(("[a-z-]{1,40}", "[ -~]{0,300}"), 0..20), target in "[ -~]{0,90}",
            layout in prop_oneof![Just(OLD), Just(NEW)],
        ) {
            let pairs: Vec<_> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            let line = [&b"GET"[..], target.as_bytes(), b"HTTP/1.1"];
            let bytes = write(layout, line, &pairs);
            prop_assert!(is_message(&bytes, layout));
            let message = Message::new(&bytes, layout).unwrap();
            prop_assert_eq!(message.start_line().unwrap().parts, line);
            prop_assert_eq!(message.headers().collect::<Vec<_>>(), pairs);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), small in 0_u32..300, at in 0_usize..300, byte: u8,
        ) {
            let mut changed = write(OLD, [b"GET", b"/", b"HTTP/1.1"], &[(b"host", b"a"), (b"x", b"")]);
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            let mut sized = bytes;
            if let Some(size) = sized.get_mut(..4) {
                size.copy_from_slice(&small.to_le_bytes());
            }
            for bytes in [changed, sized] {
                let _ = Message::trailers(&bytes, NEW).map(Iterator::count);
                let Some(message) = Message::new(&bytes, NEW) else { continue };
                let _ = (message.start_line(), message.headers().count());
            }
        }
    }
}
