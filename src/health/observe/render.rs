//! Figures as Prometheus text (exposition format 0.0.4).

use std::fmt::{Display, Write};

use super::figures::{DURATION_BOUNDS, ServerFigures, Snapshot};
use crate::health::ServerState;

/// Appends every figure under `haproxy_vitals_health_*`.
pub fn render(snapshot: &Snapshot, out: &mut String) {
    let mut page = Page(out);
    page.head("checks_total", "counter", "Checks by result and by why they did not pass.");
    for server in &snapshot.servers {
        for (result, class, count) in &server.checks {
            page.line("checks_total", &labels(server, &[("result", result), ("class", class)]), count);
        }
    }
    page.head("check_duration_seconds", "histogram", "How long checks took, their retry included.");
    for server in &snapshot.servers {
        page.histogram(server);
    }
    page.head("server_state", "gauge", "1 for the state that the checks give the server, 0 for the others.");
    for server in &snapshot.servers {
        for (word, state) in STATES {
            page.line("server_state", &labels(server, &[("state", word)]), u8::from(server.state == state));
        }
    }
    page.head("state_age_seconds", "gauge", "How long its checks have said what they say.");
    for server in &snapshot.servers {
        page.line("state_age_seconds", &labels(server, &[]), server.age.as_secs_f64());
    }
    page.head("transitions_total", "counter", "Changes of state by where they led.");
    for server in &snapshot.servers {
        for (word, count) in &server.moves {
            page.line("transitions_total", &labels(server, &[("to", word)]), count);
        }
    }
    page.head("weight_percent", "gauge", "The weight from the load that the server tells.");
    for server in &snapshot.servers {
        if let Some(weight) = server.weight {
            page.line("weight_percent", &labels(server, &[]), weight);
        }
    }
    page.whole(snapshot);
}

/// Appends the figures that haproxy-grpc-agent has, under its names: for dashboards that were made for it. It has no labels for
/// backends and servers: these are sums. `haproxy_connections_active` counts what only an agent has.
pub fn render_agent_names(snapshot: &Snapshot, out: &mut String) {
    let count = |wanted: &dyn Fn(&str, &str) -> bool| -> u64 {
        let all = snapshot.servers.iter().flat_map(|server| &server.checks);
        all.filter(|(result, class, _)| wanted(result, class)).map(|(.., count)| count).sum()
    };
    let up = count(&|result, _| result == "pass");
    let down = count(&|result, _| result != "pass");
    let _ = writeln!(out, "# TYPE check_requests_total counter");
    let _ = writeln!(out, "check_requests_total{{result=\"up\"}} {up}\ncheck_requests_total{{result=\"down\"}} {down}");
    let _ = writeln!(out, "# TYPE check_errors_total counter");
    for (name, classes) in AGENT_ERRORS {
        let errors = count(&|_, class| classes.contains(&class));
        let _ = writeln!(out, "check_errors_total{{error_type=\"{name}\"}} {errors}");
    }
    let _ = writeln!(out, "# TYPE check_duration_seconds histogram");
    let below = |bound: f64| -> u64 {
        let each = |server: &ServerFigures| -> u64 {
            DURATION_BOUNDS.iter().zip(&server.durations).filter(|(le, _)| **le <= bound).map(|(_, count)| count).sum()
        };
        snapshot.servers.iter().map(each).sum()
    };
    for bound in AGENT_BOUNDS {
        let _ = writeln!(out, "check_duration_seconds_bucket{{le=\"{bound}\"}} {}", below(bound));
    }
    let total: u64 = snapshot.servers.iter().flat_map(|server| &server.durations).sum();
    let seconds: f64 = snapshot.servers.iter().map(|server| server.seconds).sum();
    let _ = writeln!(out, "check_duration_seconds_bucket{{le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "check_duration_seconds_sum {seconds}\ncheck_duration_seconds_count {total}");
    let _ = writeln!(out, "# TYPE grpc_channels_active gauge\ngrpc_channels_active {}", snapshot.connections);
}

struct Page<'a>(&'a mut String);

impl Page<'_> {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{PREFIX}{name}{{{labels}}} {value}");
    }

    fn histogram(&mut self, server: &ServerFigures) {
        let mut below = 0;
        for (bound, count) in DURATION_BOUNDS.iter().zip(&server.durations) {
            below += count;
            self.line("check_duration_seconds_bucket", &labels(server, &[("le", &bound.to_string())]), below);
        }
        let (all, none) = (server.durations.iter().sum::<u64>(), labels(server, &[]));
        self.line("check_duration_seconds_bucket", &labels(server, &[("le", "+Inf")]), all);
        self.line("check_duration_seconds_sum", &none, server.seconds);
        self.line("check_duration_seconds_count", &none, all);
    }

    fn whole(&mut self, snapshot: &Snapshot) {
        for (name, kind, help, value) in [
            ("checks_in_flight", "gauge", "Checks under way.", snapshot.in_flight),
            ("connections", "gauge", "HTTP/2 connections that checks keep or make.", snapshot.connections),
            ("panics_total", "counter", "How often too few servers of a backend were healthy.", snapshot.panics),
            (
                "load_reports_malformed_total",
                "counter",
                "Load reports that could not be read.",
                snapshot.load_reports_malformed,
            ),
            (
                "events_dropped_total",
                "counter",
                "Checks that became no span for want of room.",
                snapshot.events_dropped,
            ),
        ] {
            self.head(name, kind, help);
            let _ = writeln!(self.0, "{PREFIX}{name} {value}");
        }
    }
}

