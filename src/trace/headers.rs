//! A request's headers as HAProxy's `req.hdrs_bin` hands them over.
//!
//! Each header is a name and a value, each behind its length; an empty name ends the list. Lengths are SPOE varints:
//! below 240 one byte, above it more (HAProxy, doc/SPOE.txt, 3.1).

/// Goes through the headers of one block. Total: broken bytes end the walk.
#[derive(Debug, Clone)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// The headers in `block`.
    pub const fn new(block: &'a [u8]) -> Self {
        Self(block)
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let (&first, mut rest) = self.0.split_first()?;
        let mut len = usize::from(first);
        if first >= 240 {
            let mut shift = 4;
            loop {
                let (&byte, after) = rest.split_first()?;
                rest = after;
                len += usize::from(byte) << shift;
                if byte < 128 {
                    break;
                }
                shift += 7;
                // Longer than any buffer of HAProxy's.
                if shift > 32 {
                    return None;
                }
            }
        }
        let (part, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(part)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.part()?;
        if name.is_empty() {
            return None;
        }
        Some((name, self.part()?))
    }
}

/// Writes a block, as HAProxy does: for tests and benchmarks.
#[doc(hidden)]
pub fn write_block(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for part in headers.iter().flat_map(|(name, value)| [*name, *value]) {
        let mut rest = part.len();
        if rest < 240 {
            block.push(u8::try_from(rest).unwrap_or(0));
        } else {
            block.push(u8::try_from(rest & 0x0f).unwrap_or(0) | 0xf0);
            rest = (rest - 240) >> 4;
            while rest >= 128 {
                block.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
                rest = (rest - 128) >> 7;
            }
            block.push(u8::try_from(rest).unwrap_or(0));
        }
        block.extend_from_slice(part);
    }
    block.extend_from_slice(&[0, 0]);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            headers in proptest::collection::vec(
                ("[a-z-]{1,40}", proptest::collection::vec(any::<u8>(), 0..9000)), 0..20)
        ) {
            let pairs: Vec<_> = headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
            let block = write_block(&pairs);
            let read: Vec<_> = Headers::new(&block).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(block in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Headers::new(&block).count() <= block.len());
        }
    }
}
