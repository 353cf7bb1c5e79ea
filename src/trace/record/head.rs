//! The head of a record: what was decided, the ids, when it began. Of fixed length, in binary.

/// What is to happen with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one bit each in the record, and any of them together")]
pub struct Verdict {
    /// Its end is recorded. A sampled request always is; one that is not may be, for what its end will say.
    pub recorded: bool,
    /// Its spans are exported, and the flag that says so goes upstream. OpenTelemetry specification, trace SDK, "Sampling".
    pub sampled: bool,
    /// Recorded for metrics and logs alone: no sampler asked for its end.
    pub measured: bool,
    /// The caller's debug flag is kept on: there is none in a `traceparent`.
    pub debug: bool,
    /// A connection in TCP mode, not a request.
    pub connection: bool,
}

/// The head of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// What was decided.
    pub verdict: Verdict,
    /// W3C trace flags, as sent to the server.
    pub flags: u8,
    /// The trace's id.
    pub trace_id: [u8; 16],
    /// The CLIENT span's id: the parent that the server sees.
    pub client_span: [u8; 8],
    /// The SERVER span's id.
    pub server_span: [u8; 8],
    /// The caller's span id; all zero if there is no caller.
    pub parent: [u8; 8],
    /// When the request was first seen here. Unix time, nanoseconds.
    pub started: u64,
}

impl Head {
    /// As bytes.
    pub fn to_bytes(&self) -> [u8; LEN] {
        let Verdict { recorded, sampled, measured, debug, connection } = self.verdict;
        let bits =
            [(recorded, RECORDED), (sampled, SAMPLED), (measured, MEASURED), (debug, DEBUG), (connection, CONNECTION)];
        let bits = bits.into_iter().fold(0, |bits, (set, bit)| if set { bits | bit } else { bits });
        let mut bytes = [0; LEN];
        let mut rest = bytes.as_mut_slice();
        let parts: [&[u8]; 6] = [
            &[bits, self.flags, 0, 0, 0, 0, 0, 0],
            &self.trace_id,
            &self.client_span,
            &self.server_span,
            &self.parent,
            &self.started.to_le_bytes(),
        ];
        for part in parts {
            let Some((room, after)) = rest.split_at_mut_checked(part.len()) else { break };
            room.copy_from_slice(part);
            rest = after;
        }
        bytes
    }

    /// Reads the head of a record, and gives what follows it. `None`: shorter.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<LEN>()?;
        let ([bits, flags, ..], after) = head.split_first_chunk::<8>()?;
        let (trace_id, after) = after.split_first_chunk::<16>()?;
        let (client_span, after) = after.split_first_chunk::<8>()?;
        let (server_span, after) = after.split_first_chunk::<8>()?;
        let (parent, after) = after.split_first_chunk::<8>()?;
        let (started, _) = after.split_first_chunk::<8>()?;
        let has = |bit| bits & bit != 0;
        let verdict = Verdict {
            recorded: has(RECORDED),
            sampled: has(SAMPLED),
            measured: has(MEASURED),
            debug: has(DEBUG),
            connection: has(CONNECTION),
        };
        let head = Self {
            verdict,
            flags: *flags,
            trace_id: *trace_id,
            client_span: *client_span,
            server_span: *server_span,
            parent: *parent,
            started: u64::from_le_bytes(*started),
        };
        Some((head, rest))
    }
}

/// Whether the record's end is wanted: a look at one byte. Hot path.
pub fn is_recorded(record: &[u8]) -> bool {
    record.len() >= LEN && record.first().is_some_and(|bits| bits & RECORDED != 0)
}

/// Whether nothing but metrics and logs asked for the record's end.
pub fn is_only_measured(record: &[u8]) -> bool {
    record.first().is_some_and(|bits| bits & MEASURED != 0)
}

/// When the request of a record was first seen here. Unix time, nanoseconds; 0: shorter than a head.
pub fn started(record: &[u8]) -> u64 {
    let started = record.get(STARTED).and_then(|bytes| bytes.first_chunk());
    started.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Bytes of a head.
pub const LEN: usize = 56;

/// Where the SERVER span's id stands.
pub const SERVER_SPAN: std::ops::Range<usize> = 32..40;

/// Where [`Head::started`] stands.
const STARTED: std::ops::Range<usize> = 48..LEN;

/// The first byte's bit that says whether the end is wanted. `lua/tracing.lua` reads it.
pub const RECORDED: u8 = 1;
const SAMPLED: u8 = 2;
const MEASURED: u8 = 4;
const DEBUG: u8 = 8;
const CONNECTION: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            bits: [bool; 5], flags: u8, trace_id: [u8; 16], spans: [[u8; 8]; 3], started: u64, after in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let [recorded, sampled, measured, debug, connection] = bits;
            let [client_span, server_span, parent] = spans;
            let verdict = Verdict { recorded, sampled, measured, debug, connection };
            let head = Head { verdict, flags, trace_id, client_span, server_span, parent, started };
            let bytes = [&head.to_bytes()[..], &after].concat();
            prop_assert_eq!(Head::read(&bytes), Some((head, &after[..])));
            prop_assert_eq!(&bytes[SERVER_SPAN], server_span);
            prop_assert_eq!(is_recorded(&bytes), recorded);
            prop_assert_eq!(super::started(&bytes), started);
            prop_assert_eq!(Head::read(&bytes[..LEN - 1]), None);
        }
    }
}
