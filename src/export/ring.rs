//! One HAProxy thread's finished requests, on their way to the runtime.
//!
//! A record in the ring: its length (4 bytes, little-endian), the time it ended (8 bytes, little-endian, Unix
//! nanoseconds), its bytes.
//!
//! The ring is a chain of segments. While the reader keeps up there is one, small enough to stay in the processor's cache; more are
//! added, up to the bound, where it does not, and are given back afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};
use tokio::sync::Notify;

/// The end that a HAProxy thread holds.
///
/// Hot path: [`Writer::push`] takes no lock, never blocks, never logs, and allocates where a segment is added alone. At the bound
/// the newest record is refused; the caller counts it (`reason="ring_full"`). The reader is woken once per half of a segment, not
/// per record: its own timer watches the age.
#[derive(Debug)]
pub struct Writer {
    ring: Producer<u8>,
    /// Where the reader finds the segments that follow.
    following: Producer<Consumer<u8>>,
    /// Segments that the reader has not left.
    held: Arc<AtomicUsize>,
    segment: usize,
    most: usize,
    wake: Arc<Notify>,
    /// Bytes pushed since the reader was last woken.
    since_wake: usize,
}

/// The end that the runtime holds.
#[derive(Debug)]
pub struct Reader {
    ring: Consumer<u8>,
    following: Consumer<Consumer<u8>>,
    held: Arc<AtomicUsize>,
    /// A record that wraps around a segment's end, put together.
    scratch: Vec<u8>,
}

/// The ring was full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full")]
pub struct Full;

/// A ring of `bytes`, in whole segments; `wake` is told when there is much to read.
pub fn ring(bytes: usize, wake: Arc<Notify>) -> (Writer, Reader) {
    let segment = bytes.min(SEGMENT);
    let most = (bytes / segment.max(1)).max(1);
    let (producer, consumer) = RingBuffer::new(segment);
    let (following, followers) = RingBuffer::new(most);
    let held = Arc::new(AtomicUsize::new(1));
    (
        Writer { ring: producer, following, held: Arc::clone(&held), segment, most, wake, since_wake: 0 },
        Reader { ring: consumer, following: followers, held, scratch: Vec::new() },
    )
}

/// Bytes of a segment: it stays in a core's own cache.
const SEGMENT: usize = 256 * 1024;

impl Writer {
    /// Copies one record into the ring. A record longer than the ring never fits.
    pub fn push(&mut self, end_unix_nanos: u64, payload: &[u8]) -> Result<(), Full> {
        let len = u32::try_from(payload.len()).map_err(|_| Full)?;
        let total = HEADER_LEN + payload.len();
        let mut header = [0; HEADER_LEN];
        let (head, tail) = header.split_at_mut(4);
        head.copy_from_slice(&len.to_le_bytes());
        tail.copy_from_slice(&end_unix_nanos.to_le_bytes());
        if self.ring.slots() < total {
            self.grow(total)?;
        }
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
        if self.since_wake >= self.segment / 2 {
            self.since_wake = 0;
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Adds a segment, unless there are as many as may be. What is in the one before is read first.
    #[cold]
    fn grow(&mut self, total: usize) -> Result<(), Full> {
        if total > self.segment || self.held.load(Ordering::Relaxed) >= self.most {
            return Err(Full);
        }
        let (producer, consumer) = RingBuffer::new(self.segment);
        self.following.push(consumer).map_err(|_| Full)?;
        self.held.fetch_add(1, Ordering::Relaxed);
        // Its end tells the reader to go on to the next.
        self.ring = producer;
        self.wake.notify_one();
        Ok(())
    }
}

impl Reader {
    /// Hands records to `visit`, oldest first, at most `limit` of them; says how many there were. The writer has
    /// their room back after that.
    pub fn drain(&mut self, limit: usize, mut visit: impl FnMut(u64, &[u8])) -> usize {
        let mut count = self.drain_segment(limit, &mut visit);
        while count < limit && self.go_on() {
            count += self.drain_segment(limit - count, &mut visit);
        }
        count
    }

    /// Leaves a segment that is read to its end and will get no more for the next. Whether there was one.
    fn go_on(&mut self) -> bool {
        if !self.is_over() {
            return false;
        }
        let Ok(next) = self.following.pop() else { return false };
        self.ring = next;
        self.held.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn drain_segment(&mut self, limit: usize, visit: &mut impl FnMut(u64, &[u8])) -> usize {
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
        self.is_over() && self.following.is_empty()
    }

    /// The segment is read to its end and gets no more.
    fn is_over(&self) -> bool {
        let left = self.ring.is_abandoned();
        // What the writer did before it left is seen after this.
        fence(Ordering::Acquire);
        left && self.ring.is_empty()
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

    #[test]
    fn a_ring_grows_by_segments_to_its_bound_and_keeps_the_order() {
        let (mut writer, mut reader) = ring(3 * SEGMENT, Arc::new(Notify::new()));
        for round in 0..3_u64 {
            let mut pushed = 0;
            while writer.push(pushed, &[7; 1000]).is_ok() {
                pushed += 1;
            }
            // Less than a record is lost at the end of each segment.
            assert!(
                (3 * SEGMENT / 1012 - 3..=3 * SEGMENT / 1012).contains(&usize::try_from(pushed).unwrap()),
                "{round}"
            );
            let mut next = 0;
            while reader.drain(10, |end, bytes| {
                assert_eq!((end, bytes.len()), (next, 1000));
                next += 1;
            }) > 0
            {}
            assert_eq!((next, reader.held.load(Ordering::Relaxed)), (pushed, 1));
        }
        drop(writer);
        reader.drain(1, |_, _| ());
        assert!(reader.is_finished());
    }

    #[test]
    fn what_waits_in_several_segments_is_read_after_the_writer_has_gone() {
        let (mut writer, mut reader) = ring(4 * SEGMENT, Arc::new(Notify::new()));
        let pushed = (0..600).filter(|n| writer.push(*n, &[1; 1000]).is_ok()).count();
        drop(writer);
        let mut count = 0;
        while !reader.is_finished() {
            count += reader.drain(100, |_, _| ());
        }
        assert_eq!((count, pushed), (600, 600));
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
