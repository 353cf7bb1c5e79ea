//! The one place that maps gRPC's answers to outcomes.

use http::StatusCode;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::call::Answer;
use super::outcome::{CheckResult, Class, Outcome, printable};
use crate::config::{BackendConfig, CodeRule, Codes, OnNotServing, OnOverload, OnUnimplemented};

/// What a backend's settings make of answers.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    codes: Codes,
    not_serving: OnNotServing,
    overload: OnOverload,
    unimplemented: OnUnimplemented,
}

impl Policy {
    /// The rules of `config`.
    pub(crate) fn new(config: &BackendConfig) -> Self {
        Self {
            codes: config.codes.clone(),
            not_serving: config.not_serving,
            overload: config.overload,
            unimplemented: config.unimplemented,
        }
    }

    /// The result for what a server answered.
    pub(crate) fn result(&self, answer: &Answer) -> CheckResult {
        match answer {
            Answer::Status(status) => self.status(*status).with_code(0),
            Answer::Code(code, message) => self.code(*code, message).with_code(*code),
        }
    }

    /// The result for an `OK` answer with this `HealthCheckResponse.status`, which may be any number.
    fn status(&self, status: i32) -> CheckResult {
        let (outcome, text) = match ServingStatus::try_from(status) {
            Ok(ServingStatus::Serving) => (Outcome::Pass, "SERVING"),
            Ok(ServingStatus::NotServing) => (self.not_serving(), "NOT_SERVING"),
            Ok(ServingStatus::Unknown) => (Outcome::SoftFail(Class::UnknownStatus), "UNKNOWN"),
            Ok(ServingStatus::ServiceUnknown) => (Outcome::SoftFail(Class::ServiceUnknown), "SERVICE_UNKNOWN"),
            Err(_) => {
                return CheckResult::soft(Class::Protocol, format!("serving status {status}, which does not exist"));
            }
        };
        CheckResult::new(outcome, text)
    }

    fn not_serving(&self) -> Outcome {
        match self.not_serving {
            OnNotServing::Down => Outcome::HardFail(Class::NotServing),
            OnNotServing::Drain => Outcome::Drain(Class::NotServing),
            OnNotServing::Ignore => Outcome::Pass,
        }
    }

    /// The result for a gRPC status that the server sent.
    fn code(&self, number: i32, message: &str) -> CheckResult {
        let code = Code::from_i32(number);
        let name = if (0..=16).contains(&number) { code_name(code).to_owned() } else { format!("code {number}") };
        let text = match printable(message) {
            text if text.is_empty() => name,
            text => format!("{name}: {text}"),
        };
        CheckResult::new(self.outcome_of(number, Class::of(code)), text)
    }

    /// The result for an HTTP status without a gRPC status. gRPC's "HTTP to gRPC Status Code Mapping".
    pub(crate) fn http(&self, status: StatusCode) -> CheckResult {
        let code = code_for(status);
        CheckResult::new(self.outcome_of(code as i32, Class::of(code)), format!("HTTP status {status}"))
    }

    fn outcome_of(&self, number: i32, class: Class) -> Outcome {
        match (self.codes.rule(number), class) {
            (Some(CodeRule::Pass), _) => Outcome::Pass,
            (Some(CodeRule::Drain), _) => Outcome::Drain(class),
            (Some(CodeRule::Hold), _) => Outcome::Hold(class),
            (None, Class::Unimplemented) if self.unimplemented == OnUnimplemented::Up => Outcome::Pass,
            (None, Class::Unimplemented) if self.unimplemented == OnUnimplemented::Hold => Outcome::Hold(class),
            (None, Class::Overload) if self.overload == OnOverload::Hold => Outcome::Hold(class),
            (Some(CodeRule::Fail) | None, _) => Outcome::SoftFail(class),
        }
    }
}

fn code_for(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
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

#[cfg(test)]
mod tests {
    use super::super::outcome::MAX_TEXT;
    use super::*;

    fn policy(change: impl FnOnce(&mut BackendConfig)) -> Policy {
        let mut config = BackendConfig::named("b");
        change(&mut config);
        Policy::new(&config)
    }

    fn default() -> Policy {
        policy(|_| {})
    }

    #[test]
    fn only_serving_passes_and_only_not_serving_is_hard() {
        assert_eq!(default().status(1).outcome, Outcome::Pass);
        assert_eq!(default().status(2).outcome, Outcome::HardFail(Class::NotServing));
        assert_eq!(default().status(0).outcome, Outcome::SoftFail(Class::UnknownStatus));
        assert_eq!(default().status(3).outcome, Outcome::SoftFail(Class::ServiceUnknown));
        for status in [4, -1, i32::MIN, i32::MAX] {
            assert_eq!(default().status(status).outcome, Outcome::SoftFail(Class::Protocol));
        }
    }

    #[test]
    fn every_grpc_code_is_a_soft_failure_with_its_class() {
        for code in 1..=17 {
            let class = match code {
                5 => Class::ServiceUnknown,
                12 => Class::Unimplemented,
                4 => Class::Timeout,
                8 => Class::Overload,
                7 | 16 => Class::Auth,
                _ => Class::RpcError,
            };
            assert_eq!(default().code(code, "").outcome, Outcome::SoftFail(class), "{code}");
        }
    }

    #[test]
    fn http_statuses_are_mapped_as_grpc_says() {
        for (status, class) in [
            (400, Class::RpcError),
            (401, Class::Auth),
            (403, Class::Auth),
            (404, Class::Unimplemented),
            (429, Class::RpcError),
            (502, Class::RpcError),
            (503, Class::RpcError),
            (504, Class::RpcError),
            (500, Class::RpcError),
            (302, Class::RpcError),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(default().http(status).outcome, Outcome::SoftFail(class), "{status}");
        }
    }

    #[test]
    fn settings_override_rows() {
        use OnNotServing::{Drain, Ignore};
        assert_eq!(policy(|c| c.not_serving = Drain).status(2).outcome, Outcome::Drain(Class::NotServing));
        assert_eq!(policy(|c| c.not_serving = Ignore).status(2).outcome, Outcome::Pass);
        let up = policy(|c| c.unimplemented = OnUnimplemented::Up);
        assert_eq!(up.code(12, "").outcome, Outcome::Pass);
        assert_eq!(up.http(StatusCode::NOT_FOUND).outcome, Outcome::Pass);
        let hold = policy(|c| c.unimplemented = OnUnimplemented::Hold);
        assert_eq!(hold.code(12, "").outcome, Outcome::Hold(Class::Unimplemented));
        let hold = policy(|c| c.overload = OnOverload::Hold);
        assert_eq!(hold.code(8, "").outcome, Outcome::Hold(Class::Overload));
        assert_eq!(hold.code(14, "").outcome, Outcome::SoftFail(Class::RpcError));
    }

    #[test]
    fn a_servers_words_are_bounded_and_stay_on_one_line() {
        let text = default().code(14, &"a\nb\x1b".repeat(500)).text;
        assert_eq!(text.chars().filter(|c| c.is_control()).count(), 0);
        assert!(text.len() <= "UNAVAILABLE: ".len() + MAX_TEXT);
        assert_eq!(default().code(99, "").text, "code 99");
    }
}
