//! Records for tests: an ordinary request, with any part replaced.

use std::net::IpAddr;

use super::{Field, HEAD_LEN, Head, Numbers, Verdict, Writer, bits};

/// A record to be.
#[derive(Clone)]
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
                started: 1_700_000_000_000_000_000,
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
                began: 1_700_000_000_000_000_000,
                ..Numbers::default()
            },
            fields: fields.map(|(field, value)| (field, value.to_vec())).to_vec(),
        }
    }
}

impl Sample {
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

    /// A request line, `METHOD TARGET[ HTTP/VERSION]`.
    pub(crate) fn line(self, line: &str) -> Self {
        let mut parts = line.split(' ');
        let mut next = || parts.next().unwrap_or_default().as_bytes();
        let (method, target) = (next(), next());
        let version = next().strip_prefix(b"HTTP/").unwrap_or_default();
        self.with(Field::Method, method).with(Field::Target, target).with(Field::Version, version)
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

#[test]
fn a_sample_is_a_record() {
    assert!(Sample::default().payload().len() > HEAD_LEN);
}
