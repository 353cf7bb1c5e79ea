//! When to send again: exponential backoff with jitter, and the collector's own wishes.

use std::time::{Duration, SystemTime};

use prost::Message;

/// What a failure allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same batch would fail again.
    Never,
    /// Again, after the sender's own backoff.
    Backoff,
    /// Again, after what the collector asked for, but not before the sender's own backoff.
    After(Duration),
}

impl Retry {
    /// Retryable; `delay` is what the collector asked for, zero meaning nothing.
    pub(super) fn after(delay: Option<Duration>) -> Self {
        match delay {
            Some(delay) if !delay.is_zero() => Self::After(delay),
            _ => Self::Backoff,
        }
    }
}

/// The waits between attempts: 0.5 s, then twice as long each time, at most 30 s, each 20 % more or
/// less. The specification leaves the numbers open; a proxy fills its queue too fast for the 5 s that SDKs begin with.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// Where `max` is less than those 30 s, it is the bound.
    pub(super) fn up_to(max: Duration) -> Self {
        let max = max.min(MAX_INTERVAL);
        Self { next: INITIAL.min(max), max }
    }

    /// How long to wait before the next attempt.
    pub(super) fn interval(&mut self) -> Duration {
        let interval = self.next;
        self.next = interval.saturating_mul(2).min(self.max);
        interval.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER))
    }
}

/// `Retry-After`: seconds or an HTTP date (RFC 9110, 10.2.3). A date that has passed is zero; at most five minutes.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let delay = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(delay.min(MAX_DELAY))
}

/// `retry_delay` of the `google.rpc.RetryInfo` among a status's details: zero when it names none, at most five
/// minutes. `None` when there is no such detail, also when `details` cannot be read.
pub(super) fn retry_info(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let detail = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(detail.value.as_slice()).ok()?.retry_delay.unwrap_or_default();
    let seconds = Duration::from_secs(u64::try_from(delay.seconds).unwrap_or_default());
    let nanos = Duration::from_nanos(u64::try_from(delay.nanos).unwrap_or_default());
    Some(seconds.saturating_add(nanos).min(MAX_DELAY))
}

/// `google.rpc.Status`: gRPC's status details, and the body of an OTLP/HTTP failure.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Detail {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Delay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

const INITIAL: Duration = Duration::from_millis(500);
const MAX_INTERVAL: Duration = Duration::from_secs(30);
/// Share of the interval.
const JITTER: f64 = 0.2;
/// What a collector may ask for; a mistaken date must not stop tracing for a day.
const MAX_DELAY: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_bound_with_jitter() {
        let mut backoff = Backoff::up_to(Duration::from_mins(1));
        for expected in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let interval = backoff.interval().as_secs_f64();
            assert!((expected * 0.8..=expected * 1.2).contains(&interval), "{interval} is not about {expected}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:40 GMT", now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("86400", now), Some(MAX_DELAY));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    #[test]
    fn retry_info_is_found_among_other_details() {
        let info = RetryInfo { retry_delay: Some(Delay { seconds: 2, nanos: 500_000_000 }) };
        let other = Detail { type_url: "type.googleapis.com/google.rpc.Help".to_owned(), value: vec![255] };
        let wanted =
            Detail { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        let status = RpcStatus { code: 8, message: String::new(), details: vec![other.clone(), wanted] };
        assert_eq!(retry_info(&status.encode_to_vec()), Some(Duration::from_millis(2500)));
        let without = RpcStatus { details: vec![other], ..status };
        assert_eq!(retry_info(&without.encode_to_vec()), None);
        assert_eq!(retry_info(&[255, 255]), None);
        assert_eq!(retry_info(&[]), None);
    }

    #[test]
    fn negative_retry_delay_is_none() {
        let info = RetryInfo { retry_delay: Some(Delay { seconds: -2, nanos: -1 }) };
        let detail = Detail { type_url: "x/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
        let status = RpcStatus { code: 8, message: String::new(), details: vec![detail] };
        assert_eq!(retry_info(&status.encode_to_vec()), Some(Duration::ZERO));
    }
}
