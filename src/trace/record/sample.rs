//! Records for tests: an ordinary request, with any part replaced.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{AttributeValue, Field, HEAD_LEN, Head, Numbers, Verdict, Writer, attribute, bits};

/// When the ordinary request began. Unix time, nanoseconds.
pub(crate) const START: u64 = 1_700_000_000_000_000_000;

/// A record to be.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) head: Head,
    pub(crate) numbers: Numbers,
    fields: Vec<(Field, Vec<u8>)>,
}

impl Default for Sample {
    fn default() -> Self {
        let fields: [(Field, &[u8]); 12] = [
            (Field::TraceState, b"a=1"),
            (Field::Method, b"GET"),
            (Field::Target, b"/cart/items?id=7&sort=asc"),
            (Field::Version, b"1.1"),
            (Field::Host, b"shop.example:8443"),
            (Field::UserAgent, b"curl/8.5.0"),
            (Field::Frontend, b"www"),
            (Field::Backend, b"api"),
            (Field::Server, b"api1"),
            (Field::ServerAddress, &[10, 0, 0, 7]),
            (Field::ClientAddress, &[192, 0, 2, 9]),
            (Field::Tls, b"TLSv1.3"),
        ];
        Self {
            head: Head {
                verdict: Verdict { recorded: true, sampled: true, ..Verdict::default() },
                flags: 3,
                trace_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes(),
                client_span: 0x0123_4567_89ab_cdef_u64.to_be_bytes(),
                server_span: [0x11; 8],
                parent: [0x22; 8],
                started: START,
            },
            numbers: Numbers {
                status: 200,
                server_port: 8080,
                client_port: 51234,
                frontend_port: 443,
                client_http_major: 1,
                server_http_major: 1,
                bits: bits::REUSE_KNOWN | bits::REUSED,
                timers: [4, 0, 1, 2, 3, 25],
                began: START,
                ..Numbers::default()
            },
            fields: fields.map(|(field, value)| (field, value.to_vec())).to_vec(),
        }
    }
}

impl Sample {
    /// A request of which nothing is known but its head, and that it is over.
    pub(crate) fn bare() -> Self {
        Self { numbers: Numbers::default(), fields: Vec::new(), ..Self::default() }
    }

    /// With a termination state.
    pub(crate) fn ended(state: &str) -> Self {
        Self::default().state(state)
    }

    pub(crate) fn state(self, state: &str) -> Self {
        let state = state.as_bytes().try_into().unwrap();
        self.numbers(|numbers| numbers.state = state)
    }

    pub(crate) fn status(self, status: u16) -> Self {
        self.numbers(|numbers| numbers.status = status)
    }

    /// With other numbers.
    pub(crate) fn numbers(mut self, change: impl FnOnce(&mut Numbers)) -> Self {
        change(&mut self.numbers);
        self
    }

    /// With another value in a field; without the field where the value is empty.
    pub(crate) fn with(mut self, field: Field, value: &[u8]) -> Self {
        self.fields.retain(|(known, _)| *known != field);
        if value.is_empty() { self } else { self.carrying(field, value) }
    }

    pub(crate) fn host(self, host: &[u8]) -> Self {
        self.with(Field::Host, host)
    }

    pub(crate) fn server(self, server: &str) -> Self {
        self.with(Field::Server, server.as_bytes())
    }

    pub(crate) fn address(self, field: Field, address: &str) -> Self {
        match address.parse().unwrap() {
            IpAddr::V4(address) => self.with(field, &address.octets()),
            IpAddr::V6(address) => self.with(field, &address.octets()),
        }
    }

    pub(crate) fn user_agent(self, user_agent: &[u8]) -> Self {
        self.with(Field::UserAgent, user_agent)
    }

    /// A request line, `METHOD TARGET[ HTTP/VERSION]`.
    pub(crate) fn line(self, line: impl AsRef<[u8]>) -> Self {
        let mut parts = line.as_ref().split(|&byte| byte == b' ');
        let mut next = || parts.next().unwrap_or_default();
        let (method, target) = (next(), next());
        let version = next().strip_prefix(b"HTTP/").unwrap_or_default();
        self.with(Field::Method, method).with(Field::Target, target).with(Field::Version, version)
    }

    /// Not sampled, but recorded.
    pub(crate) const fn unsampled(mut self) -> Self {
        self.head.verdict.sampled = false;
        self
    }

