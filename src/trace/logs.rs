//! The logs signal: one log record for each finished request, sampled or not, with its trace context.
//!
//! `opentelemetry/proto/logs/v1/logs.proto`; severity and event name: OpenTelemetry specification, "Logs data model".

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::outcome::{ErrorType, Outcome};
use super::protobuf;
use super::record::{Record, Server, Timers};
use super::spans::{self, Facts};
use super::wording::{QueryRules, Wording};
use crate::config::LogsConfig;
use crate::export::Outlet;
use crate::export::envelope::Envelope;

/// Log records on their way into a batch. One task owns it.
///
/// Bounded: a batch leaves when it has `max_export_batch_size` records; what the way out has no room for it counts.
pub struct LogBatch {
    envelope: Envelope,
    outlet: Arc<dyn Outlet>,
    limits: Limits,
    /// How spans say it.
    wording: Arc<Wording>,
    max_records: u64,
    delay: Duration,
    /// Encoded records.
    bytes: Vec<u8>,
    records: u64,
    /// When the batch got its first record.
    opened: Option<Instant>,
}

/// OpenTelemetry specification, SDK environment variables, `LogRecord` limits.
#[derive(Debug, Clone, Copy)]
struct Limits {
    attributes: usize,
    /// Characters.
    value: usize,
}

impl LogBatch {
    /// An empty batch that leaves through `outlet`.
    pub fn new(config: &LogsConfig, wording: Arc<Wording>, envelope: Envelope, outlet: Arc<dyn Outlet>) -> Self {
        Self {
            envelope,
            outlet,
            wording,
            limits: Limits { attributes: config.attribute_count_limit, value: config.attribute_value_length_limit },
            max_records: config.max_export_batch_size.min(config.max_queue_size) as u64,
            delay: config.schedule_delay,
            bytes: Vec::new(),
            records: 0,
            opened: None,
        }
    }

    /// Adds one finished request.
    pub fn add(&mut self, record: &Record<'_>) {
        encode(record, &self.wording, unix_nanos(), self.limits, &mut self.bytes);
        self.records += 1;
        self.opened.get_or_insert_with(Instant::now);
        if self.records >= self.max_records {
            self.ship();
        }
    }

    /// Sends what is old enough; with `last` everything.
    pub fn tick(&mut self, last: bool) {
        if last || self.opened.is_some_and(|opened| opened.elapsed() >= self.delay) {
            self.ship();
        }
    }

    fn ship(&mut self) {
        self.opened = None;
        if self.records > 0 {
            self.outlet.ship(self.envelope.wrap(&self.bytes), std::mem::take(&mut self.records));
            self.bytes.clear();
        }
    }
}

impl fmt::Debug for LogBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogBatch").field("records", &self.records).finish_non_exhaustive()
    }
}

/// Appends one `ScopeLogs.log_records` entry. `now`: Unix time, nanoseconds.
fn encode(record: &Record<'_>, wording: &Wording, now: u64, limits: Limits, out: &mut Vec<u8>) {
    let facts = Facts::new(record, wording);
    let outcome = facts.server;
    let (number, text) = severity(outcome);
    let entry = protobuf::open(out, LOG_RECORDS, 2);
    protobuf::fixed64(out, TIME, record.end_unix_nanos);
    protobuf::unsigned(out, SEVERITY_NUMBER, number);
    protobuf::bytes(out, SEVERITY_TEXT, text.as_bytes());
    let body = protobuf::open(out, BODY, 2);
    protobuf::string(out, ANY_STRING, &line(record, wording, outcome));
    protobuf::close(out, &body);
    let dropped = Attributes { out, limits, written: 0, dropped: 0 }.all(record, &facts, &wording.query);
    if dropped > 0 {
        protobuf::unsigned(out, DROPPED_ATTRIBUTES_COUNT, dropped);
    }
    protobuf::fixed32(out, FLAGS, u32::from(record.trace_flags));
    protobuf::array(out, TRACE_ID, &record.trace_id);
    protobuf::array(out, SPAN_ID, &record.server_span);
    protobuf::fixed64(out, OBSERVED_TIME, now);
    protobuf::bytes(out, EVENT_NAME_FIELD, EVENT_NAME.as_bytes());
    protobuf::close(out, &entry);
}

/// `SeverityNumber` and its short name: what the client got decides.
fn severity(outcome: Outcome) -> (u64, &'static str) {
    match (outcome.error, outcome.status) {
        (Some(_), _) => (17, "ERROR"),
        (None, Some(400..)) => (13, "WARN"),
        (None, _) => (9, "INFO"),
    }
}

/// A line like that of HAProxy's `option httplog`, with what is known here:
/// `CLIENT:PORT FRONTEND BACKEND/SERVER TR/Tw/Tc/Tr/Ta STATUS STATE "METHOD TARGET HTTP/VERSION"`. Secrets in the query are
/// redacted.
fn line(record: &Record<'_>, wording: &Wording, outcome: Outcome) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    let response = &record.response;
    let address = response.client_ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
    let port = response.client_port.unwrap_or_default();
    push(&mut line, &[address.as_bytes(), b":", port.to_string().as_bytes(), b" ", response.frontend, b" "]);
    let server = match response.server {
        Server::Real(name) | Server::Applet(name) => name,
        Server::None => b"<NOSRV>",
    };
    push(&mut line, &[response.backend, b"/", server, b" "]);
    line.extend_from_slice(timers(response.timers).as_bytes());
    let total = (spans::interval(record).seconds() * 1000.0).round();
    let status = outcome.status.map_or_else(|| "-1".to_owned(), |status| status.to_string());
    line.extend_from_slice(format!("/{total} {status} ").as_bytes());
    push(&mut line, &[&record.state().0, b" \""]);
    let request = &record.request;
    if request.method.is_empty() {
        line.extend_from_slice(b"<BADREQ>");
    } else {
        push(&mut line, &[request.method, b" "]);
        push(&mut line, &[request.target.authority, request.target.path]);
        if let Some(query) = request.target.query.filter(|_| wording.query != QueryRules::Drop) {
            line.push(b'?');
            wording.query.push(&mut line, query);
        }
        if !request.version.is_empty() {
            push(&mut line, &[b" HTTP/", request.version]);
        }
    }
    line.push(b'"');
    line
}

