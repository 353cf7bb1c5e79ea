//! One span on its way into a buffer. `opentelemetry/proto/trace/v1/trace.proto`, `Span`.

use crate::trace::outcome::{ErrorType, Outcome};
use crate::trace::protobuf::{self, Key, Open, key};
use crate::trace::record::{Link, Record};
use crate::trace::wording::Limits;

/// `Span.SpanKind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
}

/// What a span is, without what it says.
pub(super) struct Identity<'i> {
    pub(super) kind: Kind,
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    /// Not empty; UTF-8.
    pub(super) name: &'i [u8],
    /// Unix time, nanoseconds; not after `end`.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A span whose attributes are being appended.
pub(super) struct Span<'o> {
    out: &'o mut Vec<u8>,
    open: Open,
    /// Attributes that are not this module's own.
    others: usize,
}

impl<'o> Span<'o> {
    /// Everything but attributes and status.
    pub(super) fn begin(out: &'o mut Vec<u8>, record: &Record<'_>, identity: &Identity<'_>) -> Self {
        let mut span = Self::open(out, record, identity);
        span.named(identity);
        span
    }

    /// Ids, times and flags: what no two spans share.
    pub(super) fn open(out: &'o mut Vec<u8>, record: &Record<'_>, identity: &Identity<'_>) -> Self {
        let Identity { kind, id, parent, start, end, .. } = identity;
        // An ordinary span needs two bytes for its length.
        let open = protobuf::open(out, SCOPE_SPANS_SPANS, 2);
        let remote = if *kind == Kind::Server && parent.is_some() { IS_REMOTE } else { 0 };
        let mut fixed = FIXED;
        let mut rest = fixed.as_mut_slice();
        let flags = u32::from(record.trace_flags) | HAS_IS_REMOTE | remote;
        let values: [(usize, &[u8]); 5] = [
            (2, &record.trace_id),
            (2, id),
            (1, &start.to_le_bytes()),
            (1, &end.to_le_bytes()),
            (2, &flags.to_le_bytes()),
        ];
        for (skip, value) in values {
            let Some((room, after)) = rest.get_mut(skip..).and_then(|rest| rest.split_at_mut_checked(value.len()))
            else {
                break;
            };
            room.copy_from_slice(value);
            rest = after;
        }
        out.extend_from_slice(&fixed);
        if let Some(parent) = parent {
            protobuf::array(out, PARENT_SPAN_ID, parent);
        }
        if !record.tracestate.is_empty() {
            protobuf::string(out, TRACE_STATE, record.tracestate);
        }
        Self { out, open, others: 0 }
    }

    /// Name and kind.
    pub(super) fn named(&mut self, identity: &Identity<'_>) {
        protobuf::bytes(self.out, NAME, identity.name);
        protobuf::unsigned(self.out, KIND, identity.kind as u64);
    }

    /// A part of a span, to be copied into others: name, kind, attributes, status.
    pub(super) fn part(out: &'o mut Vec<u8>) -> Self {
        // Closed by whoever takes the bytes: it has no frame.
        Self { out, open: Open::none(), others: 0 }
    }

    /// What [`Self::part`] has written elsewhere.
    pub(super) fn copied(&mut self, part: &[u8]) {
        self.out.extend_from_slice(part);
    }

    /// A string, even if it is empty.
    pub(super) fn string<const M: usize>(&mut self, key: &Key<M>, value: &[u8]) {
        protobuf::string_attribute(self.out, ATTRIBUTES, key, value);
    }

    /// A string, unless it is empty.
    pub(super) fn present<const M: usize>(&mut self, key: &Key<M>, value: &[u8]) {
        if !value.is_empty() {
            self.string(key, value);
        }
    }

    /// A string that `build` appends.
    pub(super) fn built(&mut self, key: &[u8], build: impl FnOnce(&mut Vec<u8>)) {
        protobuf::built_attribute(self.out, ATTRIBUTES, key, build);
    }

    /// A count.
    pub(super) fn unsigned<const M: usize>(&mut self, key: &Key<M>, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        protobuf::int_attribute(self.out, ATTRIBUTES, key, value);
    }

    /// A port, if it is known.
    pub(super) fn port<const M: usize>(&mut self, key: &Key<M>, port: Option<u16>) {
        if let Some(port) = port {
            self.unsigned(key, u64::from(port));
        }
    }

    /// Milliseconds, if the step was reached.
    pub(super) fn timer<const M: usize>(&mut self, key: &Key<M>, millis: Option<u64>) {
        if let Some(millis) = millis {
            self.unsigned(key, millis);
        }
    }

    pub(super) fn bool(&mut self, key: &[u8], value: bool) {
        protobuf::bool_attribute(self.out, ATTRIBUTES, key, value);
    }

