//! The exporter `console`: for people who try things out. A short line for each span on standard error; for metrics and logs
//! OTLP's JSON form, a line for each request. OpenTelemetry specification, "Standard output": the format is nobody's to parse.
//!
//! ```text
//! 2026-01-31T12:00:00.123456Z SERVER "GET /" 1.234ms trace=... span=... parent=... http.response.status_code=200
//! ```

use std::fmt::Write as _;
use std::io;

use nix::errno::Errno;
use nix::sys::stat::{fstat, major, minor};
use nix::unistd::write;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use super::sink::{WriteError, Writer};
use super::{Signal, json};
use crate::log::stamp;

/// Writes to standard error as it is now: a daemon's goes to `/dev/null`.
#[derive(Debug)]
pub(super) struct Console;

impl Writer for Console {
    fn write(&mut self, signal: Signal, request: &[u8]) -> Result<(), WriteError> {
        if leads_nowhere() {
            return Err(WriteError::Nowhere);
        }
        let text = match signal {
            Signal::Traces => lines(&ExportTraceServiceRequest::decode(request)?).into_bytes(),
            Signal::Metrics | Signal::Logs => {
                let mut text = json::encode(signal, request)?;
                text.push(b'\n');
                text
            }
        };
        Ok(write_all(&text)?)
    }
}

/// Without the lock that `std` holds while it writes: nobody at the process's end may wait for a reader of ours.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(io::stderr(), bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether standard error is closed, or the null device: Linux, `Documentation/admin-guide/devices.txt`, 1:3.
fn leads_nowhere() -> bool {
    fstat(io::stderr()).map_or(true, |stat| (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3))
}

fn lines(request: &ExportTraceServiceRequest) -> String {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let mut out = String::new();
    for span in scopes.flat_map(|scope| &scope.spans) {
        line(&mut out, span);
    }
    out
}

fn line(out: &mut String, span: &Span) {
    let kind = SpanKind::try_from(span.kind).unwrap_or_default().as_str_name().trim_start_matches("SPAN_KIND_");
    stamp(out, span.start_time_unix_nano);
    let _ = write!(out, " {kind} \"");
    text(out, &span.name);
    let micros = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) / 1000;
    let _ = write!(out, "\" {}.{:03}ms", micros / 1000, micros % 1000);
    for (name, id) in [("trace", &span.trace_id), ("span", &span.span_id), ("parent", &span.parent_span_id)] {
        if !id.is_empty() {
            let _ = write!(out, " {name}=");
            for byte in id {
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
    if span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32) {
        out.push_str(" ERROR");
    }
    for name in ATTRIBUTES {
        attribute(out, span, name);
    }
    out.push('\n');
}

fn attribute(out: &mut String, span: &Span, name: &str) {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(value)) => {
            let _ = write!(out, " {name}=");
            text(out, value);
        }
        Some(Value::IntValue(value)) => _ = write!(out, " {name}={value}"),
        _ => {}
    }
}

/// Foreign text: cut short, and nothing in it that a terminal would obey.
fn text(out: &mut String, text: &str) {
    for character in text.chars().take(MAX_TEXT) {
        if character.is_control() { out.extend(character.escape_default()) } else { out.push(character) }
    }
    if text.chars().nth(MAX_TEXT).is_some() {
        out.push_str("...");
    }
}

/// What is shown of a span's attributes, in this order.
const ATTRIBUTES: [&str; 8] = [
    "http.response.status_code",
    "error.type",
    "url.path",
    "server.address",
    "client.address",
    "haproxy.frontend.name",
    "haproxy.backend.name",
    "haproxy.server.name",
];

/// Characters of one foreign text.
const MAX_TEXT: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::trace::v1::Status;
    use proptest::prelude::*;

    fn shown(span: &Span) -> String {
        let mut out = String::new();
        line(&mut out, span);
        out
    }

    fn pair(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    #[test]
    fn a_span_is_one_line() {
        let span = Span {
            trace_id: vec![0xab; 16],
            span_id: vec![1; 8],
            parent_span_id: vec![2; 8],
            name: "GET /\u{1b}[2J".to_owned(),
            kind: SpanKind::Server as i32,
            start_time_unix_nano: 1_769_860_800_123_456_789,
            end_time_unix_nano: 1_769_860_800_124_690_789,
            status: Some(Status { code: StatusCode::Error as i32, ..Status::default() }),
            attributes: vec![
                pair("url.path", Value::StringValue("/a\nb".to_owned())),
                pair("http.response.status_code", Value::IntValue(503)),
                pair("unlisted", Value::IntValue(1)),
            ],
            ..Span::default()
        };
        let expected = format!(
            "2026-01-31T12:00:00.123456Z SERVER \"GET /\\u{{1b}}[2J\" 1.234ms trace={} span={} parent={} ERROR \
             http.response.status_code=503 url.path=/a\\nb\n",
            "ab".repeat(16),
            "01".repeat(8),
            "02".repeat(8)
        );
        assert_eq!(shown(&span), expected);
    }

    proptest! {
        #[test]
        fn whatever_a_span_holds_its_line_is_one_and_short(name in ".{0,300}", path in "\\PC{0,10}[\\x00-\\x1f]{0,300}", start: u64, end: u64, kind: i32) {
            let attributes = vec![pair("url.path", Value::StringValue(path))];
            let (start_time_unix_nano, end_time_unix_nano) = (start, end);
            let line = shown(&Span { name, attributes, start_time_unix_nano, end_time_unix_nano, kind, ..Span::default() });
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(line.len() < 4096 && !line.trim_end_matches('\n').contains(char::is_control));
        }
    }
}
