//! One connection of HAProxy's, or of somebody who is not HAProxy.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Answers, request};
use crate::health::door::{Seat, Stream};

/// Answers line by line until one side has had enough.
pub(super) async fn serve(mut stream: Stream, seat: Seat, answers: Arc<Answers>) {
    tokio::select! {
        () = seat.is_taken() => {}
        () = converse(&mut stream, &seat, &answers) => {}
    }
}

async fn converse(stream: &mut Stream, seat: &Seat, answers: &Answers) {
    let config = &answers.config;
    let peer = stream.peer();
    let mut lines = Lines { bytes: Vec::new(), most: config.max_line, idle: config.idle_timeout, after_cr: false };
    for _ in 0..config.max_lines {
        let (reply, last) = match lines.next(stream).await {
            Next::Line(line) if line.is_empty() => continue,
            Next::Line(line) => {
                seat.mark(true);
                (answers.answer(&line, peer).await, false)
            }
            Next::TooLong => (answers.problem(TOO_LONG, &[], peer), true),
            Next::TooSlow => (answers.problem(TOO_SLOW, &[], peer), true),
            Next::End => return,
        };
        seat.stats().answered.add(1);
        // Who does not take a short line within that time does not listen.
        let written = timeout(config.idle_timeout, stream.write_all(reply.as_bytes())).await;
        seat.mark(false);
        if last {
            return part(stream).await;
        }
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// Lets the answer arrive: closing while something unread waits would reset the connection.
async fn part(stream: &mut Stream) {
    let _ = stream.shutdown().await;
    let _ = timeout(SILENCE, tokio::io::copy(&mut stream.take(MAX_UNREAD), &mut tokio::io::sink())).await;
}

/// Lines of a stream, each at most `most` bytes.
struct Lines {
    /// Read, and not yet given out.
    bytes: Vec<u8>,
    most: usize,
    idle: Duration,
    /// The last line ended in a CR that was the last byte: an LF that follows belongs to it.
    after_cr: bool,
}

enum Next {
    Line(Vec<u8>),
    TooLong,
    TooSlow,
    End,
}

impl Lines {
    /// A line ends as [`request::split`] says, with the stream, or when nothing follows for [`SILENCE`]. It takes no longer
    /// than the idle connection may, and that silence.
    async fn next(&mut self, stream: &mut Stream) -> Next {
        let deadline = Instant::now() + self.idle;
        loop {
            if self.after_cr && !self.bytes.is_empty() {
                self.after_cr = false;
                if self.bytes.first() == Some(&b'\n') {
                    self.bytes.remove(0);
                }
            }
            if let Some((end, next)) = request::split(&self.bytes) {
                if end > self.most {
                    return Next::TooLong;
                }
                self.after_cr = next == self.bytes.len() && self.bytes.get(end) == Some(&b'\r') && next == end + 1;
                let mut line: Vec<u8> = self.bytes.drain(..next).collect();
                line.truncate(end);
                return Next::Line(line);
            }
            if self.bytes.len() > self.most {
                return Next::TooLong;
            }
            let patience = if self.bytes.is_empty() {
                deadline
            } else if Instant::now() < deadline {
                Instant::now() + SILENCE
            } else {
                return Next::TooSlow;
            };
            let mut part = [0; PART];
            match timeout_at(patience, stream.read(&mut part)).await {
                Ok(Ok(read)) if read > 0 => self.bytes.extend(part.iter().take(read)),
                Ok(Err(_)) => return Next::End,
                Ok(Ok(_)) | Err(_) if self.bytes.is_empty() => return Next::End,
                Ok(Ok(_)) | Err(_) => return Next::Line(std::mem::take(&mut self.bytes)),
            }
        }
    }
}

const TOO_LONG: &str = "the line is too long";
const TOO_SLOW: &str = "the line takes too long";
/// Bytes that are read to no end after a line that was too long.
const MAX_UNREAD: u64 = 64 * 1024;
/// Ends a line that has no end: `agent-send` without `\n`.
const SILENCE: Duration = Duration::from_millis(100);
/// Read at once; so at most `max_line` and this much is held.
const PART: usize = 1024;
