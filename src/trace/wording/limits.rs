//! Limits on spans. OpenTelemetry specification, "Attribute Limits" and "Span Limits".
//!
//! A span is written without a look at them, and cut afterwards where one of them binds: almost never.

use crate::config::LimitsConfig;
use crate::trace::protobuf::{self, SPAN_ATTRIBUTES};

/// The limits, and whether they can bind.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::trace) struct Limits(LimitsConfig);

impl Limits {
    pub(super) const fn new(config: &LimitsConfig) -> Self {
        Self(*config)
    }

    /// Links that a span may have.
    pub(in crate::trace) const fn links(&self) -> usize {
        self.0.links
    }

    /// Events that a span may have.
    pub(in crate::trace) const fn events(&self) -> usize {
        self.0.events
    }

    /// Attributes that an event may have.
    pub(in crate::trace) const fn event_attributes(&self) -> usize {
        self.0.event_attributes
    }

    /// Whether a span with `others` beside this module's own attributes must be looked at.
    pub(in crate::trace) const fn may_bind(&self, others: usize) -> bool {
        self.0.value_length.is_some() || others + OWN_ATTRIBUTES > self.0.attributes
    }

    /// Cuts the span whose content begins at `from` and ends `out`: the first attributes stay.
    pub(in crate::trace) fn apply(&self, out: &mut Vec<u8>, from: usize) {
        let span = out.split_off(from.min(out.len()));
        let (mut left, mut dropped) = (self.0.attributes, 0);
        for field in Fields(&span) {
            if field.number != SPAN_ATTRIBUTES {
                out.extend_from_slice(field.whole);
            } else if left == 0 {
                dropped += 1;
            } else {
                left -= 1;
                self.attribute(out, &field);
            }
        }
        if dropped > 0 {
            protobuf::unsigned(out, DROPPED_ATTRIBUTES_COUNT, dropped);
        }
    }

    fn attribute(&self, out: &mut Vec<u8>, field: &Field<'_>) {
        let Some(most) = self.0.value_length else { return out.extend_from_slice(field.whole) };
        let attribute = protobuf::open(out, SPAN_ATTRIBUTES, 1);
        for part in Fields(field.content) {
            if part.number == VALUE { any(out, VALUE, part.content, most) } else { out.extend_from_slice(part.whole) }
        }
        protobuf::close(out, &attribute);
    }
}

/// An `AnyValue` whose texts have at most `most` characters; each of them, in an array.
fn any(out: &mut Vec<u8>, number: u8, content: &[u8], most: usize) {
    let value = protobuf::open(out, number, 1);
    for part in Fields(content) {
        match part.number {
            STRING => protobuf::bytes(out, STRING, first_characters(part.content, most)),
            ARRAY => {
                let array = protobuf::open(out, ARRAY, 1);
                for element in Fields(part.content) {
                    any(out, element.number, element.content, most);
                }
                protobuf::close(out, &array);
            }
            _ => out.extend_from_slice(part.whole),
        }
    }
    protobuf::close(out, &value);
}

fn first_characters(text: &[u8], most: usize) -> &[u8] {
    // All bytes but the continuation bytes begin a character.
    let mut begins = text.iter().enumerate().filter(|(_, byte)| (**byte).cast_signed() >= -0x40).map(|(at, _)| at);
    begins.nth(most).and_then(|end| text.get(..end)).unwrap_or(text)
}

/// The fields of an encoded message. Ends where it cannot be read, which nothing written here is.
struct Fields<'a>(&'a [u8]);

struct Field<'a> {
    number: u8,
    whole: &'a [u8],
    /// Without tag and length; empty for what has no length.
    content: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let message = self.0;
        let (tag, mut rest) = varint(message)?;
        let mut content = &[][..];
        match tag & 7 {
            0 => (_, rest) = varint(rest)?,
            1 => rest = rest.get(8..)?,
            2 => {
                let (len, after) = varint(rest)?;
                (content, rest) = after.split_at_checked(usize::try_from(len).ok()?)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
        self.0 = rest;
        let whole = message.get(..message.len() - rest.len())?;
        Some(Field { number: u8::try_from(tag >> 3).ok()?, whole, content })
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

/// More than this module puts on one span by itself.
const OWN_ATTRIBUTES: usize = 64;

// opentelemetry/proto/trace/v1/trace.proto, Span; common/v1/common.proto, KeyValue and AnyValue.
const DROPPED_ATTRIBUTES_COUNT: u8 = 10;
const VALUE: u8 = 2;
const STRING: u8 = 1;
const ARRAY: u8 = 5;
