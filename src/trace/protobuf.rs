//! Protobuf, written by hand: appends to a buffer, allocates nothing but the buffer's growth.
//!
//! Field numbers are the caller's; they are below 16 unless a function says otherwise, so that a tag is one byte.

use std::ops::Range;

/// A message or string whose length is written when it is closed.
#[derive(Debug)]
#[must_use = "an open part has no length yet"]
pub struct Open {
    at: usize,
    width: usize,
}

impl Open {
    /// Of a part that has no frame of its own, and is never closed.
    pub const fn none() -> Self {
        Self { at: 0, width: 0 }
    }

    /// Where the content begins.
    pub const fn content(&self) -> usize {
        self.at + self.width
    }
}

/// Opens a length-delimited `field`. `width`: bytes that its length will probably need; a wrong guess costs a move.
#[inline]
pub fn open(out: &mut Vec<u8>, field: u8, width: usize) -> Open {
    out.push(tag(field, LENGTH_DELIMITED));
    let at = out.len();
    out.resize(at + width, 0);
    Open { at, width }
}

/// Writes the length of what was appended since `part` was opened.
#[inline]
pub fn close(out: &mut Vec<u8>, part: &Open) {
    let content = part.at + part.width;
    let len = out.len().saturating_sub(content);
    match (part.width, out.get_mut(part.at..content)) {
        (1, Some([room])) if len < 0x80 => *room = low_byte(len),
        (2, Some([low, high])) if (0x80..0x4000).contains(&len) => {
            *low = low_byte(len) | 0x80;
            *high = low_byte(len >> 7);
        }
        (_, Some(_)) => widen(out, part.at..content, len),
        (_, None) => {}
    }
}

/// A field of bytes, which is also how a string that is known to be UTF-8 is written.
#[inline]
pub fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    if value.len() < 0x80 {
        out.extend_from_slice(&[tag(field, LENGTH_DELIMITED), low_byte(value.len())]);
    } else {
        out.push(tag(field, LENGTH_DELIMITED));
        varint(out, wide(value.len()));
    }
    out.extend_from_slice(value);
}

/// A field of a fixed number of bytes, less than 128.
#[inline]
pub fn array<const N: usize>(out: &mut Vec<u8>, field: u8, value: &[u8; N]) {
    const { assert!(N < 0x80) };
    out.extend_from_slice(&[tag(field, LENGTH_DELIMITED), low_byte(N)]);
    out.extend_from_slice(value);
}

/// A string field. What is not UTF-8 becomes U+FFFD.
pub fn string(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    let part = open(out, field, 1);
    push_lossy(out, value);
    close(out, &part);
}

/// A `fixed64` field.
#[inline]
pub fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(tag(field, FIXED64));
    out.extend_from_slice(&value.to_le_bytes());
}

/// A `fixed32` field, of any number.
#[inline]
pub fn fixed32(out: &mut Vec<u8>, field: u8, value: u32) {
    varint(out, u64::from(field) << 3 | u64::from(FIXED32));
    out.extend_from_slice(&value.to_le_bytes());
}

/// An enum, bool or unsigned field.
#[inline]
pub fn unsigned(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(tag(field, VARINT));
    varint(out, value);
}

/// A base-128 number, one to ten bytes.
#[inline]
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.push(low);
}

/// An attribute's name where it stands in a short `KeyValue`, with room for the lengths before and after it. Made by
/// `key!`, at compile time; `M` is the name's length and 8 more.
#[derive(Debug)]
pub struct Key<const M: usize>([u8; M]);

impl<const M: usize> Key<M> {
    /// Lays out `name`.
    ///
    /// # Panics
    /// At compile time, if `name` does not have `M - 8` bytes.
    pub const fn new(name: &str) -> Self {
        let mut layout = [0; M];
        let (head, rest) = layout.split_at_mut(4);
        let (place, tail) = rest.split_at_mut(M - 8);
        head.copy_from_slice(&[0, 0, STRING_1, low_byte(name.len())]);
        place.copy_from_slice(name.as_bytes());
        tail.copy_from_slice(&[MESSAGE_2, 0, 0, 0]);
        Self(layout)
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        self.0.get(4..M - 4).unwrap_or_default()
    }

