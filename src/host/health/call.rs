//! A check that Lua asks for, as one line there and one line back.
//!
//! There: `check`, or `watch` with the time between checks in milliseconds; the bound in milliseconds, and the target's fields,
//! separated by tabs; an empty field is absent but for the service, which has a mark before it. Back: `pass`, `fail`, `drain`, `hold` or `fault`, the class, the text.

use std::time::Duration;

use mlua::prelude::*;
use tokio::time::timeout;

use crate::health::{CheckResult, Checker, Class, Outcome, ServerState, ServerStatus, TargetSpec, Watching};

/// Checks that Lua waits for at once; more are refused.
pub(super) const MAX_CALLS: usize = 64;
/// Targets that Lua watches at once; more are refused.
pub(super) const MAX_WATCHES: usize = 256;
/// Bytes of the line there, with its line break.
pub(super) const MAX_LINE: usize = 2048;

/// What Lua asks for.
#[derive(Debug, PartialEq)]
struct Call {
    /// Absent for a single check.
    every: Option<Duration>,
    within: Duration,
    target: TargetSpec,
}

/// Why a table asks for no check. Lua gets the text.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("`{0}`: expected {1}")]
    Wrong(&'static str, &'static str),
    #[error("the fields are longer than {MAX_LINE} bytes together, or have a tab or a line break in them")]
    Unspeakable,
}

/// The line for a table `{ address, backend, service, tls, authority, timeout }`, and the bound in seconds. `every`: seconds between
/// checks of what is watched.
pub(super) fn request(spec: &LuaTable, every: Option<f64>) -> Result<(String, f64), CallError> {
    let mut call = read(spec)?;
    call.every = every.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.1, 3600.0)));
    Ok((call.line()?, call.within.as_secs_f64()))
}

/// What a line back says.
pub(super) struct Answer<'a> {
    pub(super) word: &'a str,
    pub(super) class: &'a str,
    pub(super) text: &'a str,
}

impl<'a> Answer<'a> {
    /// Reads it.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(3, '\t');
        Some(Self { word: fields.next()?, class: fields.next()?, text: fields.next()? })
    }
}

/// Runs the check of a line.
pub(super) async fn answer(checker: &Checker, line: &str) -> String {
    let Some(call) = Call::parse(line) else { return fault("not a check") };
    match timeout(call.within, checker.once(call.target)).await {
        Ok(result) => of(&result),
        Err(_) => format!("fail\t{}\tno answer in time\n", Class::Timeout.word()),
    }
}

/// Whether a line asks to watch.
pub(super) fn is_watch(line: &str) -> bool {
    line.starts_with("watch ")
}

/// Begins what a line asks to watch, or gives the line that says why not.
pub(super) fn watch(checker: &Checker, line: &str) -> Result<Watching, String> {
    let call = Call::parse(line).ok_or_else(|| fault("nothing to watch"))?;
    let every = call.every.ok_or_else(|| fault("nothing to watch"))?;
    checker.watch(&call.target, every, call.within).map_err(|problem| fault(&problem))
}

/// The line for the state of what is watched.
pub(super) fn told(status: &ServerStatus) -> String {
    let word = match status.state {
        ServerState::Up => "pass",
        ServerState::Drain => "drain",
        ServerState::Down => "fail",
        ServerState::Unknown => "hold",
    };
    line_of(word, status.class, &status.reason)
}

/// The answer when [`MAX_CALLS`] are under way.
pub(super) fn no_room() -> String {
    fault(&format!("{MAX_CALLS} checks are under way"))
}

/// The answer when [`MAX_WATCHES`] targets are watched.
pub(super) fn no_room_to_watch() -> String {
    fault(&format!("{MAX_WATCHES} targets are watched"))
}

fn fault(text: &str) -> String {
    line_of("fault", Some(Class::Fault), text)
}

fn line_of(word: &str, class: Option<Class>, text: &str) -> String {
    let text = text.replace(['\n', '\r', '\t'], " ");
    format!("{word}\t{}\t{text}\n", class.map_or("ok", Class::word))
}

fn of(result: &CheckResult) -> String {
    let word = match result.outcome {
        Outcome::Pass => "pass",
        Outcome::HardFail(_) | Outcome::SoftFail(_) => "fail",
        Outcome::Drain(_) => "drain",
        // Ours, not the server's.
        Outcome::Hold(Class::Overdue | Class::Fault) => "fault",
        Outcome::Hold(_) => "hold",
    };
    line_of(word, result.class(), &result.text)
}

