//! One HAProxy thread's finished requests, on their way to the runtime.
//!
//! A record in the ring: its length (4 bytes, little-endian), the time it ended (8 bytes, little-endian, Unix
//! nanoseconds), its bytes.

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::Notify;

/// The end that a HAProxy thread holds.
///
/// Hot path: [`Writer::push`] takes no lock, never blocks, never logs, allocates nothing. At the bound the newest
/// record is refused; the caller counts it (`reason="ring_full"`). The reader is woken once per eighth of the ring,
/// not per record: its own timer watches the age.
#[derive(Debug)]
pub struct Writer {
    ring: Producer<u8>,
    wake: Arc<Notify>,
    /// Bytes pushed since the reader was last woken.
    since_wake: usize,
    wake_every: usize,
}

/// The end that the runtime holds.
#[derive(Debug)]
pub struct Reader {
    ring: Consumer<u8>,
    /// A record that wraps around the ring's end, put together.
    scratch: Vec<u8>,
}

/// The ring was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full")]
pub struct Full;

/// A ring of `bytes`; `wake` is told when there is much to read.
pub fn ring(bytes: usize, wake: Arc<Notify>) -> (Writer, Reader) {
    let (producer, consumer) = RingBuffer::new(bytes);
    (
        Writer { ring: producer, wake, since_wake: 0, wake_every: bytes / 8 },
        Reader { ring: consumer, scratch: Vec::new() },
    )
}

impl Writer {
    /// Copies one record into the ring. A record longer than the ring never fits.
    pub fn push(&mut self, end_unix_nanos: u64, payload: &[u8]) -> Result<(), Full> {
        let len = u32::try_from(payload.len()).map_err(|_| Full)?;
        let total = HEADER_LEN + payload.len();
        let mut header = [0; HEADER_LEN];
        let (head, tail) = header.split_at_mut(4);
        head.copy_from_slice(&len.to_le_bytes());
        tail.copy_from_slice(&end_unix_nanos.to_le_bytes());
        // The header alone must never become visible: both fit, or neither is written.
        let mut chunk = self.ring.write_chunk(total).map_err(|_| Full)?;
        let (first, second) = chunk.as_mut_slices();
        let rest = copy(&header, first);
        let (first, second) = if rest.is_empty() {
            (first.get_mut(HEADER_LEN..).unwrap_or_default(), second)
        } else {
            let written = rest.len();
            let _ = copy(rest, second);
            (second.get_mut(written..).unwrap_or_default(), [].as_mut_slice())
        };
        let rest = copy(payload, first);
        let _ = copy(rest, second);
        chunk.commit_all();

        self.since_wake += total;
        if self.since_wake >= self.wake_every {
            self.since_wake = 0;
            self.wake.notify_one();
        }
        Ok(())
    }
}

impl Reader {
    /// Hands records to `visit`, oldest first, at most `limit` of them; says how many there were. The writer has
    /// their room back after that.
    pub fn drain(&mut self, limit: usize, mut visit: impl FnMut(u64, &[u8])) -> usize {
        let mut count = 0;
        let Ok(chunk) = self.ring.read_chunk(self.ring.slots()) else { return 0 };
        let (first, second) = chunk.as_slices();
        let mut view = View { first, second, at: 0 };
        while count < limit {
            let start = view.at;
            let Some(header) = view.take(HEADER_LEN, &mut self.scratch) else { break };
            let (len, end) = header.split_at(4);
            let len = usize::try_from(u32::from_le_bytes(len.try_into().unwrap_or_default())).unwrap_or(usize::MAX);
            let end = u64::from_le_bytes(end.try_into().unwrap_or_default());
            let Some(payload) = view.take(len, &mut self.scratch) else {
                view.at = start;
                break;
            };
            visit(end, payload);
            count += 1;
        }
        let read = view.at;
        chunk.commit(read);
        count
    }

    /// The writer has gone and everything is read.
    pub fn is_finished(&self) -> bool {
        self.ring.is_abandoned() && self.ring.is_empty()
    }
}

/// The readable bytes: two pieces where they wrap.
struct View<'a> {
    first: &'a [u8],
    second: &'a [u8],
    at: usize,
}

impl<'a> View<'a> {
    /// The next `len` bytes in one piece.
    fn take<'s>(&mut self, len: usize, scratch: &'s mut Vec<u8>) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        let (from, to) = (self.at, self.at.checked_add(len)?);
        let split = self.first.len();
        if to > split + self.second.len() {
            return None;
        }
        self.at = to;
        if to <= split {
            return self.first.get(from..to);
        }
        if from >= split {
            return self.second.get(from - split..to - split);
        }
        scratch.clear();
        scratch.extend_from_slice(self.first.get(from..)?);
        scratch.extend_from_slice(self.second.get(..to - split)?);
        Some(scratch)
    }
}

/// Copies as much of `from` as fits; gives what did not.
fn copy<'a>(from: &'a [u8], to: &mut [u8]) -> &'a [u8] {
    let (now, later) = from.split_at(from.len().min(to.len()));
    if let Some(room) = to.get_mut(..now.len()) {
        room.copy_from_slice(now);
    }
    later
}

/// Bytes in front of every record.
const HEADER_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_ring_refuses_the_newest_and_keeps_the_rest() {
        let (mut writer, mut reader) = ring(100, Arc::new(Notify::new()));
        assert_eq!(writer.push(1, &[7; 40]), Ok(()));
        assert_eq!(writer.push(2, &[8; 36]), Ok(()));
        assert_eq!(writer.push(3, b""), Err(Full));
        let mut seen = Vec::new();
        assert_eq!(reader.drain(usize::MAX, |end, bytes| seen.push((end, bytes.to_vec()))), 2);
        assert_eq!(seen, [(1, vec![7; 40]), (2, vec![8; 36])]);
        assert_eq!(writer.push(4, &[9; 88]), Ok(()));
        assert_eq!(writer.push(5, &[9; 89]), Err(Full));
    }

    #[test]
    fn drain_stops_at_its_limit() {
        let (mut writer, mut reader) = ring(1000, Arc::new(Notify::new()));
        for n in 0..5 {
            writer.push(n, b"x").unwrap();
        }
        assert_eq!(reader.drain(2, |_, _| {}), 2);
        let mut ends = Vec::new();
        assert_eq!(reader.drain(9, |end, _| ends.push(end)), 3);
        assert_eq!(ends, [2, 3, 4]);
    }

    #[test]
    fn the_reader_sees_what_is_left_after_the_writer_has_gone() {
        let (mut writer, mut reader) = ring(1000, Arc::new(Notify::new()));
        writer.push(1, b"last").unwrap();
        drop(writer);
        assert!(!reader.is_finished());
        assert_eq!(reader.drain(9, |_, bytes| assert_eq!(bytes, b"last")), 1);
        assert!(reader.is_finished());
    }

    proptest! {
        #[test]
        fn records_come_out_as_they_went_in(
            records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..200),
            drain_every in 1_usize..8,
        ) {
            let (mut writer, mut reader) = ring(700, Arc::new(Notify::new()));
            let (mut expected, mut seen) = (Vec::new(), Vec::new());
            for (n, record) in records.iter().enumerate() {
                if writer.push(n as u64, record).is_ok() {
                    expected.push((n as u64, record.clone()));
                }
                if n % drain_every == 0 {
                    reader.drain(3, |end, bytes| seen.push((end, bytes.to_vec())));
                }
            }
            reader.drain(usize::MAX, |end, bytes| seen.push((end, bytes.to_vec())));
            prop_assert_eq!(seen, expected);
        }
    }
}