    /// Appends the name and all around it up to one byte of the value: `last`. `len`: bytes of the value.
    fn push(&self, out: &mut Vec<u8>, field: u8, any: u8, last: u8, len: usize) {
        let at = out.len();
        out.extend_from_slice(&self.0);
        if let Some([tag_room, length, _, _, .., any_length, any_tag, value]) = out.get_mut(at..at + M) {
            *tag_room = tag(field, LENGTH_DELIMITED);
            *length = low_byte(M - 3 + len);
            *any_length = low_byte(1 + len);
            *any_tag = any;
            *value = last;
        }
    }
}

/// A [`Key`] of a literal.
macro_rules! key {
    ($name:literal) => {
        const { &$crate::trace::protobuf::Key::<{ $name.len() + 8 }>::new($name) }
    };
}
pub(crate) use key;

/// A `KeyValue` with a string. What is not UTF-8 becomes U+FFFD.
pub fn string_attribute<const M: usize>(out: &mut Vec<u8>, field: u8, key: &Key<M>, value: &[u8]) {
    if M + value.len() < 0x80 && value.is_ascii() {
        key.push(out, field, STRING_1, low_byte(value.len()), 1 + value.len());
        out.extend_from_slice(value);
    } else {
        built_attribute(out, field, key.name(), |out| out.extend_from_slice(value));
    }
}

/// A `KeyValue` with a string that `build` appends. What is not UTF-8 becomes U+FFFD.
pub fn built_attribute(out: &mut Vec<u8>, field: u8, key: &[u8], build: impl FnOnce(&mut Vec<u8>)) {
    any_attribute(out, field, key, |out| {
        let text = open(out, ANY_STRING, 1);
        let start = out.len();
        build(out);
        let appended = out.get(start..).unwrap_or_default();
        if !appended.is_ascii() && std::str::from_utf8(appended).is_err() {
            let invalid = out.split_off(start);
            push_lossy(out, &invalid);
        }
        close(out, &text);
    });
}

/// A `KeyValue` with an integer. Protobuf's int64: a negative one takes ten bytes.
pub fn int_attribute<const M: usize>(out: &mut Vec<u8>, field: u8, key: &Key<M>, value: i64) {
    const INT: u8 = tag(ANY_INT, VARINT);
    let [low, ..] = value.to_le_bytes();
    let [middle, ..] = (value >> 7).to_le_bytes();
    let [high, ..] = (value >> 14).to_le_bytes();
    // Statuses, timers and ports have at most 21 bits; then one byte holds every length.
    match value {
        0..0x80 if M < 0x78 => key.push(out, field, INT, low, 1),
        0x80..0x4000 if M < 0x78 => {
            key.push(out, field, INT, low | 0x80, 2);
            out.push(middle);
        }
        0x4000..0x20_0000 if M < 0x78 => {
            key.push(out, field, INT, low | 0x80, 3);
            out.extend_from_slice(&[middle | 0x80, high]);
        }
        _ => named_int_attribute(out, field, key.name(), value),
    }
}

/// The same with a name that is not known at compile time.
pub fn named_int_attribute(out: &mut Vec<u8>, field: u8, key: &[u8], value: i64) {
    any_attribute(out, field, key, |out| unsigned(out, ANY_INT, value.cast_unsigned()));
}

/// A `KeyValue` with a boolean.
pub fn bool_attribute(out: &mut Vec<u8>, field: u8, key: &[u8], value: bool) {
    any_attribute(out, field, key, |out| unsigned(out, ANY_BOOL, u64::from(value)));
}

/// A `KeyValue` with a double.
pub fn double_attribute(out: &mut Vec<u8>, field: u8, key: &[u8], value: f64) {
    any_attribute(out, field, key, |out| fixed64(out, ANY_DOUBLE, value.to_bits()));
}

/// A `KeyValue` with an array of strings. What is not UTF-8 becomes U+FFFD.
pub fn strings_attribute<'v>(out: &mut Vec<u8>, field: u8, key: &[u8], values: impl IntoIterator<Item = &'v [u8]>) {
    any_attribute(out, field, key, |out| {
        let array = open(out, ANY_ARRAY, 1);
        for value in values {
            let element = open(out, ARRAY_VALUES, 1);
            string(out, ANY_STRING, value);
            close(out, &element);
        }
        close(out, &array);
    });
}

