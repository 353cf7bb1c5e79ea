//! Traces as text: the SERVER span, and under it what was asked of a server.

use std::fmt::Write;
use std::time::Duration;

use haproxy_vitals_tests::SpanView;
use haproxy_vitals_tests::otlp::{SpanKind, StatusCode};

/// A trace, and what was asked for.
pub(crate) struct Tree {
    pub(crate) target: String,
    pub(crate) text: String,
}

/// Each trace that begins among `spans`. Spans that belong together come together: they are made from one record.
pub(crate) fn trees(spans: &[SpanView]) -> impl Iterator<Item = Tree> {
    let known = |parent: &str| spans.iter().any(|span| span.span_id == parent);
    spans.iter().filter(move |span| !known(&span.parent_id)).map(|root| {
        let mut text = format!("trace {}\n", root.trace_id);
        branch(spans, root, 1, &mut text);
        Tree { target: target(root), text }
    })
}

fn branch(spans: &[SpanView], span: &SpanView, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let _ = writeln!(text, "{indent}{:<width$}{}", title(span), details(span), width = WIDTH - indent.len());
    for child in spans.iter().filter(|child| child.trace_id == span.trace_id && child.parent_id == span.span_id) {
        branch(spans, child, depth + 1, text);
    }
}

/// `SERVER GET /a?b  200`.
fn title(span: &SpanView) -> String {
    let kind = if span.kind == SpanKind::Client { "CLIENT" } else { "SERVER" };
    let method = span.str("http.request.method").unwrap_or(&span.name);
    let status = span.int("http.response.status_code").map_or_else(|| "---".to_owned(), |status| status.to_string());
    format!("{kind} {status} {method} {}", target(span))
}

fn target(span: &SpanView) -> String {
    let path = span.str("url.path").or_else(|| span.str("url.full")).unwrap_or_default();
    match span.str("url.query") {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

/// How long, where to, and HAProxy's clocks; last what went wrong.
fn details(span: &SpanView) -> String {
    let mut text = format!("{:>8}", millis(span.duration()));
    if span.kind == SpanKind::Client {
        let name = |key| span.str(key).unwrap_or("?");
        let _ = write!(text, "  {}/{}", name("haproxy.backend.name"), name("haproxy.server.name"));
    }
    for (word, key) in TIMERS {
        if let Some(timer) = span.int(key) {
            let _ = write!(text, "  {word} {timer} ms");
        }
    }
    if let Some(retries) = span.int("haproxy.retries") {
        let _ = write!(text, "  retries {retries}");
    }
    if let Some(error) = span.str("error.type") {
        let _ = write!(text, "  error.type={error}");
    } else if span.status == StatusCode::Error {
        text += "  error";
    }
    text
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// Columns before the details.
const WIDTH: usize = 72;
const TIMERS: [(&str, &str); 3] = [
    ("queue", "haproxy.timer.queue"),
    ("connect", "haproxy.timer.connect"),
    ("response", "haproxy.timer.response_headers"),
];
