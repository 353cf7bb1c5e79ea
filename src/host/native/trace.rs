//! Events of the placeholders, for tests of the hooks: into the file that `VITALS_TRACE` names.

use super::fetch::Value;
use super::line::{Line, Mode, Section};
use super::stream::Stream;

#[cfg(not(feature = "fault-injection"))]
pub(super) use off::*;
#[cfg(feature = "fault-injection")]
pub(super) use on::*;

#[cfg(not(feature = "fault-injection"))]
mod off {
    use super::{Line, Mode, Section, Stream, Value};

    pub(in super::super) fn say(_: &str) {}
    pub(in super::super) fn event(_: &str, _: &Line, _: &mut Stream<'_>, _: impl std::fmt::Display) {}
    pub(in super::super) fn headers(_: &mut Stream<'_>) {}
    pub(in super::super) fn trailer(_: &[u8], _: &[u8]) {}
    pub(in super::super) fn attribute(_: &[u8], _: Option<Value<'_>>) {}
    pub(in super::super) fn values(_: &mut Stream<'_>) {}
    pub(in super::super) fn wants_after_response() -> bool {
        false
    }
    pub(in super::super) fn wants_trailers() -> bool {
        false
    }
    pub(in super::super) fn section(section: Section<'_>) -> Option<Mode> {
        section.has_actions.then_some(Mode::Actions)
    }
}

#[cfg(feature = "fault-injection")]
#[expect(clippy::disallowed_methods, reason = "not settings: nothing that users run has them")]
mod on {
    use std::fmt::Write;
    use std::fs::OpenOptions;
    use std::io::Write as _;
    use std::sync::OnceLock;

    use super::super::fetch::{Expression, Fetch};
    use super::super::htx::Block;
    use super::{Line, Mode, Section, Stream, Value};

    fn has(name: &str) -> bool {
        std::env::var_os(name).is_some()
    }

    fn path() -> Option<&'static String> {
        static PATH: OnceLock<Option<String>> = OnceLock::new();
        PATH.get_or_init(|| std::env::var("VITALS_TRACE").ok()).as_ref()
    }

    pub(in super::super) fn say(text: &str) {
        if let Some(path) = path()
            && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(path)
        {
            let _ = file.write_all(format!("{text}\n").as_bytes());
        }
    }

    pub(in super::super) fn event(what: &str, line: &Line, stream: &mut Stream<'_>, more: impl std::fmt::Display) {
        if path().is_none() {
            return;
        }
        let (key, http) = (stream.key() & 0xff_ffff, stream.is_http());
        say(&format!("{key:x} {what} line={}/{:?}/{} http={http} {more}", line.name, line.mode, line.client_span));
    }

    pub(in super::super) fn headers(stream: &mut Stream<'_>) {
        if path().is_none() {
            return;
        }
        if let Some(mut message) = stream.message() {
            for block in message.blocks() {
                match block {
                    Block::Line(parts) => say(&format!("  line {:?}", parts.map(String::from_utf8_lossy))),
                    Block::Header(name, value) => {
                        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
                        say(&format!("  header {name}: {value}"));
                    }
                    _ => {}
                }
            }
            let done = [
                message.set_header(b"x-vitals-set", b"one"),
                message.set_header(b"x-vitals-set", b"two"),
                message.add_header(b"x-vitals-add", b"a"),
                message.add_header(b"x-vitals-add", b"b"),
                message.set_header(b"x-client", b"mine"),
                message.remove_header(b"x-gone"),
            ];
            say(&format!("  changed {done:?}"));
        }
        let set = [
            stream.set_variable("txn.vitals.text", Value::Text(b"abc")),
            stream.set_variable("txn.vitals.truth", Value::Bool(true)),
            stream.set_variable("txn.vitals.number", Value::Int(7)),
            stream.set_variable("nonsense", Value::Int(7)),
        ];
        say(&format!("  variables {set:?}"));
    }

    pub(in super::super) fn trailer(name: &[u8], value: &[u8]) {
        say(&format!("  trailer {}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value)));
    }

    pub(in super::super) fn attribute(name: &[u8], value: Option<Value<'_>>) {
        say(&format!("  attribute {} = {}", String::from_utf8_lossy(name), shown(value)));
    }

    pub(in super::super) fn wants_after_response() -> bool {
        has("VITALS_AFTER_RESPONSE")
    }

    pub(in super::super) fn wants_trailers() -> bool {
        path().is_some() && has("VITALS_TRAILERS")
    }

    pub(in super::super) fn section(section: Section<'_>) -> Option<Mode> {
        say(&format!("section {section:?}"));
        if section.has_filter {
            return None;
        }
        if section.has_actions {
            return Some(Mode::Actions);
        }
        (has("VITALS_ZERO") && section.kind != super::super::line::Kind::Backend).then_some(Mode::Zero)
    }

    fn shown(value: Option<Value<'_>>) -> String {
        match value {
            Some(Value::Text(text)) => format!("{:?}", String::from_utf8_lossy(text)),
            Some(other) => format!("{other:?}"),
            None => "-".to_owned(),
        }
    }

    pub(in super::super) fn values(stream: &mut Stream<'_>) {
        if path().is_none() || has("VITALS_QUIET") {
            return;
        }
        let mut line = String::from("  values");
        for name in FETCHES {
            let text = match Fetch::named(name) {
                Some(fetch) => shown(stream.value(&fetch)),
                None => "absent".to_owned(),
            };
            let _ = write!(line, " {name}={text}");
        }
        for text in ["var(txn.vitals.text)", "res.fhdr(server)", "path", "method"] {
            static PARSED: std::sync::Mutex<Vec<(&str, Expression)>> = std::sync::Mutex::new(Vec::new());
            if let Ok(mut parsed) = PARSED.lock() {
                let known = parsed.iter().find(|(known, _)| *known == text).map(|(_, expression)| *expression);
                let expression = known.or_else(|| Expression::parse(text).ok());
                if let (None, Some(expression)) = (known, expression) {
                    parsed.push((text, expression));
                }
                if let Some(expression) = expression {
                    let _ = write!(line, " {text}={}", shown(stream.evaluate(expression)));
                }
            }
        }
        say(&line);
    }

    const FETCHES: [&str; 40] = [
        "src",
        "src_port",
        "dst",
        "dst_port",
        "bc_dst",
        "bc_dst_port",
        "bc_src",
        "fe_name",
        "be_name",
        "srv_name",
        "ssl_fc",
        "ssl_fc_protocol",
        "ssl_fc_cipher",
        "ssl_bc",
        "fc.timer.handshake",
        "req.timer.idle",
        "req.timer.hdr",
        "req.timer.queue",
        "bc.timer.connect",
        "res.timer.hdr",
        "res.timer.data",
        "txn.timer.total",
        "txn.conn_retries",
        "txn.redispatched",
        "txn.sess_term_state",
        "txn.status",
        "server_status",
        "status",
        "fc_http_major",
        "bc_http_major",
        "bc_reused",
        "bytes_in",
        "bytes_out",
        "request_date",
        "accept_date",
        "bc_be_queue",
        "bc_srv_queue",
        "unique-id",
        "stream_uniq_id",
        "last_rule_line",
    ];
}
