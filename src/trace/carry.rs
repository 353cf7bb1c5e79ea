//! What HAProxy carries from a request's start to its end in `txn.otel.ctx`: this module alone knows the encoding.
//!
//! | bytes | what |
//! |---|---|
//! | 0..55 | `traceparent` for the server: its parent id is the CLIENT span's id. Native: `bytes(0,55)` |
//! | 55 | [`Verdict`], or `X Y Z` for `S D T` with the caller's debug flag kept on; absent when the request is not sampled and its `tracestate` stays as it is |
//! | 56..72 | the SERVER span's id, 16 hexadecimal digits. Native: `bytes(56,16)` |
//! | 72..88 | the caller's span id, 16 hexadecimal digits; all zero: no caller |
//! | 88.. | `tracestate`, up to a tab, which cannot occur in one. Native: `bytes(88),field(1,\t)` |
//! | then | fields: tag (1 byte), length (2 bytes of 7 bits, the eighth set), value; the tag `.` ends them |
//!
//! Every part says its own length before its bytes, or has a fixed one: nothing a client sends can be taken for
//! another part. There is no NUL in it: HAProxy's log formats end a text there. At most [`MAX_LEN`] bytes: fields
//! that do not fit are left out.

mod attribute;
mod writer;

pub use attribute::{AttributeValue, Attributes, with_attribute};
pub use writer::Writer;

use attribute::{MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE};

/// Bytes of a `traceparent`. W3C Trace Context level 2, 3.2.
pub const TRACEPARENT_LEN: usize = 55;

/// Where the SERVER span's id stands.
pub const SERVER_SPAN: std::ops::Range<usize> = 56..72;

/// Bytes of the longest encoding.
pub const MAX_LEN: usize = 3072;

/// Bytes of the longest `tracestate` that is carried. W3C Trace Context level 2, 3.3.1.5 asks for at least 512.
pub const MAX_TRACESTATE: usize = 512;

/// Bytes kept of the hops in a forwarding header.
pub const MAX_FORWARDED: usize = 512;

/// Bytes kept of a header's value that becomes an attribute.
pub const MAX_HEADER_VALUE: usize = 512;

/// What is to happen with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Its end is recorded. A sampled request always is; one that is not may be, for what its end will say.
    pub recorded: bool,
    /// Its spans are exported, and the flag that says so goes upstream. OpenTelemetry specification, trace SDK, "Sampling".
    pub sampled: bool,
    /// What becomes of the `tracestate` that it came with.
    pub tracestate: TracestateAction,
}

/// What HAProxy does with the request's `tracestate` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracestateAction {
    /// Passes it on as it came: absent, or one valid line.
    Keep,
    /// Deletes it: empty, invalid, or without a valid `traceparent`.
    Delete,
    /// Replaces it by the carried one: several lines combined, or cut.
    Replace,
}

impl Verdict {
    /// Whether `payload`, as the end of a request hands it over, is to be recorded: a look at one byte. Hot path.
    pub fn is_recorded(carried: &[u8]) -> bool {
        matches!(carried.get(TRACEPARENT_LEN), Some(b'S' | b'D' | b'T' | b'X' | b'Y' | b'Z' | b'R' | b'E' | b'U'))
    }

    /// Whether the caller's debug flag is kept on: see [`Writer::mark_debug`].
    pub fn is_debug(carried: &[u8]) -> bool {
        matches!(carried.get(TRACEPARENT_LEN), Some(b'X' | b'Y' | b'Z'))
    }

