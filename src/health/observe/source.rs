//! The figures of checks as metrics.

use std::fmt;
use std::sync::{Arc, Weak};

use super::super::{Checker, ServerState, Shared};
use super::figures::{DURATION_BOUNDS, Tally};
use super::snapshot::{ServerFigures, Snapshot};
use crate::config::Config;
use crate::health::LatenessSeen;
use crate::metrics::{Attributes, Data, HistogramPoint, MeterSource, Metric, NumberPoint, Value};
use crate::stats::{self, DoorStats};

/// Says `haproxy.health.*`. Does not keep the checker alive.
pub struct CheckMetrics {
    checker: Weak<Shared>,
    /// `metrics.cardinality_limit`.
    limit: usize,
    /// Those that listen, by name.
    doors: Vec<(&'static str, &'static DoorStats)>,
}

impl CheckMetrics {
    /// Of this checker's figures, and of those of the listeners that the settings name.
    pub fn new(checker: &Checker, config: &Config) -> Self {
        let agent = config.agent.listen.is_some().then_some(("agent", &stats::AGENT));
        let bridge = config.bridge.listen.is_some().then_some(("bridge", &stats::BRIDGE));
        let doors = agent.into_iter().chain(bridge).collect();
        Self { checker: Arc::downgrade(&checker.0), limit: config.metrics.cardinality_limit, doors }
    }
}

impl MeterSource for CheckMetrics {
    fn collect(&self, out: &mut Vec<Metric>) {
        let Some(checker) = self.checker.upgrade().map(Checker) else { return };
        let snapshot = checker.observe();
        let all = servers(&snapshot).into_iter().chain(whole(&snapshot)).chain(doors(&self.doors));
        out.extend(all.filter(|metric| !metric.is_empty()).map(|metric| metric.within(self.limit)));
    }
}

impl fmt::Debug for CheckMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckMetrics").finish_non_exhaustive()
    }
}

fn servers(snapshot: &Snapshot) -> Vec<Metric> {
    let servers = &snapshot.servers;
    let checks = servers.iter().flat_map(|server| checks(&server.tally, &named(server))).collect();
    let durations = servers.iter().filter_map(|server| duration(&server.tally, named(server))).collect();
    let mut metrics = vec![
        Metric::counter("haproxy.health.checks", "Checks of servers by what came of them.", "{check}", checks),
        Metric {
            name: "haproxy.health.check.duration",
            description: "How long checks of servers took, their retry included.",
            unit: "s",
            data: Data::Histogram { bounds: &DURATION_BOUNDS, points: durations },
        },
        Metric::counter(
            "haproxy.health.server.state_changes",
            "Changes of what checks say of a server.",
            "{change}",
            servers.iter().flat_map(state_changes).collect(),
        ),
        Metric::gauge(
            "haproxy.health.server.last_change.timestamp",
            "When checks last changed what they say of a server: Unix time.",
            "s",
            servers.iter().filter_map(|server| Some(NumberPoint::new(named(server), server.last_move?))).collect(),
        ),
    ];
    // Who no longer checks has nothing to say of servers now.
    if !snapshot.stopped {
        metrics.push(Metric::level(
            "haproxy.health.server.state",
            "Servers by state: 1 for the state that a server has, 0 for the others.",
            "{server}",
            servers.iter().flat_map(states).collect(),
        ));
        let weight = |server: &ServerFigures| Some(NumberPoint::new(named(server), server.weight?.into()));
        metrics.push(Metric::gauge(
            "haproxy.health.server.weight",
            "The weight that a server has from its load.",
            "%",
            servers.iter().filter_map(weight).collect(),
        ));
    }
    metrics
}

/// What is not of a server.
fn whole(snapshot: &Snapshot) -> Vec<Metric> {
    let one = |value| vec![NumberPoint::new(Attributes::none(), value)];
    let single = duration(&snapshot.single, Attributes::none()).into_iter().collect();
    vec![
        Metric::counter(
            "haproxy.health.single_checks",
            "Checks of any target, for those who asked, by what came of them.",
            "{check}",
            checks(&snapshot.single, &Attributes::none()),
        ),
        Metric {
            name: "haproxy.health.single_check.duration",
            description: "How long checks of any target took.",
            unit: "s",
            data: Data::Histogram { bounds: &DURATION_BOUNDS, points: single },
        },
        Metric {
            name: "haproxy.health.check.lateness",
            description: "How long after they were due checks of servers began.",
            unit: "s",
            data: Data::Histogram { bounds: &LatenessSeen::BOUNDS, points: lateness(&snapshot.lateness) },
        },
        Metric::level("haproxy.health.active_checks", "Checks under way.", "{check}", one(snapshot.in_flight)),
        Metric::level(
            "haproxy.health.connections",
            "HTTP/2 connections that checks keep or make.",
            "{connection}",
            one(snapshot.connections),
        ),
        Metric::counter(
            "haproxy.health.panics",
            "How often too few servers of a backend were healthy.",
            "{panic}",
            one(snapshot.panics),
        ),
        Metric::counter(
            "haproxy.health.load_reports.malformed",
            "Load reports that could not be read.",
            "{report}",
            one(snapshot.load_reports_malformed),
        ),
        Metric::counter(
            "haproxy.health.spans.dropped",
            "Checks that became no span for want of room.",
            "{span}",
            one(snapshot.events_dropped),
        ),
    ]
}