/// `TR/Tw/Tc/Tr`: milliseconds, -1 where the step was not reached.
fn timers(timers: Timers) -> String {
    let show = |timer: Option<u64>| timer.map_or_else(|| "-1".to_owned(), |millis| millis.to_string());
    let Timers { request_headers, queue, connect, response_headers, .. } = timers;
    [request_headers, queue, connect, response_headers].map(show).join("/")
}

fn push(line: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        line.extend_from_slice(part);
    }
}

/// Attributes as they are appended, within the limits.
struct Attributes<'o> {
    out: &'o mut Vec<u8>,
    limits: Limits,
    written: usize,
    dropped: u64,
}

impl Attributes<'_> {
    /// Those of the SERVER span that say what was asked and answered; how many found no place.
    fn all(mut self, record: &Record<'_>, facts: &Facts<'_>, rules: &QueryRules) -> u64 {
        let (request, outcome) = (&record.request, facts.server);
        self.text("http.request.method", facts.method);
        if let Some(route) = &facts.route {
            self.text("http.route", route);
        }
        if !request.method.is_empty() {
            self.text("url.path", request.target.path);
            let query = request.target.query.filter(|query| !query.is_empty() && *rules != QueryRules::Drop);
            if let Some(query) = query {
                self.built("url.query", |out| rules.push(out, query));
            }
        }
        if let Some(status) = outcome.status {
            self.int("http.response.status_code", status.into());
        }
        match outcome.error {
            Some(ErrorType::Status(code)) => self.text("error.type", code.to_string().as_bytes()),
            Some(ErrorType::Word(word)) => self.text("error.type", word.as_str().as_bytes()),
            Some(ErrorType::Rpc(name)) => self.text("error.type", name.as_bytes()),
            None => {}
        }
        self.present("server.address", facts.host);
        self.present("user_agent.original", record.user_agent);
        let response = &record.response;
        self.text("url.scheme", facts.scheme);
        if let Some(address) = facts.client_address {
            self.text("client.address", address.to_string().as_bytes());
        }
        self.present("network.protocol.version", facts.version);
        self.present("haproxy.frontend.name", response.frontend);
        self.present("haproxy.backend.name", response.backend);
        if let Server::Real(name) | Server::Applet(name) = response.server {
            self.text("haproxy.server.name", name);
        }
        self.text("haproxy.termination_state", &record.state().0);
        self.dropped
    }

    fn present(&mut self, key: &str, value: &[u8]) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    fn text(&mut self, key: &str, value: &[u8]) {
        self.built(key, |out| out.extend_from_slice(value));
    }

    fn built(&mut self, key: &str, build: impl FnOnce(&mut Vec<u8>)) {
        if self.has_place() {
            let limit = self.limits.value;
            protobuf::built_attribute(self.out, ATTRIBUTES, key.as_bytes(), |out| {
                let start = out.len();
                build(out);
                shorten(out, start, limit);
            });
        }
    }

    fn int(&mut self, key: &str, value: i64) {
        if self.has_place() {
            protobuf::named_int_attribute(self.out, ATTRIBUTES, key.as_bytes(), value);
        }
    }

    fn has_place(&mut self) -> bool {
        let has = self.written < self.limits.attributes;
        if has {
            self.written += 1;
        } else {
            self.dropped += 1;
        }
        has
    }
}

/// Cuts what was appended from `start` on to `limit` characters.
fn shorten(out: &mut Vec<u8>, start: usize, limit: usize) {
    let appended = out.get(start..).unwrap_or_default();
    if appended.len() <= limit {
        return;
    }
    let text = String::from_utf8_lossy(appended);
    let kept: String = text.chars().take(limit).collect();
    out.truncate(start);
    out.extend_from_slice(kept.as_bytes());
}

fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// `LogRecord.event_name`.
pub const EVENT_NAME: &str = "haproxy.request";

// opentelemetry/proto/logs/v1/logs.proto: ScopeLogs, LogRecord; common/v1: AnyValue.
const LOG_RECORDS: u8 = 2;
const TIME: u8 = 1;
const SEVERITY_NUMBER: u8 = 2;
const SEVERITY_TEXT: u8 = 3;
const BODY: u8 = 5;
const ATTRIBUTES: u8 = 6;
const DROPPED_ATTRIBUTES_COUNT: u8 = 7;
const FLAGS: u8 = 8;
const TRACE_ID: u8 = 9;
const SPAN_ID: u8 = 10;
const OBSERVED_TIME: u8 = 11;
const EVENT_NAME_FIELD: u8 = 12;
const ANY_STRING: u8 = 1;

#[cfg(test)]
mod tests;
