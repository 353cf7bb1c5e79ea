//! The writing half: one fixed buffer per thread.

use memchr::memchr;

use super::attribute::attribute_field;
use super::{
    AttributeValue, END, Field, MAX_HEADER_VALUE, MAX_LEN, MAX_TRACESTATE, TRACEPARENT_LEN, Verdict, write_len,
};
use crate::stats::ATTRIBUTES_LEFT_OUT;
use crate::trace::w3c::{Traceparent, hex2};

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

    /// Adds [`Field::Link`].
    pub fn link(&mut self, caller: &Traceparent) {
        let mut value = [0; Field::Link.max_len()];
        let parts = caller.trace_id.iter().chain(&caller.parent_id).copied().chain(hex2(caller.flags));
        for (room, digit) in value.iter_mut().zip(parts) {
            *room = digit;
        }
        self.field(Field::Link, &value);
    }

    /// Adds an attribute of the SERVER span. What finds no room, or has a NUL in it, is left out, and counted.
    pub fn attribute(&mut self, name: &[u8], value: AttributeValue<'_>) {
        let added = attribute_field(name, value).filter(|field| self.len + 3 + field.len() < MAX_LEN);
        match added {
            Some(field) => self.field(Field::Attribute, &field),
            None => ATTRIBUTES_LEFT_OUT.add(1),
        }
    }

    /// Keeps the caller's debug flag on: there is no such flag in a `traceparent`. For sampled requests alone.
    pub fn mark_debug(&mut self) {
        if let Some(verdict) = self.bytes.get_mut(TRACEPARENT_LEN) {
            *verdict = match *verdict {
                b'S' => b'X',
                b'D' => b'Y',
                b'T' => b'Z',
                other => other,
            };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ATTRIBUTES_LEFT_OUT;
    use crate::trace::carry::{Carry, TracestateAction};

    const TRACEPARENT: &[u8; TRACEPARENT_LEN] = b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";

    fn begun(sampled: bool, tracestate: TracestateAction) -> Writer {
        let mut writer = Writer::new();
        writer.begin(TRACEPARENT, Verdict { recorded: true, sampled, tracestate }, b"1111111111111111", None, b"");
        writer
    }

    #[test]
    fn the_debug_flag_changes_no_verdict_and_stands_on_sampled_requests_alone() {
        use TracestateAction::{Delete, Keep, Replace};
        for (sampled, action) in [true, false].into_iter().flat_map(|s| [Keep, Delete, Replace].map(|a| (s, a))) {
            let mut writer = begun(sampled, action);
            writer.mark_debug();
            writer.end();
            let (carry, _) = Carry::parse(writer.as_bytes()).unwrap();
            assert_eq!(carry.verdict, Verdict { recorded: true, sampled, tracestate: action });
            assert!(Verdict::is_recorded(writer.as_bytes()));
            assert_eq!(Verdict::is_debug(writer.as_bytes()), sampled);
        }
    }

    #[test]
    fn a_link_and_attributes_are_read_back_and_what_has_no_room_is_counted() {
        let caller = Traceparent { trace_id: [b'a'; 32], parent_id: [b'b'; 16], flags: 3 };
        let mut writer = begun(true, TracestateAction::Keep);
        writer.link(&caller);
        let before = ATTRIBUTES_LEFT_OUT.value();
        for _ in 0..6 {
            writer.attribute(b"key", AttributeValue::Text(&[b'v'; 600]));
        }
        writer.attribute(b"key", AttributeValue::Text(b"a\0b"));
        writer.end();
        let (carry, rest) = Carry::parse(writer.as_bytes()).unwrap();
        let digits = ["a".repeat(32), "b".repeat(16), "03".to_owned()].concat();
        assert_eq!((carry.link, rest), (Some(digits.as_bytes()), &b""[..]));
        let kept: Vec<_> = carry.attributes().collect();
        assert_eq!(kept, vec![(&b"key"[..], AttributeValue::Text(&[b'v'; 512])); 5]);
        assert!(ATTRIBUTES_LEFT_OUT.value() >= before + 2);
    }
}
