//! The figures that haproxy-grpc-agent has, under its names: for dashboards that were made for it.

use std::fmt;
use std::sync::{Arc, Weak};

use super::super::{Checker, Class, Shared};
use super::figures::{DURATION_BOUNDS, Tally};
use super::snapshot::Snapshot;
use crate::metrics::{Attributes, Data, HistogramPoint, MeterSource, Metric, NumberPoint};
use crate::stats::AGENT;

/// Says them for Prometheus: they are no names of OpenTelemetry's. It has no labels for backends and servers: these are sums
/// of all checks, single ones too. Does not keep the checker alive.
pub struct AgentNames(Weak<Shared>);

impl AgentNames {
    /// Of this checker's figures, and of those of the agent.
    pub fn new(checker: &Checker) -> Self {
        Self(Arc::downgrade(&checker.0))
    }
}

impl MeterSource for AgentNames {
    fn collect(&self, out: &mut Vec<Metric>) {
        if let Some(checker) = self.0.upgrade().map(Checker) {
            out.extend(metrics(&checker.observe(), AGENT.connections(), AGENT.refused.value()));
        }
    }
}

impl fmt::Debug for AgentNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AgentNames").finish_non_exhaustive()
    }
}

fn metrics(snapshot: &Snapshot, connections: u64, refused: u64) -> [Metric; 5] {
    let tallies = || snapshot.servers.iter().map(|server| &server.tally).chain([&snapshot.single]);
    let count = |wanted: &dyn Fn(&str, Option<Class>) -> bool| tallies().map(|tally| tally.count(wanted)).sum::<u64>();
    let result = |word: &'static str, count| NumberPoint::new(Attributes::none().with("result", word), count);
    let results =
        vec![result("up", count(&|result, _| result == "pass")), result("down", count(&|result, _| result != "pass"))];
    let error = |word: &'static str, count| NumberPoint::new(Attributes::none().with("error_type", word), count);
    let of = |word| count(&|_, class| class.and_then(agent_error) == Some(word));
    let mut errors: Vec<_> = AGENT_ERRORS.into_iter().map(|word| error(word, of(word))).collect();
    errors.push(error("protocol_error", refused));
    let level = |value| vec![NumberPoint::new(Attributes::none(), value)];
    [
        Metric::counter("check_requests", "Total number of health check requests", "{check}", results),
        Metric::counter("check_errors", "Total number of health check errors", "{check}", errors),
        Metric {
            name: "check_duration",
            description: "Health check duration in seconds",
            unit: "s",
            data: Data::Histogram { bounds: &AGENT_BOUNDS, points: vec![durations(tallies())] },
        },
        Metric::level("haproxy_connections_active", "Number of active HAProxy connections", "", level(connections)),
        Metric::level("grpc_channels_active", "Number of active gRPC channels", "", level(snapshot.connections)),
    ]
}

/// In its buckets: each of its bounds is one of ours.
fn durations<'a>(tallies: impl Iterator<Item = &'a Tally>) -> HistogramPoint {
    let (mut buckets, mut seconds) = (vec![0; AGENT_BOUNDS.len() + 1], 0.0);
    for tally in tallies {
        seconds += tally.seconds;
        for (number, count) in tally.durations.iter().enumerate() {
            let bound = DURATION_BOUNDS.get(number).copied().unwrap_or(f64::INFINITY);
            let bucket = AGENT_BOUNDS.partition_point(|agent| *agent < bound);
            if let Some(sum) = buckets.get_mut(bucket) {
                *sum += count;
            }
        }
    }
    HistogramPoint::of_buckets(Attributes::none(), buckets, seconds)
}

/// Its class of errors. An answer is none: `NOT_SERVING`, `UNKNOWN`.
const fn agent_error(class: Class) -> Option<&'static str> {
    match class {
        // What the settings forbid is counted where requests are read.
        Class::NotServing | Class::UnknownStatus | Class::Forbidden => None,
        Class::Timeout => Some("timeout"),
        Class::Connect | Class::Dns | Class::Tls => Some("unreachable"),
        Class::RpcError
        | Class::ServiceUnknown
        | Class::Unimplemented
        | Class::Overload
        | Class::Auth
        | Class::Protocol => Some("rpc_error"),
        Class::Overdue | Class::Fault => Some("unknown"),
    }
}

/// haproxy-grpc-agent, `metrics.rs`.
const AGENT_BOUNDS: [f64; 6] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0];
/// haproxy-grpc-agent, `checker.rs`. One more is counted where requests are read.
const AGENT_ERRORS: [&str; 4] = ["timeout", "unreachable", "rpc_error", "unknown"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::ServerState;
    use crate::health::observe::ServerFigures;
    use crate::metrics::prometheus::{Format, write};

    #[test]
    fn sums_of_all_checks_stand_under_its_names() {
        let mut durations = vec![0; DURATION_BOUNDS.len() + 1];
        (durations[0], durations[5], durations[9], durations[13]) = (2, 1, 1, 1);
        let checks = vec![
            ("pass", None, 3),
            ("fail", Some(Class::Timeout), 2),
            ("fail", Some(Class::NotServing), 1),
            ("hold", Some(Class::Overdue), 1),
        ];
        let tally = Tally { checks, durations, seconds: 62.5 };
        let server = ServerFigures {
            backend: "b".to_owned(),
            server: "s".to_owned(),
            state: ServerState::Drain,
            last_move: None,
            weight: None,
            tally,
            moves: Vec::new(),
        };
        let single = Tally { checks: vec![("pass", None, 1)], durations: vec![1], seconds: 0.5 };
        let snapshot = Snapshot { servers: vec![server], single, connections: 6, ..Snapshot::default() };
        let text = write(&metrics(&snapshot, 5, 4), &[], Format::Text);
        for (name, labels, value) in [
            ("check_requests_total", ",result=\"up\"", "4"),
            ("check_requests_total", ",result=\"down\"", "4"),
            ("check_errors_total", ",error_type=\"timeout\"", "2"),
            ("check_errors_total", ",error_type=\"unreachable\"", "0"),
            ("check_errors_total", ",error_type=\"unknown\"", "1"),
            ("check_errors_total", ",error_type=\"protocol_error\"", "4"),
            ("check_duration_seconds_bucket", ",le=\"0.01\"", "3"),
            ("check_duration_seconds_bucket", ",le=\"0.05\"", "4"),
            ("check_duration_seconds_bucket", ",le=\"1.0\"", "5"),
            ("check_duration_seconds_bucket", ",le=\"+Inf\"", "6"),
            ("check_duration_seconds_sum", "", "63.0"),
            ("check_duration_seconds_count", "", "6"),
            ("haproxy_connections_active", "", "5"),
            ("grpc_channels_active", "", "6"),
        ] {
            let is_it =
                |line: &str| line.starts_with(&format!("{name}{{")) && line.ends_with(&format!("\"{labels}}} {value}"));
            assert!(text.lines().any(is_it), "{name}{labels} {value} is not in\n{text}");
        }
        assert!(AGENT_BOUNDS.iter().all(|bound| DURATION_BOUNDS.contains(bound)));
    }
}
