//! What one check says about a server. The one place that maps gRPC's answers to outcomes.

use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

/// What a check's answer does to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Counts to `rise`.
    Pass,
    /// The server itself says that it must get no requests: one is enough.
    HardFail(Class),
    /// Counts to `fall`.
    SoftFail(Class),
    /// Nothing was learned about the server, and it is not the server's fault: the last state stays.
    Hold(Class),
}

/// Why a check did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
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
    /// The other side speaks something else than gRPC.
    Protocol,
    /// The check found no room among those under way before the next one was due.
    Overdue,
    /// A fault of this module.
    Fault,
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckResult {
    /// What it does.
    pub(crate) outcome: Outcome,
    /// For the operator: one line, at most [`MAX_TEXT`] characters of it the server's.
    pub(crate) text: String,
}

impl CheckResult {
    /// A soft failure.
    pub(crate) fn soft(class: Class, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::SoftFail(class), text: text.into() }
    }

    /// No verdict.
    pub(crate) fn hold(class: Class, text: impl Into<String>) -> Self {
        Self { outcome: Outcome::Hold(class), text: text.into() }
    }

    /// The result for an `OK` answer with this `HealthCheckResponse.status`, which may be any number.
    pub(crate) fn from_status(status: i32) -> Self {
        let (outcome, text) = match ServingStatus::try_from(status) {
            Ok(ServingStatus::Serving) => (Outcome::Pass, "SERVING"),
            Ok(ServingStatus::NotServing) => (Outcome::HardFail(Class::NotServing), "NOT_SERVING"),
            Ok(ServingStatus::Unknown) => (Outcome::SoftFail(Class::UnknownStatus), "UNKNOWN"),
            Ok(ServingStatus::ServiceUnknown) => (Outcome::SoftFail(Class::ServiceUnknown), "SERVICE_UNKNOWN"),
            Err(_) => return Self::soft(Class::Protocol, format!("serving status {status}, which does not exist")),
        };
        Self { outcome, text: text.to_owned() }
    }

    /// The result for a gRPC status that the server sent.
    pub(crate) fn from_code(code: Code, message: &str) -> Self {
        let class = Class::of(code);
        let name = code_name(code);
        match printable(message) {
            text if text.is_empty() => Self::soft(class, name),
            text => Self::soft(class, format!("{name}: {text}")),
        }
    }

    /// Why it did not pass.
    pub(crate) fn class(&self) -> Option<Class> {
        match self.outcome {
            Outcome::Pass => None,
            Outcome::HardFail(class) | Outcome::SoftFail(class) | Outcome::Hold(class) => Some(class),
        }
    }
}

impl Class {
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
    pub(crate) const fn word(self) -> &'static str {
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
            Self::Protocol => "protocol",
            Self::Overdue => "overdue",
            Self::Fault => "fault",
        }
    }

    /// What an operator may look at first.
    pub(crate) const fn hint(self) -> Option<&'static str> {
        match self {
            Self::ServiceUnknown => Some("is `service` spelled as the server registers it?"),
            Self::Unimplemented => Some("the server has no grpc.health.v1.Health service"),
            Self::Auth => Some("the server refuses the check itself"),
            Self::Protocol => Some("is this port gRPC, without TLS?"),
            _ => None,
        }
    }
}

/// `text` from the network, fit for one line of a log.
pub(crate) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Characters of a server's own words that are kept.
pub(crate) const MAX_TEXT: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_serving_passes_and_only_not_serving_is_hard() {
        assert_eq!(CheckResult::from_status(1).outcome, Outcome::Pass);
        assert_eq!(CheckResult::from_status(2).outcome, Outcome::HardFail(Class::NotServing));
        assert_eq!(CheckResult::from_status(0).outcome, Outcome::SoftFail(Class::UnknownStatus));
        assert_eq!(CheckResult::from_status(3).outcome, Outcome::SoftFail(Class::ServiceUnknown));
        for status in [4, -1, i32::MIN, i32::MAX] {
            assert_eq!(CheckResult::from_status(status).outcome, Outcome::SoftFail(Class::Protocol));
        }
    }

    #[test]
    fn every_grpc_code_is_a_soft_failure_with_its_class() {
        for code in 0..=17 {
            let class = match code {
                5 => Class::ServiceUnknown,
                12 => Class::Unimplemented,
                4 => Class::Timeout,
                8 => Class::Overload,
                7 | 16 => Class::Auth,
                _ => Class::RpcError,
            };
            let result = CheckResult::from_code(Code::from_i32(code), "");
            assert_eq!(result.outcome, Outcome::SoftFail(class), "{code}");
        }
    }

    #[test]
    fn a_servers_words_are_bounded_and_stay_on_one_line() {
        let text = CheckResult::from_code(Code::Unavailable, &"a\nb\x1b".repeat(500)).text;
        assert_eq!(text.chars().filter(|c| c.is_control()).count(), 0);
        assert!(text.len() <= "UNAVAILABLE: ".len() + MAX_TEXT);
    }
}