fn doors(doors: &[(&'static str, &'static DoorStats)]) -> [Metric; 5] {
    let points = |value: fn(&DoorStats) -> u64| -> Vec<NumberPoint> {
        let name = |name: &'static str| Attributes::none().with("haproxy.health.listener", name);
        doors.iter().map(|(door, stats)| NumberPoint::new(name(door), value(stats))).collect()
    };
    [
        Metric::level(
            "haproxy.health.listener.active_connections",
            "Connections of HAProxy's checks.",
            "{connection}",
            points(DoorStats::connections),
        ),
        Metric::counter(
            "haproxy.health.listener.accepted_connections",
            "Connections that HAProxy's checks made.",
            "{connection}",
            points(|stats| stats.accepted.value()),
        ),
        Metric::counter(
            "haproxy.health.listener.shed_connections",
            "Connections that were closed to make room for others.",
            "{connection}",
            points(|stats| stats.shed.value()),
        ),
        Metric::counter(
            "haproxy.health.listener.answers",
            "Answers to HAProxy's checks, those to what was refused too.",
            "{answer}",
            points(|stats| stats.answered.value()),
        ),
        Metric::counter(
            "haproxy.health.listener.refusals",
            "Requests that could not be answered: malformed, or about servers that are not checked.",
            "{request}",
            points(|stats| stats.refused.value()),
        ),
    ]
}

fn named(server: &ServerFigures) -> Attributes {
    let name = |name: &str| Value::lossy(name.as_bytes());
    Attributes::none()
        .with("haproxy.backend.name", name(&server.backend))
        .with("haproxy.server.name", name(&server.server))
}

fn checks(tally: &Tally, whose: &Attributes) -> Vec<NumberPoint> {
    let point = |(result, class, count): &(&'static str, Option<super::super::Class>, u64)| {
        let attributes = whose.clone().with("haproxy.health.result", *result);
        NumberPoint::new(attributes.with_some("error.type", class.map(super::super::Class::word)), *count)
    };
    tally.checks.iter().map(point).collect()
}

fn duration(tally: &Tally, attributes: Attributes) -> Option<HistogramPoint> {
    Some(HistogramPoint::of_buckets(attributes, tally.durations.clone(), tally.seconds)).filter(|point| point.count > 0)
}

fn lateness(seen: &LatenessSeen) -> Vec<HistogramPoint> {
    let point = HistogramPoint::of_buckets(Attributes::none(), seen.counts().to_vec(), seen.seconds());
    if point.count > 0 { vec![point] } else { Vec::new() }
}

fn states(server: &ServerFigures) -> [NumberPoint; 4] {
    STATES.map(|state| {
        let attributes = named(server).with("haproxy.health.state", state.word());
        NumberPoint::new(attributes, u64::from(server.state == state))
    })
}

fn state_changes(server: &ServerFigures) -> impl Iterator<Item = NumberPoint> {
    let to = |word: &'static str| named(server).with("haproxy.health.state.to", word);
    server.moves.iter().map(move |(word, count)| NumberPoint::new(to(word), *count))
}

const STATES: [ServerState; 4] = [ServerState::Up, ServerState::Drain, ServerState::Down, ServerState::Unknown];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::health::Class;

    const TABLE: &str = include_str!("../../../docs/metrics.md");

    /// Every figure there is.
    fn snapshot() -> Snapshot {
        let checks = vec![("pass", None, 1), ("fail", Some(Class::Timeout), 1)];
        let tally = Tally { checks, durations: vec![1; DURATION_BOUNDS.len() + 1], seconds: 20.0 };
        let late = crate::health::lateness::Lateness::default();
        late.note(std::time::Duration::from_secs(1));
        let server = ServerFigures {
            backend: "b".to_owned(),
            server: "s".to_owned(),
            state: ServerState::Up,
            last_move: Some(1),
            weight: Some(50),
            tally: tally.clone(),
            moves: vec![("up", 1)],
        };
        Snapshot { servers: vec![server], single: tally, lateness: late.read(), ..Snapshot::default() }
    }

    /// The row of a metric.
    fn row(metric: &Metric) -> String {
        let numbers = |points: &[NumberPoint]| points.iter().map(|point| point.attributes.clone()).collect::<Vec<_>>();
        let (kind, sets) = match &metric.data {
            Data::Counter(points) => ("counter", numbers(points)),
            Data::UpDownCounter(points) => ("up-down counter", numbers(points)),
            Data::Gauge(points) => ("gauge", numbers(points)),
            Data::Histogram { points, .. } => {
                ("histogram", points.iter().map(|point| point.attributes.clone()).collect())
            }
        };
        let longest = sets.iter().max_by_key(|set| set.iter().count()).unwrap();
        let names: Vec<_> = longest.iter().map(|(name, _)| format!("`{name}`")).collect();
        let cell = if names.is_empty() { String::new() } else { format!(" {}", names.join(", ")) };
        format!("| `{}` | {kind}, {} |{cell} |", metric.name, metric.unit)
    }

    #[test]
    fn every_metric_is_a_row_of_the_table_and_every_row_a_metric() {
        let snapshot = snapshot();
        let doors = doors(&[("agent", &stats::AGENT)]);
        let all: Vec<_> = servers(&snapshot).into_iter().chain(whole(&snapshot)).chain(doors).collect();
        let found: BTreeSet<_> = all.iter().map(row).collect();
        let rows = TABLE.lines().filter(|line| line.starts_with("| `haproxy.health.")).map(str::to_owned);
        assert_eq!(found, rows.collect());
        assert_eq!(found.len(), all.len());
        assert!(all.iter().all(|metric| metric.description.ends_with('.') && !metric.is_empty()));
    }
}