    /// The byte at 55. The native rules compare it: keep `lua/otel.cfg` in step.
    const fn byte(self) -> u8 {
        match (self.sampled, self.recorded, self.tracestate) {
            (true, _, TracestateAction::Keep) => b'S',
            (true, _, TracestateAction::Delete) => b'D',
            (true, _, TracestateAction::Replace) => b'T',
            (false, true, TracestateAction::Keep) => b'R',
            (false, true, TracestateAction::Delete) => b'E',
            (false, true, TracestateAction::Replace) => b'U',
            (false, false, TracestateAction::Keep) => b'-',
            (false, false, TracestateAction::Delete) => b'd',
            (false, false, TracestateAction::Replace) => b't',
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        let (sampled, recorded, tracestate) = match byte {
            b'S' | b'X' => (true, true, TracestateAction::Keep),
            b'D' | b'Y' => (true, true, TracestateAction::Delete),
            b'T' | b'Z' => (true, true, TracestateAction::Replace),
            b'R' => (false, true, TracestateAction::Keep),
            b'E' => (false, true, TracestateAction::Delete),
            b'U' => (false, true, TracestateAction::Replace),
            b'-' => (false, false, TracestateAction::Keep),
            b'd' => (false, false, TracestateAction::Delete),
            b't' => (false, false, TracestateAction::Replace),
            _ => return None,
        };
        Some(Self { recorded, sampled, tracestate })
    }
}

/// A value that the request's headers gave and the spans need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// `Host`, or HTTP/2's `:authority`.
    Host = b'h',
    /// `User-Agent`.
    UserAgent = b'u',
    /// An attribute that a rule put on the span: see [`with_attribute`].
    Attribute = b'a',
    /// `METHOD URI VERSION`, from doors that cannot ask for it at the end.
    RequestLine = b'r',
    /// When the request was first seen here: Unix time in nanoseconds, 16 hexadecimal digits.
    Started = b't',
    /// The caller that is linked to instead of continued: trace id, span id and flags, 50 hexadecimal digits.
    Link = b'l',
    /// `Upgrade`.
    Upgrade = b'w',
    /// Empty: the request is gRPC's, by its content type.
    Rpc = b'g',
    /// The client's address, from doors that give it at the start.
    Source = b's',
    /// Every hop of `X-Forwarded-For` or `Forwarded` that finds room, the nearest last.
    ForwardedFor = b'f',
    /// The last of `X-Forwarded-Proto`.
    ForwardedProto = b'p',
    /// The last of `X-Forwarded-Host`.
    ForwardedHost = b'o',
    /// A header that the settings ask for: its place in [`Wanted`](super::wanted::Wanted), from 1, and its value.
    Header = b'q',
    /// `Content-Length`, where body sizes are measured.
    ContentLength = b'n',
    /// Under which method and scheme the request is active: see [`class`](super::metrics::active::class).
    Active = b'c',
    /// Empty: recorded for metrics and logs alone; no sampler asked for its end.
    Measured = b'm',
}

impl Field {
    /// Bytes kept of this field: a longer value is cut.
    pub const fn max_len(self) -> usize {
        match self {
            // The longest DNS name, a port, and room for IPv6 literals.
            Self::Host | Self::ForwardedHost => 264,
            Self::UserAgent => 512,
            Self::Started | Self::ForwardedProto => 16,
            Self::Link => 50,
            // Registered tokens are short; RFC 6455's is `websocket`.
            Self::Upgrade => 32,
            Self::Rpc | Self::Measured => 0,
            // The longest text of an IPv6 address with a zone.
            Self::Source => 64,
            Self::ForwardedFor => MAX_FORWARDED,
            Self::Header => 1 + MAX_HEADER_VALUE,
            Self::ContentLength => 18,
            Self::Active => 1,
            // HAProxy's own bound on the request lines that it keeps, tune.http.logurilen.
            Self::RequestLine => 1024,
            Self::Attribute => 2 + MAX_ATTRIBUTE_NAME + MAX_ATTRIBUTE_VALUE,
        }
    }
}

/// An encoding read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carry<'a> {
    /// As sent to the server.
    pub traceparent: &'a [u8; TRACEPARENT_LEN],
    /// What was decided.
    pub verdict: Verdict,
    /// The SERVER span's id in hexadecimal.
    pub server_span: &'a [u8; 16],
    /// The caller's span id in hexadecimal.
    pub parent: Option<&'a [u8; 16]>,
    /// The list members that the spans keep; empty if none.
    pub tracestate: &'a [u8],
    /// `Host`; empty if absent.
    pub host: &'a [u8],
    /// `User-Agent`; empty if absent.
    pub user_agent: &'a [u8],
    /// `METHOD URI VERSION`; empty if the end of the request brings it.
    pub request_line: &'a [u8],
    /// When the request was first seen here: Unix time, nanoseconds.
    pub started_unix_nanos: Option<u64>,
    /// [`Field::Link`].
    pub link: Option<&'a [u8]>,
    /// There are fields of other kinds than those above and [`Field::Attribute`].
    pub has_more: bool,
    /// `Content-Length`; empty if absent or unwanted.
    pub content_length: &'a [u8],
    /// Under which method and scheme it is active; empty if nobody counts.
    pub active: &'a [u8],
    /// All fields, in order.
    fields: Fields<'a>,
}