    /// A link to another trace's span, if there may be one. `Span.Link`.
    pub(super) fn link(&mut self, link: &Link, limits: &Limits) {
        if limits.links() == 0 {
            protobuf::unsigned(self.out, DROPPED_LINKS_COUNT, 1);
            return;
        }
        let open = protobuf::open(self.out, LINKS, 1);
        protobuf::array(self.out, LINK_TRACE_ID, &link.trace_id);
        protobuf::array(self.out, LINK_SPAN_ID, &link.span_id);
        protobuf::fixed32(self.out, LINK_FLAGS, u32::from(link.flags) | HAS_IS_REMOTE | IS_REMOTE);
        protobuf::close(self.out, &open);
    }

    /// A user's text.
    pub(super) fn text(&mut self, key: &[u8], value: &[u8]) {
        self.others += 1;
        self.built(key, |out| out.extend_from_slice(value));
    }

    /// A user's texts.
    pub(super) fn texts<'v>(&mut self, key: &[u8], values: impl IntoIterator<Item = &'v [u8]>) {
        self.others += 1;
        protobuf::strings_attribute(self.out, ATTRIBUTES, key, values);
    }

    /// A user's number.
    pub(super) fn integer(&mut self, key: &[u8], value: i64) {
        self.others += 1;
        protobuf::named_int_attribute(self.out, ATTRIBUTES, key, value);
    }

    /// A user's number with a fraction.
    pub(super) fn double(&mut self, key: &[u8], value: f64) {
        self.others += 1;
        protobuf::double_attribute(self.out, ATTRIBUTES, key, value);
    }

    /// A user's truth value.
    pub(super) fn flag(&mut self, key: &[u8], value: bool) {
        self.others += 1;
        self.bool(key, value);
    }

    /// `count` attributes that are encoded already.
    pub(super) fn encoded(&mut self, attributes: &[u8], count: usize) {
        self.others += count;
        self.out.extend_from_slice(attributes);
    }

    /// Where events are appended.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Says how it ended.
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        if let Some(status) = outcome.status {
            self.unsigned(key!("http.response.status_code"), u64::from(status));
        }
        if let Some(error) = outcome.error {
            match error {
                ErrorType::Status(code) => self.string(key!("error.type"), &three_digits(code)),
                ErrorType::Rpc(name) => self.string(key!("error.type"), name.as_bytes()),
                ErrorType::Word(word) => self.string(key!("error.type"), word.as_str().as_bytes()),
            }
            let status = protobuf::open(self.out, STATUS, 1);
            protobuf::unsigned(self.out, STATUS_CODE, STATUS_CODE_ERROR);
            protobuf::close(self.out, &status);
        }
    }

    /// Closes it, within the limits.
    pub(super) fn end(self, limits: &Limits) {
        if limits.may_bind(self.others) {
            limits.apply(self.out, self.open.content());
        }
        protobuf::close(self.out, &self.open);
    }
}

/// HTTP statuses have three digits: 100 to 999.
fn three_digits(code: u16) -> [u8; 3] {
    [code / 100, code / 10, code].map(|digit| {
        let [low, _] = (digit % 10).to_le_bytes();
        b'0' + low
    })
}

/// Trace id, span id, start, end and flags, each with its tag and length before it, and without their values.
#[expect(clippy::indexing_slicing, reason = "in a constant: what is out of bounds does not compile")]
const FIXED: [u8; 52] = {
    let mut fixed = [0; 52];
    let tags: [(usize, u8); 8] = [
        (0, TRACE_ID << 3 | 2),
        (1, 16),
        (18, SPAN_ID << 3 | 2),
        (19, 8),
        (28, START << 3 | 1),
        (37, END << 3 | 1),
        // Field 16 takes two bytes.
        (46, 0x85),
        (47, 0x01),
    ];
    let mut n = 0;
    while n < tags.len() {
        fixed[tags[n].0] = tags[n].1;
        n += 1;
    }
    fixed
};

const SCOPE_SPANS_SPANS: u8 = 2;
const TRACE_ID: u8 = 1;
const SPAN_ID: u8 = 2;
const TRACE_STATE: u8 = 3;
const PARENT_SPAN_ID: u8 = 4;
const NAME: u8 = 5;
const KIND: u8 = 6;
const START: u8 = 7;
const END: u8 = 8;
const ATTRIBUTES: u8 = protobuf::SPAN_ATTRIBUTES;
const LINKS: u8 = 13;
const DROPPED_LINKS_COUNT: u8 = 14;
const LINK_TRACE_ID: u8 = 1;
const LINK_SPAN_ID: u8 = 2;
const LINK_FLAGS: u8 = 6;
const STATUS: u8 = 15;
const STATUS_CODE: u8 = 3;
const STATUS_CODE_ERROR: u64 = 2;
const _: () = assert!(FLAGS << 3 | 5 == 0x85);

/// Its tag is a varint of two bytes.
const FLAGS: u8 = 16;

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`: whether the parent is remote is known.
const HAS_IS_REMOTE: u32 = 0x100;

/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`.
const IS_REMOTE: u32 = 0x200;