/// Appends `value` as UTF-8; every invalid sequence becomes one U+FFFD.
pub fn push_lossy(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

/// A `KeyValue` whose `AnyValue` is what `any` appends.
fn any_attribute(out: &mut Vec<u8>, field: u8, key: &[u8], any: impl FnOnce(&mut Vec<u8>)) {
    let attribute = open(out, field, 1);
    bytes(out, KEY, key);
    let value = open(out, VALUE, 1);
    any(out);
    close(out, &value);
    close(out, &attribute);
}

/// Puts a length where fewer or more bytes were kept for it.
#[cold]
fn widen(out: &mut Vec<u8>, room: Range<usize>, len: usize) {
    let mut length = Vec::with_capacity(10);
    varint(&mut length, wide(len));
    out.splice(room, length);
}

const fn tag(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

const fn low_byte(value: usize) -> u8 {
    let [low, ..] = value.to_le_bytes();
    low
}

const fn wide(len: usize) -> u64 {
    len as u64
}

// Wire types. Protocol Buffers, "Encoding".
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH_DELIMITED: u8 = 2;
const FIXED32: u8 = 5;

// opentelemetry/proto/common/v1/common.proto: KeyValue, AnyValue, ArrayValue.
const KEY: u8 = 1;
const VALUE: u8 = 2;
const ANY_STRING: u8 = 1;
const ANY_BOOL: u8 = 2;
const ANY_INT: u8 = 3;
const ANY_DOUBLE: u8 = 4;
const ANY_ARRAY: u8 = 5;
const ARRAY_VALUES: u8 = 1;
/// `Span.attributes`. opentelemetry/proto/trace/v1/trace.proto.
pub const SPAN_ATTRIBUTES: u8 = 9;

const STRING_1: u8 = tag(1, LENGTH_DELIMITED);
const MESSAGE_2: u8 = tag(VALUE, LENGTH_DELIMITED);

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use proptest::prelude::*;
    use prost::Message;

    fn decoded(out: &[u8]) -> Vec<KeyValue> {
        Resource::decode(out).unwrap().attributes
    }

    fn values(out: &[u8]) -> Vec<Value> {
        decoded(out).into_iter().map(|a| a.value.unwrap().value.unwrap()).collect()
    }

    proptest! {
        #[test]
        fn strings_of_any_length_and_content_are_read_back_lossily(
            value in proptest::collection::vec(any::<u8>(), 0..400), repeat in 1_usize..60,
        ) {
            let value = value.repeat(repeat);
            let mut out = Vec::new();
            string_attribute(&mut out, 1, key!("key"), &value);
            built_attribute(&mut out, 1, b"key", |out| out.extend_from_slice(&value));
            let expected = Value::StringValue(String::from_utf8_lossy(&value).into_owned());
            prop_assert_eq!(values(&out), vec![expected.clone(), expected]);
        }

        #[test]
        fn numbers_are_read_back(
            int in any::<i64>(), double in -1e300_f64..1e300, flag in any::<bool>(), key in "[a-z.]{1,300}",
        ) {
            let mut out = Vec::new();
            int_attribute(&mut out, 1, key!("int"), int);
            int_attribute(&mut out, 1, key!("int"), int % 70_000);
            int_attribute(&mut out, 1, key!("int"), int % 3_000_000);
            int_attribute(&mut out, 1, key!("int"), int % 200);
            double_attribute(&mut out, 1, key.as_bytes(), double);
            bool_attribute(&mut out, 1, key.as_bytes(), flag);
            let expected = vec![Value::IntValue(int), Value::IntValue(int % 70_000),
                Value::IntValue(int % 3_000_000), Value::IntValue(int % 200), Value::DoubleValue(double), Value::BoolValue(flag)];
            prop_assert_eq!(values(&out), expected);
        }
    }

    #[test]
    fn an_array_of_strings_is_read_back() {
        let mut out = Vec::new();
        let long = "x".repeat(300);
        strings_attribute(&mut out, 1, b"list", [b"a".as_slice(), b"\xff", long.as_bytes()]);
        let any = |text: &str| AnyValue { value: Some(Value::StringValue(text.to_owned())) };
        let array = ArrayValue { values: vec![any("a"), any("\u{FFFD}"), any(&long)] };
        assert_eq!(values(&out), [Value::ArrayValue(array)]);
    }

    #[test]
    fn lengths_at_the_edges_of_a_varint_are_minimal() {
        for (len, width) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3)] {
            for guess in 1..=3 {
                let mut out = Vec::new();
                let part = open(&mut out, 1, guess);
                out.resize(out.len() + len, b'x');
                close(&mut out, &part);
                assert_eq!(out.len(), 1 + width + len);
                assert!(out[1 + width..].iter().all(|&b| b == b'x'));
                assert_eq!(prost::decode_length_delimiter(&out[1..]).unwrap(), len);
            }
        }
    }
}