impl<'a> Carry<'a> {
    /// Reads one encoding from the front; also gives what follows it. `None`: not one of ours, or a bare one.
    pub fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (traceparent, rest) = bytes.split_first_chunk::<TRACEPARENT_LEN>()?;
        let (&verdict, rest) = rest.split_first()?;
        let verdict = Verdict::from_byte(verdict)?;
        let (server_span, rest) = rest.split_first_chunk::<16>()?;
        let (parent, rest) = rest.split_first_chunk::<16>()?;
        let tab = rest.iter().take(MAX_TRACESTATE + 1).position(|&b| b == b'\t')?;
        let (tracestate, rest) = rest.split_at_checked(tab)?;
        let rest = rest.get(1..)?;
        let (mut host, mut user_agent, mut request_line) = (&[][..], &[][..], &[][..]);
        let (mut started_unix_nanos, mut link) = (None, None);
        let mut has_more = false;
        let (mut content_length, mut active) = (&[][..], &[][..]);
        let fields = Fields(rest);
        let mut walk = fields;
        loop {
            match walk.next_field()? {
                None => {
                    let parent = (parent != b"0000000000000000").then_some(parent);
                    let carry = Self {
                        traceparent,
                        verdict,
                        server_span,
                        parent,
                        tracestate,
                        host,
                        user_agent,
                        request_line,
                        started_unix_nanos,
                        link,
                        has_more,
                        content_length,
                        active,
                        fields,
                    };
                    return Some((carry, walk.0));
                }
                Some((tag, value)) if tag == Field::Host as u8 => host = value,
                Some((tag, value)) if tag == Field::UserAgent as u8 => user_agent = value,
                Some((tag, value)) if tag == Field::RequestLine as u8 => request_line = value,
                Some((tag, value)) if tag == Field::Link as u8 => link = Some(value),
                Some((tag, value)) if tag == Field::ContentLength as u8 => content_length = value,
                Some((tag, value)) if tag == Field::Active as u8 => active = value,
                Some((tag, value)) if tag == Field::Started as u8 => {
                    started_unix_nanos = std::str::from_utf8(value).ok().and_then(|t| u64::from_str_radix(t, 16).ok());
                }
                Some((tag, _)) => has_more |= tag != Field::Attribute as u8,
            }
        }
    }

    /// The attributes that rules put on the span, in order.
    pub const fn attributes(&self) -> Attributes<'a> {
        Attributes(self.fields)
    }
}

/// The fields of one encoding, and what follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next tag and value; `Some(None)` at the end mark, `None` where the bytes are broken.
    #[expect(clippy::option_option, reason = "broken, ended and a field are three things")]
    fn next_field(&mut self) -> Option<Option<(u8, &'a [u8])>> {
        let (&tag, after) = self.0.split_first()?;
        if tag == END {
            self.0 = after;
            return Some(None);
        }
        let (len, after) = after.split_first_chunk::<2>()?;
        let (value, after) = after.split_at_checked(read_len(*len))?;
        self.0 = after;
        Some(Some((tag, value)))
    }
}

/// Up to 2^14 - 1, without a NUL.
fn write_len(len: usize) -> [u8; 2] {
    [len >> 7, len].map(|part| u8::try_from(part & 0x7f).unwrap_or_default() | 0x80)
}

fn read_len([high, low]: [u8; 2]) -> usize {
    usize::from(high & 0x7f) << 7 | usize::from(low & 0x7f)
}

