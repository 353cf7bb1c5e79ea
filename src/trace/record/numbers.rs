//! What HAProxy counts and times of a request, as numbers. Of fixed length.

/// The numbers of a request that has ended. [`ABSENT`] where HAProxy has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The termination state, two letters.
    pub state: [u8; 2],
    /// The status that was sent; 0: none.
    pub status: u16,
    /// The status that the server answered with; 0: none, or not known apart from [`Self::status`].
    pub server_status: u16,
    /// 0: unknown.
    pub server_port: u16,
    /// 0: unknown.
    pub client_port: u16,
    /// 0: unknown.
    pub frontend_port: u16,
    /// 1, 2 or 3; 0: unknown.
    pub client_http_major: u8,
    /// 1, 2 or 3; 0: unknown.
    pub server_http_major: u8,
    /// [`bits`].
    pub bits: u8,
    /// Attempts after the first.
    pub retries: u32,
    /// Handshakes, idle, request headers, queue, connection, response headers. Milliseconds.
    pub timers: [i32; 6],
    /// When the request began. Unix time, nanoseconds; 0: the head says it.
    pub began: u64,
    /// When it was ready to leave for a server. Unix time, nanoseconds; 0: HAProxy's timers say it.
    pub left: u64,
    /// When the connection to the server was there; as [`Self::left`].
    pub connected: u64,
    /// When the response's headers were there; as [`Self::left`].
    pub answered: u64,
    /// When the response had been forwarded; 0: at the end.
    pub forwarded: u64,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// What [`Numbers::bits`] says.
pub mod bits {
    /// The last retry went to another server.
    pub const REDISPATCHED: u8 = 1;
    /// It is known whether the server's connection was used before.
    pub const REUSE_KNOWN: u8 = 2;
    /// It was.
    pub const REUSED: u8 = 4;
    /// The server is reached over TLS.
    pub const SERVER_TLS: u8 = 8;
    /// Whether it is over TLS is known.
    pub const SERVER_TLS_KNOWN: u8 = 16;
}

/// No such number of bytes.
pub const ABSENT: u64 = u64::MAX;

/// Bytes of all numbers.
pub(super) const LEN: usize = 100;

impl Default for Numbers {
    fn default() -> Self {
        Self {
            state: *b"--",
            status: 0,
            server_status: 0,
            server_port: 0,
            client_port: 0,
            frontend_port: 0,
            client_http_major: 0,
            server_http_major: 0,
            bits: 0,
            retries: 0,
            timers: [-1; 6],
            began: 0,
            left: 0,
            connected: 0,
            answered: 0,
            forwarded: 0,
            bytes_in: ABSENT,
            bytes_out: ABSENT,
        }
    }
}

impl Numbers {
    /// As bytes.
    #[inline]
    pub fn to_bytes(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        put(&mut bytes, 0, self.state);
        put(&mut bytes, 2, self.status.to_le_bytes());
        put(&mut bytes, 4, self.server_status.to_le_bytes());
        put(&mut bytes, 6, self.server_port.to_le_bytes());
        put(&mut bytes, 8, self.client_port.to_le_bytes());
        put(&mut bytes, 10, self.frontend_port.to_le_bytes());
        put(&mut bytes, 12, [self.client_http_major, self.server_http_major, self.bits, 0]);
        put(&mut bytes, 16, self.retries.to_le_bytes());
        for (n, timer) in self.timers.iter().enumerate() {
            put(&mut bytes, 20 + 4 * n, timer.to_le_bytes());
        }
        let stamps =
            [self.began, self.left, self.connected, self.answered, self.forwarded, self.bytes_in, self.bytes_out];
        for (n, number) in stamps.iter().enumerate() {
            put(&mut bytes, 44 + 8 * n, number.to_le_bytes());
        }
        bytes
    }

    /// Reads them. `None`: another length.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LEN] = bytes.try_into().ok()?;
        let short = |at| u16::from_le_bytes(take(bytes, at));
        let timer = |n: usize| i32::from_le_bytes(take(bytes, 20 + 4 * n));
        let long = |n: usize| u64::from_le_bytes(take(bytes, 44 + 8 * n));
        let [client_http_major, server_http_major, bits, _] = take(bytes, 12);
        Some(Self {
            state: take(bytes, 0),
            status: short(2),
            server_status: short(4),
            server_port: short(6),
            client_port: short(8),
            frontend_port: short(10),
            client_http_major,
            server_http_major,
            bits,
            retries: u32::from_le_bytes(take(bytes, 16)),
            timers: [timer(0), timer(1), timer(2), timer(3), timer(4), timer(5)],
            began: long(0),
            left: long(1),
            connected: long(2),
            answered: long(3),
            forwarded: long(4),
            bytes_in: long(5),
            bytes_out: long(6),
        })
    }

    /// Whether all of the `bits` are set.
    pub const fn has(&self, bits: u8) -> bool {
        self.bits & bits == bits
    }
}

#[inline]
fn put<const N: usize>(bytes: &mut [u8; LEN], at: usize, value: [u8; N]) {
    if let Some(room) = bytes.get_mut(at..at + N) {
        room.copy_from_slice(&value);
    }
}

#[inline]
fn take<const N: usize>(bytes: &[u8; LEN], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            state: [u8; 2], shorts: [u16; 5], small: [u8; 3], retries: u32, timers: [i32; 6], longs: [u64; 7],
        ) {
            let [status, server_status, server_port, client_port, frontend_port] = shorts;
            let [client_http_major, server_http_major, bits] = small;
            let [began, left, connected, answered, forwarded, bytes_in, bytes_out] = longs;
            let numbers = Numbers {
                state, status, server_status, server_port, client_port, frontend_port, client_http_major, server_http_major,
                bits, retries, timers, began, left, connected, answered, forwarded, bytes_in, bytes_out,
            };
            prop_assert_eq!(Numbers::read(&numbers.to_bytes()), Some(numbers));
            prop_assert_eq!(Numbers::read(&numbers.to_bytes()[1..]), None);
        }
    }
}
