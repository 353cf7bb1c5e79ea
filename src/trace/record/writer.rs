//! Appends to a record.

use super::attribute::AttributeValue;
use super::field::{FRAME, MAX_HEADER_VALUE, MAX_VALUE};
use super::{Field, Head, MAX_LEN, MAX_START, Numbers, attribute, head};
use crate::stats::ATTRIBUTES_LEFT_OUT;
use crate::trace::w3c::Traceparent;

/// A record that is being written. Hot path: allocates when it grows beyond what it was made for.
///
/// A field that finds no room is left out: the start of a request has [`MAX_START`] bytes, the whole [`MAX_LEN`], so that
/// nothing a client sends can take the end's room.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    /// Bytes that may be taken now.
    limit: usize,
}

impl Writer {
    /// An empty one with room for an ordinary request.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(ORDINARY), limit: MAX_START }
    }

    /// Starts anew.
    pub fn begin(&mut self, head: &Head) {
        self.resume(&head.to_bytes());
    }

    /// Starts anew with what another one has written.
    pub fn resume(&mut self, record: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(record.get(..MAX_START).unwrap_or(record));
        self.limit = MAX_START;
    }

    /// The end follows.
    pub const fn end(&mut self) {
        self.limit = MAX_LEN;
    }

    /// Appends a field, cut to its bound. Says whether it found room.
    #[inline]
    pub fn field(&mut self, field: Field, value: &[u8]) -> bool {
        let value = value.get(..field.max_len()).unwrap_or(value);
        if self.bytes.len() + FRAME + value.len() > self.limit {
            return false;
        }
        let [low, high, ..] = value.len().to_le_bytes();
        self.bytes.reserve(FRAME + value.len());
        self.bytes.extend_from_slice(&[field as u8, low, high]);
        self.bytes.extend_from_slice(value);
        true
    }

    /// Appends a field unless it is empty.
    #[inline]
    pub fn present(&mut self, field: Field, value: &[u8]) {
        if !value.is_empty() {
            self.field(field, value);
        }
    }

    /// Appends one line of the header at `place`, from 1, of those that the settings ask for. Says whether it found room.
    pub fn header(&mut self, place: u8, value: &[u8]) -> bool {
        self.joined(Field::Header, &[place], value.get(..MAX_HEADER_VALUE).unwrap_or(value))
    }

    /// Appends the value at `place` of those that the settings ask for, cut to `most` bytes.
    pub fn gathered(&mut self, place: u8, value: &[u8], most: usize) {
        let value = value.get(..most.min(MAX_VALUE)).unwrap_or(value);
        if !self.joined(Field::Gathered, &[place], value) {
            ATTRIBUTES_LEFT_OUT.add(1);
        }
    }

    /// Appends the caller that is linked to.
    pub fn link(&mut self, caller: &Traceparent) {
        let (Some(trace_id), Some(span)) = (super::hex::<16>(&caller.trace_id), super::hex::<8>(&caller.parent_id))
        else {
            return;
        };
        self.field(Field::Link, &[&trace_id[..], &span, &[caller.flags]].concat());
    }

    /// Appends an attribute of the SERVER span. One that finds no room is counted.
    pub fn attribute(&mut self, name: &[u8], value: AttributeValue<'_>) {
        let added = attribute::encode(name, value).is_some_and(|bytes| self.joined(Field::Attribute, b"", &bytes));
        if !added {
            ATTRIBUTES_LEFT_OUT.add(1);
        }
    }

    /// Appends the numbers of the end, for which there is always room.
    #[inline]
    pub fn numbers(&mut self, numbers: &Numbers) {
        let [low, high] = u16::try_from(super::numbers::LEN).unwrap_or_default().to_le_bytes();
        self.bytes.extend_from_slice(&[Field::Numbers as u8, low, high]);
        self.bytes.extend_from_slice(&numbers.to_bytes());
    }

    /// The record so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether its end is wanted.
    pub fn is_recorded(&self) -> bool {
        head::is_recorded(&self.bytes)
    }

    /// Gives memory back that an extraordinary request took.
    pub fn shrink(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(ORDINARY);
    }

    #[inline]
    fn joined(&mut self, field: Field, front: &[u8], value: &[u8]) -> bool {
        let len = front.len() + value.len();
        if self.bytes.len() + FRAME + len > self.limit {
            return false;
        }
        let [low, high, ..] = len.to_le_bytes();
        self.bytes.reserve(FRAME + len);
        self.bytes.extend_from_slice(&[field as u8, low, high]);
        self.bytes.extend_from_slice(front);
        self.bytes.extend_from_slice(value);
        true
    }
}

/// Bytes of a record that is made for an ordinary request: more is kept for no longer than the request lasts.
const ORDINARY: usize = 1536;