/// Ends the fields.
const END: u8 = b'.';

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACEPARENT: &[u8; TRACEPARENT_LEN] = b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";

    #[test]
    fn a_hash_in_the_request_line_is_escaped() {
        let mut writer = Writer::new();
        writer.begin(
            TRACEPARENT,
            Verdict { recorded: true, sampled: true, tracestate: TracestateAction::Keep },
            b"1111111111111111",
            None,
            b"",
        );
        writer.request_line(b"GET", b"/#41?#", b"1.1");
        writer.end();
        let (carry, _) = Carry::parse(writer.as_bytes()).unwrap();
        assert_eq!(carry.request_line, b"GET /#2341?#23 HTTP/1.1");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_whatever_clients_send(
            tracestate in "[ -~]{0,512}",
            host in proptest::collection::vec(1_u8.., 0..600),
            user_agent in proptest::collection::vec(1_u8.., 0..2000),
            parent in proptest::option::of("[0-9a-f]{15}[1-9a-f]"),
            after in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let parent: Option<[u8; 16]> = parent.map(|p| p.as_bytes().try_into().unwrap());
            let verdict = Verdict { recorded: true, sampled: true, tracestate: TracestateAction::Keep };
            let mut writer = Writer::new();
            writer.begin(TRACEPARENT, verdict, b"1111111111111111", parent.as_ref(), tracestate.as_bytes());
            writer.field(Field::Host, &host);
            writer.field(Field::UserAgent, &user_agent);
            writer.end();
            let mut bytes = writer.as_bytes().to_vec();
            prop_assert!(bytes.len() <= MAX_LEN && !bytes.contains(&0));
            bytes.extend_from_slice(&after);
            let (carry, rest) = Carry::parse(&bytes).unwrap();
            prop_assert_eq!(carry.verdict, verdict);
            prop_assert_eq!(carry.parent, parent.as_ref());
            prop_assert_eq!(carry.tracestate, tracestate.as_bytes());
            prop_assert_eq!(carry.host, &host[..host.len().min(264)]);
            prop_assert_eq!(carry.user_agent, &user_agent[..user_agent.len().min(512)]);
            prop_assert_eq!(rest, &after[..]);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Carry::parse(&bytes);
        }
    }

    #[test]
    fn attributes_are_added_up_to_the_bound() {
        let mut writer = Writer::new();
        let verdict = Verdict { recorded: true, sampled: true, tracestate: TracestateAction::Keep };
        writer.begin(TRACEPARENT, verdict, b"1111111111111111", None, b"");
        writer.end();
        let mut carried = writer.as_bytes().to_vec();
        let values = [AttributeValue::Text(b"x y"), AttributeValue::Integer(-7), AttributeValue::Bool(true)];
        for value in values {
            carried = with_attribute(&carried, b"app.key", value).unwrap();
        }
        let (carry, _) = Carry::parse(&carried).unwrap();
        let expected: Vec<_> = values.iter().map(|value| (&b"app.key"[..], *value)).collect();
        assert_eq!(carry.attributes().collect::<Vec<_>>(), expected);
        assert_eq!(with_attribute(&carried, b"", values[0]), None);
        assert_eq!(with_attribute(&carried, &[b'n'; 256], values[0]), None);
        assert_eq!(with_attribute(TRACEPARENT, b"n", values[0]), None);
        while let Some(more) = with_attribute(&carried, b"n", AttributeValue::Text(&[b'v'; 600])) {
            carried = more;
        }
        assert!(carried.len() <= MAX_LEN && carried.len() > MAX_LEN - 600);
        assert!(Carry::parse(&carried).is_some());
    }

    #[test]
    fn a_name_that_is_not_ascii_ends_the_attributes() {
        let mut writer = Writer::new();
        let verdict = Verdict { recorded: true, sampled: true, tracestate: TracestateAction::Keep };
        writer.begin(TRACEPARENT, verdict, b"1111111111111111", None, b"");
        writer.attribute(b"app.key", AttributeValue::Bool(true));
        writer.end();
        let mut carried = writer.as_bytes().to_vec();
        let name = carried.windows(7).position(|window| window == b"app.key").unwrap();
        carried[name] = 0xe9;
        let (carry, _) = Carry::parse(&carried).unwrap();
        assert_eq!(carry.attributes().next(), None);
    }

    #[test]
    fn a_bare_encoding_is_the_traceparent_alone() {
        let mut writer = Writer::new();
        writer.bare(TRACEPARENT);
        assert_eq!(writer.as_bytes(), TRACEPARENT);
        assert_eq!(Carry::parse(TRACEPARENT), None);
    }
}
