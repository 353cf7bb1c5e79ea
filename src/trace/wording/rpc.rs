//! gRPC in OpenTelemetry's words. RPC semantic conventions 1.44.0; gRPC over HTTP/2; gRPC status codes.

use crate::trace::outcome::{ErrorType, Outcome};
use crate::trace::record::{Field, Record};

/// How gRPC requests are worded.
#[derive(Debug, Clone)]
pub(in crate::trace) struct RpcRules {
    /// `pkg.Service/Method` or `pkg.Service/*`; empty: every method is known.
    known: Vec<String>,
    pub(in crate::trace) old_names: bool,
    /// Where `grpc-status` stands among what is gathered.
    pub(in crate::trace) status_place: Option<usize>,
}

/// One call.
#[derive(Debug, Clone)]
pub(in crate::trace) struct Call {
    pub(in crate::trace) method: Method,
    /// The code, if the answer's headers or trailers said it. Lua's hooks do not see trailers.
    pub(in crate::trace) status: Option<u8>,
    pub(in crate::trace) old_names: bool,
}

/// `rpc.method`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trace) enum Method {
    /// `pkg.Service/Method`.
    Known(Vec<u8>),
    /// The path without its first slash.
    Other(Vec<u8>),
}

impl RpcRules {
    pub(super) fn new(known: &[String], old_names: bool, status_place: Option<usize>) -> Self {
        Self { known: known.to_vec(), old_names, status_place }
    }

    /// The call that the request is, by its content type.
    pub(in crate::trace) fn call(&self, record: &Record<'_>, status: Option<&[u8]>) -> Option<Call> {
        record.all_carried(Field::Rpc).next()?;
        let path = record.request.target.path;
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let method = if self.knows(path) { Method::Known(path.to_vec()) } else { Method::other(path) };
        let status = status.and_then(|text| std::str::from_utf8(text).ok()?.trim().parse::<u16>().ok());
        // gRPC, "Status codes and their use": a code that is not known counts as UNKNOWN.
        let status =
            status.map(|code| u8::try_from(code).ok().filter(|&code| code <= UNAUTHENTICATED).unwrap_or(UNKNOWN));
        Some(Call { method, status, old_names: self.old_names })
    }

    fn knows(&self, path: &[u8]) -> bool {
        let Some((service, method)) = std::str::from_utf8(path).ok().and_then(|path| path.split_once('/')) else {
            return false;
        };
        let word =
            |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b));
        let listed =
            |known: &String| known.split_once('/').is_some_and(|(s, m)| s == service && (m == "*" || m == method));
        word(service) && word(method) && (self.known.is_empty() || self.known.iter().any(listed))
    }
}

impl Call {
    /// `rpc.response.status_code`.
    pub(in crate::trace) fn status_name(&self) -> Option<&'static str> {
        STATUSES.get(usize::from(self.status?)).copied()
    }

    /// The call's span's name.
    pub(in crate::trace) fn name(&self) -> &[u8] {
        match &self.method {
            Method::Known(method) => method,
            Method::Other(_) => OTHER,
        }
    }

    /// RPC semantic conventions, gRPC, "Status": a client's errors are all but `OK`, a server's those that are its own fault. What
    /// HTTP already calls an error stays one.
    pub(in crate::trace) fn refine(&self, outcome: Outcome, of_server: bool) -> Outcome {
        let is_error = |code: u8| if of_server { SERVERS_FAULT.contains(&code) } else { code != 0 };
        let error = self.status.filter(|&code| is_error(code)).and_then(|_| self.status_name()).map(ErrorType::Rpc);
        Outcome { error: outcome.error.or(error), ..outcome }
    }
}

impl Method {
    fn other(path: &[u8]) -> Self {
        Self::Other(path.to_vec())
    }
}

/// RPC semantic conventions, `rpc.method`.
pub(in crate::trace) const OTHER: &[u8] = b"_OTHER";

const UNKNOWN: u8 = 2;
const UNAUTHENTICATED: u8 = 16;

/// `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`.
const SERVERS_FAULT: [u8; 6] = [UNKNOWN, 4, 12, 13, 14, 15];

/// gRPC, "Status codes and their use", by code.
pub(crate) const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_the_list_or_by_their_shape() {
        let rules = |known: &[&str]| {
            let known: Vec<_> = known.iter().map(|&text| text.to_owned()).collect();
            RpcRules::new(&known, false, None)
        };
        for path in ["a.B/C", "a/b_c", "A.b.C/D.e"] {
            assert!(rules(&[]).knows(path.as_bytes()), "{path}");
        }
        for path in ["", "a", "a/", "/a", "a/b/c", "a b/c", "a/#22"] {
            assert!(!rules(&[]).knows(path.as_bytes()), "{path}");
        }
        let listed = rules(&["a.B/C", "d.E/*"]);
        for (path, known) in [("a.B/C", true), ("a.B/D", false), ("d.E/X", true), ("d.F/X", false)] {
            assert_eq!(listed.knows(path.as_bytes()), known, "{path}");
        }
    }

    #[test]
    fn each_side_has_its_own_errors() {
        let none = Outcome { status: Some(200), error: None };
        for (code, name) in (0..).zip(STATUSES) {
            let call = Call { method: Method::other(b""), status: Some(code), old_names: false };
            assert_eq!(call.status_name(), Some(name));
            let said = |of_server| call.refine(none, of_server).error;
            assert_eq!(said(false), (code != 0).then_some(ErrorType::Rpc(name)), "{name}");
            assert_eq!(said(true).is_some(), [2, 4, 12, 13, 14, 15].contains(&code), "{name}");
            let cut = Outcome { status: Some(503), error: Some(ErrorType::Status(503)) };
            assert_eq!(call.refine(cut, true), cut);
        }
    }
}