    /// With an attribute of a rule's.
    pub(crate) fn ruled(self, name: &str, value: AttributeValue<'_>) -> Self {
        let field = attribute::encode(name.as_bytes(), value).unwrap();
        self.carrying(Field::Attribute, &field)
    }

    /// With one more field.
    pub(crate) fn carrying(mut self, field: Field, value: &[u8]) -> Self {
        self.fields.push((field, value.to_vec()));
        self
    }

    /// With values that settings ask for.
    pub(crate) fn gathered(mut self, values: &[Option<&[u8]>]) -> Self {
        for (place, value) in (0_u8..).zip(values) {
            if let Some(value) = value {
                self = self.carrying(Field::Gathered, &[&[place], *value].concat());
            }
        }
        self
    }

    /// The record before its end.
    pub(crate) fn begun(&self) -> Writer {
        let mut writer = Writer::new();
        writer.begin(&self.head);
        for (field, value) in &self.fields {
            writer.field(*field, value);
        }
        writer
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut writer = self.begun();
        writer.end();
        writer.numbers(&self.numbers);
        writer.as_bytes().to_vec()
    }
}

/// Any field.
pub(crate) fn any_field() -> impl Strategy<Value = Field> {
    (2_u8..=32).prop_map(|tag| Field::of_tag(tag).unwrap())
}

/// Any numbers, and any that an ordinary request may have.
pub(crate) fn any_numbers() -> impl Strategy<Value = Numbers> {
    let letter = || prop_oneof![4 => proptest::sample::select(b"-CcSsPRIDUKLHQT".to_vec()), 1 => any::<u8>()];
    let timer = || prop_oneof![2 => -1_i32..60, 1 => any::<i32>()];
    let stamp = || prop_oneof![1 => Just(0_u64), 3 => START..START + 60_000_000, 1 => any::<u64>()];
    let parts = (
        [letter(), letter()],
        (prop_oneof![100_u16..600, any::<u16>()], prop_oneof![Just(0_u16), any::<u16>()], any::<[u16; 3]>()),
        (any::<[u8; 3]>(), prop_oneof![0_u32..3, any::<u32>()]),
        [timer(), timer(), timer(), timer(), timer(), timer()],
        [stamp(), stamp(), stamp(), stamp(), stamp()],
        any::<[u64; 2]>(),
    );
    parts.prop_map(|(state, (status, server_status, ports), (small, retries), timers, stamps, bytes)| {
        let [server_port, client_port, frontend_port] = ports;
        let [client_http_major, server_http_major, bits] = small;
        let [began, left, connected, answered, forwarded] = stamps;
        let [bytes_in, bytes_out] = bytes;
        Numbers {
            state,
            status,
            server_status,
            server_port,
            client_port,
            frontend_port,
            client_http_major: client_http_major % 5,
            server_http_major: server_http_major % 5,
            bits,
            retries,
            timers,
            began,
            left,
            connected,
            answered,
            forwarded,
            bytes_in,
            bytes_out,
        }
    })
}

/// Any request or connection that is recorded: an ordinary one's fields, and any, of which some are there twice.
pub(crate) fn any_sample() -> impl Strategy<Value = Sample> {
    let fields = proptest::collection::vec((any_field(), proptest::collection::vec(any::<u8>(), 0..40)), 0..20);
    let head = (any::<[bool; 5]>(), any::<u8>(), any::<[u8; 16]>(), any::<[[u8; 8]; 3]>(), any::<u64>());
    (head, any_numbers(), fields, any::<bool>()).prop_map(|(head, numbers, fields, ordinary)| {
        let ([sampled, measured, debug, connection, single], flags, trace_id, spans, started) = head;
        let [client_span, server_span, parent] = spans;
        let verdict = Verdict { recorded: true, sampled, measured, debug, connection };
        let server_span = if single { client_span } else { server_span };
        let head = Head { verdict, flags, trace_id, client_span, server_span, parent, started };
        let sample = if ordinary { Sample::default() } else { Sample::bare() };
        let sample = Sample { head, numbers, ..sample };
        fields.iter().fold(sample, |sample, (field, value)| sample.carrying(*field, value))
    })
}

#[test]
fn a_sample_is_a_record() {
    assert!(Sample::default().payload().len() > HEAD_LEN);
}
