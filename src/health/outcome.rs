//! What one check says about a server.

use tonic::Code;

/// What a check's answer does to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Counts to `rise`.
    Pass,
    /// The server itself says that it must get no requests: one is enough.
    HardFail(Class),
    /// Counts to `fall`.
    SoftFail(Class),
    /// The server itself wants no new clients: one is enough.
    Drain(Class),
    /// Nothing was learned about the server, or nothing that counts: the last state stays.
    Hold(Class),
}

/// Why a check did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// `NOT_SERVING`.
    NotServing,
    /// `NOT_FOUND`, or `SERVICE_UNKNOWN`: the server does not know the service asked for.
    ServiceUnknown,
    /// `UNKNOWN` as the serving status: the server is not ready to say.
    UnknownStatus,
    /// The server has no health service.
    Unimplemented,
    /// No answer within the bound on the call, ours or the server's.
    Timeout,
    /// Any other gRPC status.
    RpcError,
    /// `RESOURCE_EXHAUSTED`.
    Overload,
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`.
    Auth,
    /// No connection, or one that went away.
    Connect,
    /// The name has no address.
    Dns,
    /// No TLS, or a certificate that is not accepted, on either side.
    Tls,
    /// The other side speaks something else than gRPC.
    Protocol,
    /// The check found no room among those under way before the next one was due.
    Overdue,
    /// A fault of this module.
    Fault,
    /// A request to the agent that the settings forbid.
    Forbidden,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// What it does.
    pub outcome: Outcome,
    /// For the operator: one line, at most [`MAX_TEXT`] characters of it the server's.
    pub text: String,
    /// The service that it is about, where there are several and one alone decided.
    pub service: Option<String>,
    /// The gRPC status, where there was one.
    pub code: Option<i32>,
}

impl CheckResult {
    pub(crate) fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Self { outcome, text: text.into(), service: None, code: None }
    }

    /// The same, for an answer with this gRPC status.
    pub(crate) fn with_code(self, code: i32) -> Self {
        Self { code: Some(code), ..self }
    }

    /// A soft failure.
    pub(crate) fn soft(class: Class, text: impl Into<String>) -> Self {
        Self::new(Outcome::SoftFail(class), text)
    }

    /// No verdict.
    pub(crate) fn hold(class: Class, text: impl Into<String>) -> Self {
        Self::new(Outcome::Hold(class), text)
    }

    /// Why it did not pass.
    pub fn class(&self) -> Option<Class> {
        self.outcome.class()
    }

    /// All must pass: the worst of several. Names its service, where there are several.
    pub(crate) fn worst(results: Vec<(&str, Self)>) -> Self {
        let several = results.len() > 1;
        let worst = results.into_iter().max_by_key(|(_, result)| result.outcome.rank());
        let Some((service, mut result)) = worst else { return Self::hold(Class::Fault, "no service to ask for") };
        if several && result.outcome != Outcome::Pass {
            result.service = Some(service.to_owned());
        }
        result
    }
}

impl Outcome {
    /// Why it is no pass.
    pub fn class(self) -> Option<Class> {
        match self {
            Self::Pass => None,
            Self::HardFail(class) | Self::SoftFail(class) | Self::Drain(class) | Self::Hold(class) => Some(class),
        }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Hold(_) => 1,
            Self::Drain(_) => 2,
            Self::SoftFail(_) => 3,
            Self::HardFail(_) => 4,
        }
    }
}

impl Class {
    /// Every class, in the order of its counters.
    pub const ALL: [Self; 15] = [
        Self::NotServing,
        Self::ServiceUnknown,
        Self::UnknownStatus,
        Self::Unimplemented,
        Self::Timeout,
        Self::RpcError,
        Self::Overload,
        Self::Auth,
        Self::Connect,
        Self::Dns,
        Self::Tls,
        Self::Protocol,
        Self::Overdue,
        Self::Fault,
        Self::Forbidden,
    ];

    /// The class of a gRPC status other than `OK`.
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::NotFound => Self::ServiceUnknown,
            Code::Unimplemented => Self::Unimplemented,
            Code::DeadlineExceeded => Self::Timeout,
            Code::ResourceExhausted => Self::Overload,
            Code::PermissionDenied | Code::Unauthenticated => Self::Auth,
            _ => Self::RpcError,
        }
    }

    /// The word that stands for it in commands, metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotServing => "not_serving",
            Self::ServiceUnknown => "service_unknown",
            Self::UnknownStatus => "unknown_status",
            Self::Unimplemented => "unimplemented",
            Self::Timeout => "timeout",
            Self::RpcError => "rpc_error",
            Self::Overload => "overload",
            Self::Auth => "auth",
            Self::Connect => "connect",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Overdue => "overdue",
            Self::Fault => "fault",
            Self::Forbidden => "forbidden",
        }
    }

    /// What an operator may look at first: these are most often a matter of configuration.
    pub(crate) const fn hint(self) -> Option<&'static str> {
        match self {
            Self::ServiceUnknown => Some("is `service` spelled as the server registers it?"),
            Self::Unimplemented => Some("the server has no grpc.health.v1.Health service"),
            Self::Auth => Some("the server refuses the check itself: does it want `metadata`?"),
            Self::Dns => Some("does the name exist, and may this process resolve names?"),
            Self::Tls => Some("is this port TLS, and do `ca_file`, `server_name` and `cert_file` fit?"),
            Self::Protocol => Some("is this port gRPC, and is `tls` set as it needs?"),
            _ => None,
        }
    }

    /// One bit of its own.
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// `text` from the network, fit for one line of a log.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

/// Characters of a server's own words that are kept.
pub const MAX_TEXT: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_service_decides_and_is_named() {
        let pass = || CheckResult::new(Outcome::Pass, "SERVING");
        let hard = || CheckResult::new(Outcome::HardFail(Class::NotServing), "NOT_SERVING");
        let soft = || CheckResult::soft(Class::Timeout, "late");
        let hold = || CheckResult::hold(Class::Overload, "busy");
        assert_eq!(CheckResult::worst(vec![("a", pass()), ("b", pass())]), pass());
        assert_eq!(CheckResult::worst(vec![("a", hard())]), hard());
        for (results, worst) in [
            (vec![("a", pass()), ("b", hold())], Some("b")),
            (vec![("a", soft()), ("b", hold())], Some("a")),
            (vec![("a", soft()), ("b", hard()), ("c", pass())], Some("b")),
        ] {
            assert_eq!(CheckResult::worst(results).service.as_deref(), worst);
        }
    }
}
