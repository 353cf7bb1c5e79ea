//! Payloads for tests: an ordinary request, with any field replaced.

use crate::trace::carry::{Field, TracestateAction, Verdict, Writer};

/// A payload to be.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) state: Option<&'static str>,
    pub(crate) host: Vec<u8>,
    pub(crate) user_agent: Vec<u8>,
    pub(crate) parent: Option<[u8; 16]>,
    /// Carried fields beyond the ordinary ones.
    pub(crate) carried: Vec<(Field, Vec<u8>)>,
    pub(crate) fields: Vec<Vec<u8>>,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            state: None,
            host: b"shop.example:8443".to_vec(),
            user_agent: b"curl/8.5.0".to_vec(),
            parent: Some([b'2'; 16]),
            carried: Vec::new(),
            fields: ORDINARY.iter().map(|(_, value)| value.as_bytes().to_vec()).collect(),
        }
    }
}

impl Sample {
    /// Some fields replaced, by name.
    pub(crate) fn with(fields: &[(&str, &str)]) -> Self {
        let mut sample = Self::default();
        for (name, value) in fields {
            let at = ORDINARY.iter().position(|(known, _)| known == name).unwrap();
            sample.fields[at] = value.as_bytes().to_vec();
        }
        sample
    }

    /// With a final termination state.
    pub(crate) fn ended(state: &'static str) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    pub(crate) fn host(mut self, host: &[u8]) -> Self {
        self.host = host.to_vec();
        self
    }

    pub(crate) fn user_agent(mut self, user_agent: &[u8]) -> Self {
        self.user_agent = user_agent.to_vec();
        self
    }

    pub(crate) fn line(mut self, line: &[u8]) -> Self {
        *self.fields.last_mut().unwrap() = line.to_vec();
        self
    }

    pub(crate) fn carrying(mut self, field: Field, value: &[u8]) -> Self {
        self.carried.push((field, value.to_vec()));
        self
    }

    /// Gathered values, before the request line, as HAProxy writes them.
    pub(crate) fn gathered(mut self, values: &[Option<&[u8]>]) -> Self {
        let line = self.fields.pop().unwrap();
        let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().concat();
        self.fields.extend(values.iter().map(|value| value.map_or("-".to_owned(), hex).into_bytes()));
        self.fields.push(line);
        self
    }

    pub(crate) fn context(&self) -> Vec<u8> {
        let verdict = Verdict { recorded: true, sampled: true, tracestate: TracestateAction::Keep };
        let mut writer = Writer::new();
        writer.begin(TRACEPARENT, verdict, &[b'1'; 16], self.parent.as_ref(), b"a=1");
        if !self.host.is_empty() {
            writer.field(Field::Host, &self.host);
        }
        writer.field(Field::UserAgent, &self.user_agent);
        for (field, value) in &self.carried {
            writer.field(*field, value);
        }
        writer.end();
        writer.as_bytes().to_vec()
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let fields = self.fields.join(&b' ');
        let context = self.context();
        match self.state {
            None => [&context[..], b" ", &fields].concat(),
            Some(state) => [state.as_bytes(), b" ", &context, b" ", &context, b" ", &fields].concat(),
        }
    }
}

/// An ordinary request's context.
pub(crate) fn context() -> Vec<u8> {
    Sample::default().context()
}

const TRACEPARENT: &[u8; 55] = b"00-0123456789abcdef0123456789abcdef-0123456789abcdef-03";

const ORDINARY: [(&str, &str); super::FIELDS] = [
    ("%ts", "--"),
    ("%ST", "200"),
    ("%b", "api"),
    ("%s", "api1"),
    ("%si", "10.0.0.7"),
    ("%sp", "8080"),
    ("%ci", "192.0.2.9"),
    ("%cp", "51234"),
    ("%f", "www"),
    ("%fp", "443"),
    ("%sslv", "TLSv1.3"),
    ("%Th", "4"),
    ("%Ti", "0"),
    ("%TR", "1"),
    ("%Tw", "2"),
    ("%Tc", "3"),
    ("%Tr", "25"),
    ("%rc", "0"),
    ("start", "1700000000000000"),
    ("fc_http_major", "1"),
    ("bc_http_major", "1"),
    ("bc_reused", "1"),
    ("%bq", "0"),
    ("%sq", "0"),
    ("%r", "GET /cart/items?id=7&sort=asc HTTP/1.1"),
];
