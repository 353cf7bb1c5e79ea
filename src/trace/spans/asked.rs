//! Attributes that settings and rules ask for.

use std::fmt::Write as _;

use super::{Extras, Request, Span};
use crate::config::ValueKind;
use crate::stats;
use crate::trace::outcome::Outcome;
use crate::trace::protobuf::key;
use crate::trace::record::scan::split_once;
use crate::trace::record::{AttributeValue, Field, Record, Response};
use crate::trace::wording::{Call, Method, OTHER, Wording};

impl<'a> Extras<'a> {
    pub(super) fn new(record: &Record<'a>, wording: &Wording) -> Self {
        let values = record.response.gathered.values(wording.gathered);
        let rules = wording.rpc.as_ref();
        let status = value(&values, rules.and_then(|rules| rules.status_place));
        let status = status.or(Some(record.response.rpc_status).filter(|status| !status.is_empty()));
        let call = rules.and_then(|rules| rules.call(record, status));
        let origin = wording.forwarding.as_ref().and_then(|forwarding| forwarding.origin(record)).unwrap_or_default();
        Self { values, call, origin }
    }
}

/// What rules put on the span; of one name the last.
pub(super) fn rules(span: &mut Span<'_>, record: &Record<'_>) {
    let mut rest = record.attributes();
    while let Some((name, value)) = rest.next() {
        if rest.clone().any(|(later, _)| later == name) {
            continue;
        }
        match value {
            AttributeValue::Text(text) => span.text(name, text),
            AttributeValue::Integer(number) => span.integer(name, number),
            AttributeValue::Bool(flag) => span.flag(name, flag),
        }
    }
}

/// The value at a place, unless there is none, or an empty one.
pub(super) fn value<'a>(values: &[Option<&'a [u8]>], place: Option<usize>) -> Option<&'a [u8]> {
    values.get(place?)?.filter(|value| !value.is_empty())
}

impl<'r, 'a> Request<'r, 'a> {
    /// The value at a place of what was gathered, unless it is empty.
    pub(super) fn value(&self, place: Option<usize>) -> Option<&'a [u8]> {
        value(&self.extras?.values, place)
    }

    pub(super) fn call(&self) -> Option<&'r Call> {
        self.extras?.call.as_ref()
    }

    /// The client's TLS.
    pub(super) fn tls_from_client(&self, span: &mut Span<'_>, values: &[Option<&[u8]>]) {
        let tls = &self.wording.tls;
        if tls.wanted && !self.record.response.tls_version.is_empty() {
            span.bool(b"tls.established", true);
        }
        if values.is_empty() {
            return;
        }
        let at = |place| value(values, place).unwrap_or_default();
        span.present(key!("tls.cipher"), at(tls.cipher));
        span.present(key!("tls.curve"), at(tls.curve));
        span.present(key!("tls.next_protocol"), at(tls.next_protocol));
        span.present(key!("tls.client.server_name"), at(tls.server_name));
        if let Some(resumed) = truth(at(tls.resumed)) {
            span.bool(b"tls.resumed", resumed);
        }
        span.present(key!("tls.client.subject"), at(tls.subject));
        span.present(key!("tls.client.issuer"), at(tls.issuer));
        let digest = at(tls.fingerprint).iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02X}");
            digits
        });
        span.present(key!("tls.client.hash.sha1"), digest.as_bytes());
    }

    /// What only the SERVER span has of what settings ask for, and its events.
    pub(super) fn asked_of_server(&self, extras: &Extras<'_>, span: &mut Span<'_>) {
        let (wording, values) = (self.wording, &extras.values);
        self.fixed(span);
        self.request_headers(span);
        for (place, name) in &wording.response_headers {
            if let Some(Some(line)) = values.get(*place) {
                span.texts(name, [*line]);
            }
        }
        for (place, name, kind) in &wording.variables {
            match value(values, Some(*place)) {
                Some(text) if !self.is_ruled(name) => variable(span, name, *kind, text),
                _ => {}
            }
        }
        if wording.events {
            self.server_events(span.out());
        }
    }

    /// What the CLIENT span has of it.
    pub(super) fn asked_of_client(&self, response: &Response<'_>, span: &mut Span<'_>) {
        self.fixed(span);
        if self.wording.events {
            self.client_events(response, span.out());
        }
    }

    fn request_headers(&self, span: &mut Span<'_>) {
        for (place, name) in (1_u8..).zip(&self.wording.request_headers) {
            let lines = || self.record.all_carried(Field::Header).filter_map(|field| field.split_first());
            let mut of_this = lines().filter(|(at, _)| **at == place).map(|(_, value)| value).peekable();
            if of_this.peek().is_some() {
                span.texts(name, of_this);
            }
        }
    }

    /// What every span has.
    pub(super) fn fixed(&self, span: &mut Span<'_>) {
        let (attributes, count) = &self.wording.fixed;
        if *count > 0 {
            span.encoded(attributes, *count);
        }
    }

    /// A name that rules gave several values has the last one. OpenTelemetry specification, "Set Attributes".
    pub(super) fn rules(&self, span: &mut Span<'_>) {
        if self.record.has_attributes {
            rules(span, self.record);
        }
    }

    /// A rule says more of a request than a setting.
    fn is_ruled(&self, name: &[u8]) -> bool {
        self.record.attributes().any(|(ruled, _)| ruled == name)
    }
}

/// RPC semantic conventions, gRPC; and the outcome with them.
pub(super) fn rpc(extras: &Extras<'_>, span: &mut Span<'_>, outcome: Outcome, of_server: bool) -> Outcome {
    let Some(call) = &extras.call else { return outcome };
    span.string(key!("rpc.system.name"), b"grpc");
    match &call.method {
        Method::Known(method) => span.built(b"rpc.method", |out| out.extend_from_slice(method)),
        Method::Other(original) => {
            span.string(key!("rpc.method"), OTHER);
            span.present(key!("rpc.method_original"), original);
        }
    }
    // The CLIENT span has a status where the server's answer came.
    let answered = outcome.status.is_some();
    let name = call.status_name().filter(|_| answered);
    if let Some(name) = name {
        span.string(key!("rpc.response.status_code"), name.as_bytes());
    }
    if call.old_names {
        span.string(key!("rpc.system"), b"grpc");
        if let Method::Known(method) = &call.method {
            span.present(key!("rpc.service"), split_once(method, b'/').map_or(b"", |(service, _)| service));
        }
        if let Some(code) = call.status.filter(|_| answered) {
            span.unsigned(key!("rpc.grpc.status_code"), u64::from(code));
        }
    }
    if answered { call.refine(outcome, of_server) } else { outcome }
}

fn variable(span: &mut Span<'_>, name: &[u8], kind: ValueKind, text: &[u8]) {
    let number = || std::str::from_utf8(text).ok().map(str::trim);
    let value = match kind {
        ValueKind::Text => return span.text(name, text),
        ValueKind::Integer => number().and_then(|text| text.parse().ok()).map(|number| span.integer(name, number)),
        ValueKind::Double => number()
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|number| number.is_finite())
            .map(|number| span.double(name, number)),
        ValueKind::Bool => truth(text).map(|flag| span.flag(name, flag)),
    };
    if value.is_none() {
        stats::ATTRIBUTES_LEFT_OUT.add(1);
    }
}

/// As HAProxy writes it, or people do.
fn truth(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}