fn labels(server: &ServerFigures, more: &[(&str, &str)]) -> String {
    let mut out = format!("backend=\"{}\",server=\"{}\"", escaped(&server.backend), escaped(&server.server));
    for (name, value) in more {
        let _ = write!(out, ",{name}=\"{}\"", escaped(value));
    }
    out
}

/// Exposition formats, "Text-based format": label values.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

const PREFIX: &str = "haproxy_vitals_health_";
const STATES: [(&str, ServerState); 4] = [
    ("up", ServerState::Up),
    ("drain", ServerState::Drain),
    ("down", ServerState::Down),
    ("unknown", ServerState::Unknown),
];
/// haproxy-grpc-agent, `metrics.rs`. Each of them is one of ours.
const AGENT_BOUNDS: [f64; 6] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.0];
/// Its classes of errors, and ours in them. `NOT_SERVING` is none: it is an answer.
const AGENT_ERRORS: [(&str, &[&str]); 4] = [
    ("timeout", &["timeout"]),
    ("unreachable", &["connect", "dns", "tls"]),
    ("rpc_error", &["rpc_error", "service_unknown", "unimplemented", "overload", "auth", "protocol"]),
    ("unknown", &["fault", "overdue"]),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn snapshot() -> Snapshot {
        let mut durations = vec![0; DURATION_BOUNDS.len() + 1];
        (durations[0], durations[9], durations[13]) = (2, 1, 1);
        let server = ServerFigures {
            backend: "b\"1\\".to_owned(),
            server: "s".to_owned(),
            state: ServerState::Drain,
            age: Duration::from_millis(1500),
            weight: Some(40),
            checks: vec![("pass", "ok", 3), ("fail", "timeout", 2), ("fail", "not_serving", 1), ("hold", "overdue", 1)],
            durations,
            seconds: 62.5,
            moves: vec![("up", 1), ("drain", 1), ("down", 0)],
        };
        Snapshot { servers: vec![server], in_flight: 5, connections: 6, ..Snapshot::default() }
    }

    #[test]
    fn figures_are_lines_with_backend_and_server() {
        let mut page = String::new();
        render(&snapshot(), &mut page);
        let labels = r#"backend="b\"1\\",server="s""#;
        for line in [
            format!("haproxy_vitals_health_checks_total{{{labels},result=\"fail\",class=\"timeout\"}} 2"),
            format!("haproxy_vitals_health_check_duration_seconds_bucket{{{labels},le=\"0.001\"}} 2"),
            format!("haproxy_vitals_health_check_duration_seconds_bucket{{{labels},le=\"10\"}} 3"),
            format!("haproxy_vitals_health_check_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 4"),
            format!("haproxy_vitals_health_check_duration_seconds_sum{{{labels}}} 62.5"),
            format!("haproxy_vitals_health_server_state{{{labels},state=\"drain\"}} 1"),
            format!("haproxy_vitals_health_server_state{{{labels},state=\"up\"}} 0"),
            format!("haproxy_vitals_health_transitions_total{{{labels},to=\"drain\"}} 1"),
            format!("haproxy_vitals_health_weight_percent{{{labels}}} 40"),
            "haproxy_vitals_health_checks_in_flight 5".to_owned(),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn every_figure_has_a_type_before_it_and_once() {
        let mut page = String::new();
        render(&snapshot(), &mut page);
        render_agent_names(&snapshot(), &mut page);
        let mut typed = Vec::new();
        for line in page.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(head) => typed.push(head.split(' ').next().unwrap().to_owned()),
                None if line.starts_with('#') => {}
                None => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
                    assert!(typed.iter().any(|known| known == name || Some(known.as_str()) == base), "{line}");
                }
            }
        }
        let count = typed.len();
        typed.sort();
        typed.dedup();
        assert_eq!(typed.len(), count);
    }

    #[test]
    fn the_agents_names_have_its_sums() {
        let mut page = String::new();
        render_agent_names(&snapshot(), &mut page);
        for line in [
            "check_requests_total{result=\"up\"} 3",
            "check_requests_total{result=\"down\"} 4",
            "check_errors_total{error_type=\"timeout\"} 2",
            "check_errors_total{error_type=\"unreachable\"} 0",
            "check_errors_total{error_type=\"unknown\"} 1",
            "check_duration_seconds_bucket{le=\"0.01\"} 2",
            "check_duration_seconds_bucket{le=\"1\"} 3",
            "check_duration_seconds_bucket{le=\"+Inf\"} 4",
            "check_duration_seconds_count 4",
            "grpc_channels_active 6",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(AGENT_BOUNDS.iter().all(|bound| DURATION_BOUNDS.contains(bound)));
    }
}
