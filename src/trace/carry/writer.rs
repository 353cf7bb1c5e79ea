//! The writing half: one fixed buffer per thread.

use memchr::memchr;

use super::{END, Field, MAX_HEADER_VALUE, MAX_LEN, MAX_TRACESTATE, TRACEPARENT_LEN, Verdict, write_len};

/// Writes an encoding into a fixed buffer that is used again and again. Hot path: allocates nothing, cannot fail.
#[derive(Debug)]
pub struct Writer {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_LEN], len: 0 }
    }

    /// A request that is not sampled and whose `tracestate` stays: the `traceparent` alone.
    pub fn bare(&mut self, traceparent: &[u8; TRACEPARENT_LEN]) {
        self.len = 0;
        self.put(traceparent);
    }

    /// Starts anew with everything up to the fields. A longer `tracestate` than [`MAX_TRACESTATE`], or one with a
    /// tab, is left out.
    pub fn begin(
        &mut self,
        traceparent: &[u8; TRACEPARENT_LEN],
        verdict: Verdict,
        server_span: &[u8; 16],
        parent: Option<&[u8; 16]>,
        tracestate: &[u8],
    ) {
        self.bare(traceparent);
        self.put(&[verdict.byte()]);
        self.put(server_span);
        self.put(parent.unwrap_or(b"0000000000000000"));
        if tracestate.len() <= MAX_TRACESTATE && !tracestate.contains(&b'\t') {
            self.put(tracestate);
        }
        self.put(b"\t");
    }

    /// Adds one field, cut to its bound, and at a NUL, which no header that HAProxy lets pass has.
    pub fn field(&mut self, field: Field, value: &[u8]) {
        let value = value.get(..field.max_len()).unwrap_or(value);
        let value = value.split(|&b| b == 0).next().unwrap_or_default();
        let needed = 3 + value.len();
        // One byte stays for the end mark.
        if self.len + needed < MAX_LEN {
            self.put(&[field as u8]);
            self.put(&write_len(value.len()));
            self.put(value);
        }
    }

    /// Adds [`Field::Header`]: one line of the header at `place` in what is wanted, from 1. Says whether it found room.
    pub fn header(&mut self, place: u8, value: &[u8]) -> bool {
        let value = value.get(..MAX_HEADER_VALUE).unwrap_or(value);
        let fits = place > 0 && self.len + 4 + value.len() < MAX_LEN && !value.contains(&0);
        if fits {
            self.put(&[Field::Header as u8]);
            self.put(&write_len(1 + value.len()));
            self.put(&[place]);
            self.put(value);
        }
        fits
    }

    /// Adds [`Field::RequestLine`] from its parts; `version` without `HTTP/`. Cut to its bound. A `#` is escaped as
    /// HAProxy's log does.
    pub fn request_line(&mut self, method: &[u8], target: &[u8], version: &[u8]) {
        let (escaped_method, escaped_target);
        let (mut method, mut target) = (method, target);
        if memchr(b'#', method).is_some() || memchr(b'#', target).is_some() {
            (escaped_method, escaped_target) = (escape(method), escape(target));
            (method, target) = (&escaped_method, &escaped_target);
        }
        let parts = [method, b" ", target, b" HTTP/", version];
        let len = parts.iter().map(|part| part.len()).sum::<usize>().min(Field::RequestLine.max_len());
        if self.len + 3 + len >= MAX_LEN {
            return;
        }
        self.put(&[Field::RequestLine as u8]);
        self.put(&write_len(len));
        let mut left = len;
        for part in parts {
            let part = part.get(..left).unwrap_or(part);
            self.put(part);
            left -= part.len();
        }
    }

    /// Ends the fields.
    pub fn end(&mut self) {
        self.put(&[END]);
    }

    /// The encoding so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn put(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + part.len()) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }
}

#[cold]
fn escape(text: &[u8]) -> Vec<u8> {
    text.split(|&b| b == b'#').collect::<Vec<_>>().join(&b"#23"[..])
}