impl Call {
    fn line(&self) -> Result<String, CallError> {
        let TargetSpec { backend, host, port, tls, authority, service, foreign: _ } = &self.target;
        let kind = self.every.map_or_else(|| "check".to_owned(), |every| format!("watch {}", every.as_millis()));
        let fields = [
            kind.as_str(),
            &self.within.as_millis().to_string(),
            backend.as_deref().unwrap_or_default(),
            host,
            &port.to_string(),
            if *tls { "1" } else { "" },
            authority.as_deref().unwrap_or_default(),
            &service.as_ref().map(|service| format!("={service}")).unwrap_or_default(),
        ];
        let is_speakable = |field: &&str| !field.contains(|c: char| c.is_control());
        let line = fields.join("\t") + "\n";
        if fields.iter().all(is_speakable) && line.len() <= MAX_LINE { Ok(line) } else { Err(CallError::Unspeakable) }
    }

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, within, backend, host, port, tls, authority, service] = fields[..] else { return None };
        let every = match kind.strip_prefix("watch ") {
            Some(millis) => Some(Duration::from_millis(millis.parse().ok()?)),
            None if kind == "check" => None,
            None => return None,
        };
        let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let target = TargetSpec {
            backend: present(backend),
            host: host.to_owned(),
            port: port.parse().ok()?,
            tls: tls == "1",
            authority: present(authority),
            service: service.strip_prefix('=').map(str::to_owned),
            foreign: false,
        };
        Some(Self { every, within: Duration::from_millis(within.parse().ok()?), target })
    }
}

fn read(spec: &LuaTable) -> Result<Call, CallError> {
    let (host, port) = address(&text(spec, "address")?.unwrap_or_default())?;
    let target = TargetSpec {
        backend: text(spec, "backend")?,
        host,
        port,
        tls: spec.get::<Option<bool>>("tls").map_err(|_| CallError::Wrong("tls", "true or false"))?.unwrap_or(false),
        authority: text(spec, "authority")?,
        service: text(spec, "service")?,
        foreign: false,
    };
    let wrong = CallError::Wrong("timeout", "seconds, more than 0 and at most 60");
    let seconds: f64 = match spec.get("timeout") {
        Ok(LuaValue::Nil) => DEFAULT_SECONDS,
        Ok(LuaValue::Number(seconds)) => seconds,
        Ok(LuaValue::Integer(seconds)) => seconds as f64,
        _ => return Err(wrong),
    };
    if !(0.001..=MAX_SECONDS).contains(&seconds) {
        return Err(wrong);
    }
    Ok(Call { every: None, within: Duration::from_secs_f64(seconds), target })
}

fn text(spec: &LuaTable, key: &'static str) -> Result<Option<String>, CallError> {
    match spec.get(key) {
        Ok(LuaValue::Nil) => Ok(None),
        Ok(LuaValue::String(text)) => {
            text.to_str().map(|text| Some(text.to_owned())).map_err(|_| CallError::Wrong(key, "text in UTF-8"))
        }
        _ => Err(CallError::Wrong(key, "a text")),
    }
}

/// `127.0.0.1:50051`, `[::1]:50051`, `name:50051`, `/path`.
fn address(text: &str) -> Result<(String, u16), CallError> {
    let wrong = CallError::Wrong("address", "`host:port` or the path of a unix socket");
    let path = text.strip_prefix("unix@").unwrap_or(text);
    if path.starts_with('/') {
        return Ok((path.to_owned(), 0));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Err(wrong) };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(wrong),
    }
}

/// When `timeout` is left out: the defaults of a connection and a call together.
const DEFAULT_SECONDS: f64 = 2.0;
const MAX_SECONDS: f64 = 60.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn call(host: &str, service: Option<&str>) -> Call {
        let target =
            TargetSpec { host: host.to_owned(), port: 1, service: service.map(str::to_owned), ..TargetSpec::default() };
        Call { every: None, within: Duration::from_millis(1500), target }
    }

    #[test]
    fn a_call_is_the_same_on_the_other_side() {
        for call in [call("127.0.0.1", None), call("::1", Some("")), call("/run/x.sock", Some("shop.Cart"))] {
            let line = call.line().unwrap();
            assert!(!is_watch(&line));
            assert_eq!(Call::parse(line.strip_suffix('\n').unwrap()), Some(call));
        }
        let call = Call { every: Some(Duration::from_millis(200)), ..call("::1", Some("a")) };
        let line = call.line().unwrap();
        assert!(is_watch(&line));
        assert_eq!(Call::parse(line.strip_suffix('\n').unwrap()), Some(call));
        for wrong in ["watch\t1\t\ta\t1\t\t\t", "watch x\t1\t\ta\t1\t\t\t", "look\t1\t\ta\t1\t\t\t"] {
            assert_eq!(Call::parse(wrong), None);
        }
    }

    #[test]
    fn fields_that_would_break_the_line_are_refused() {
        for host in ["a\tb", "a\nb", &"a".repeat(MAX_LINE)] {
            assert!(call(host, None).line().is_err());
        }
    }

    #[test]
    fn addresses_are_a_host_with_a_port_or_a_path() {
        for (given, host, port) in [
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:2", "::1", 2),
            ("::1:2", "::1", 2),
            ("a.b:3", "a.b", 3),
            ("/s", "/s", 0),
        ] {
            assert_eq!(address(given).unwrap(), (host.to_owned(), port), "{given}");
        }
        for wrong in ["", "a", ":1", "a:", "a:0", "a:70000", "a:b"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_has_three_fields() {
        let answer = of(&CheckResult { outcome: Outcome::Pass, code: None, text: "a\tb\nc".to_owned(), service: None });
        let answer = Answer::parse(answer.trim_end()).unwrap();
        assert_eq!((answer.word, answer.class, answer.text), ("pass", "ok", "a b c"));
        assert!(Answer::parse("pass").is_none());
    }
}
