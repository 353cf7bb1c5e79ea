//! What collectors, health services and the system's files say.

use bytes::Bytes;
use haproxy_vitals::config::Signal;
use haproxy_vitals::export::{Accepted, Retry, SendError, fuzz as export};
use haproxy_vitals::health::{MAX_TEXT, fuzz as health};
use haproxy_vitals::resource::fuzz as resource;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use std::time::Duration;

use super::halves;

/// An HTTP status and headers, an empty line, and the body; the trailers are the headers once more.
pub(crate) fn collector(data: &[u8]) {
    let (answer, trailers) = answer(data);
    let body = answer.body().clone();
    for signal in [Signal::Traces, Signal::Metrics, Signal::Logs] {
        taken(export::over_http(signal, answer.clone()));
        taken(export::over_grpc(signal, answer.clone(), trailers.clone()));
    }
    assert!(export::retry_info(&body).is_none_or(|wish| wish <= MAX_WISH));
}

/// An HTTP status and headers, an empty line, and the body; the trailers are the headers once more.
pub(crate) fn health(data: &[u8]) {
    let (answer, trailers) = answer(data);
    let (head, body) = answer.into_parts();
    for result in health::results(&Response::from_parts(head, ()), &body, &trailers) {
        assert!(!result.text.contains(char::is_control), "{result:?}");
        assert!(result.text.chars().count() <= MAX_TEXT + 80, "{result:?}");
    }
    if let Some(authority) = std::str::from_utf8(data).ok().and_then(health::authority) {
        assert!(!authority.is_empty());
    }
}

/// What HAProxy's stats socket answers to `show info;show servers state`.
pub(crate) fn servers_state(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for (backend, server, name) in health::servers_state(text).into_iter().flatten() {
        for word in [Some(backend), Some(server), name].into_iter().flatten() {
            assert!(!word.is_empty() && !word.contains([' ', '\n']), "{word:?}");
        }
    }
}

/// The text of a file below `/proc`, `/etc` or the kubelet's folders.
pub(crate) fn resource_files(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for value in resource::read(text).into_iter().flatten() {
        assert!(!value.is_empty() && value.len() <= 1024 && !value.contains(char::is_control), "{value:?}");
    }
}

fn taken(answer: Result<Accepted, SendError>) {
    match answer {
        Ok(accepted) => is_quote(&accepted.message),
        Err(error) => {
            is_quote(&error.to_string());
            assert!(!matches!(error.retry(), Retry::After(wish) if wish > MAX_WISH || wish.is_zero()), "{error:?}");
        }
    }
}

/// One line of a log.
fn is_quote(text: &str) {
    assert!(!text.contains(char::is_control) && text.chars().count() <= 260, "{text:?}");
}

fn answer(data: &[u8]) -> (Response<Bytes>, HeaderMap) {
    let (head, body) = halves(data, b"\n\n");
    let (status, lines) = halves(head, b"\n");
    let mut headers = HeaderMap::new();
    for line in lines.split(|&byte| byte == b'\n') {
        let (name, value) = halves(line, b": ");
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            // More than a connection would let pass.
            if headers.len() < 64 {
                headers.append(name, value);
            }
        }
    }
    let mut answer = Response::new(Bytes::copy_from_slice(body));
    let status = std::str::from_utf8(status).ok().and_then(|status| status.parse().ok());
    *answer.status_mut() = status.unwrap_or_default();
    *answer.headers_mut() = headers.clone();
    (answer, headers)
}

const MAX_WISH: Duration = Duration::from_mins(5);
