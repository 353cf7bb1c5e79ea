//! Addresses as text, without the allocation and the formatter that `to_string` takes.

use std::io::Write;
use std::net::IpAddr;

/// An address as text.
pub(super) struct Text {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Text {
    /// As `Display` writes it.
    pub(super) fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; LONGEST], len: 0 };
        match address {
            IpAddr::V4(address) => {
                let [first, rest @ ..] = address.octets();
                text.number(first);
                for octet in rest {
                    text.push(b'.');
                    text.number(octet);
                }
            }
            IpAddr::V6(address) => {
                let mut room = text.bytes.as_mut_slice();
                // There is room for the longest.
                let _ = write!(room, "{address}");
                text.len = LONGEST - room.len();
            }
        }
        text
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn number(&mut self, number: u8) {
        if number >= 100 {
            self.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.push(b'0' + number / 10 % 10);
        }
        self.push(b'0' + number % 10);
    }

    fn push(&mut self, byte: u8) {
        if let Some(room) = self.bytes.get_mut(self.len) {
            *room = byte;
            self.len += 1;
        }
    }
}

/// Bytes of the longest IPv6 address: `INET6_ADDRSTRLEN` without its NUL.
const LONGEST: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn addresses_are_written_as_everywhere(v4: [u8; 4], v6: [u8; 16]) {
            for address in [IpAddr::from(v4), IpAddr::from(v6)] {
                let (text, expected) = (Text::of(address), address.to_string());
                prop_assert_eq!(text.as_bytes(), expected.as_bytes());
            }
        }
    }
}
