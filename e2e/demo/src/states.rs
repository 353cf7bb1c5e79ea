//! Server states as HAProxy has them, and the reasons that the module gives.

use std::collections::BTreeMap;
use std::fmt;

use haproxy_vitals_tests::Haproxy;

/// The states seen last, by `backend/server`.
#[derive(Default)]
pub(crate) struct States(BTreeMap<String, String>);

impl States {
    /// Looks again, and tells what has changed. Of a HAProxy that does not answer nothing has.
    pub(crate) fn changes(&mut self, haproxy: &Haproxy) -> Vec<Change> {
        let mut changes = Vec::new();
        for (server, state) in all(haproxy) {
            let before = self.0.insert(server.clone(), state.clone());
            if before.as_ref() != Some(&state) {
                let why = reason(haproxy, &server);
                changes.push(Change { server, before, after: state, why });
            }
        }
        changes
    }
}

/// A server's new state. Without an old one it has just been seen for the first time.
pub(crate) struct Change {
    server: String,
    before: Option<String>,
    after: String,
    why: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server {}: ", self.server)?;
        if let Some(before) = &self.before {
            write!(f, "{before} -> ")?;
        }
        write!(f, "{}", self.after)?;
        self.why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}

/// Whether HAProxy says that a server, `backend/server`, is in this state.
pub(crate) fn is(haproxy: &Haproxy, server: &str, state: &str) -> bool {
    all(haproxy).get(server).is_some_and(|found| found == state)
}

/// Each server's operational state. `show stat` would call a server without `check` that is up `no check`.
fn all(haproxy: &Haproxy) -> BTreeMap<String, String> {
    let table = haproxy.try_cli("show servers state").unwrap_or_default();
    let Some((_, rows)) = table.split_once("# ") else { return BTreeMap::new() };
    let mut lines = rows.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let server = |line: &str| {
        let row: BTreeMap<&str, &str> = names.iter().copied().zip(line.split(' ')).collect();
        let name = format!("{}/{}", row.get("be_name")?, row.get("srv_name")?);
        Some((name, word(row.get("srv_op_state")?).to_owned()))
    };
    lines.filter_map(server).collect()
}

/// HAProxy's management guide, `show servers state`, `srv_op_state`.
fn word(state: &str) -> &str {
    match state {
        "0" => "DOWN",
        "1" => "STARTING",
        "2" => "UP",
        "3" => "STOPPING",
        other => other,
    }
}

/// What the module's last check of a server gave; `None` for a server that it does not check.
fn reason(haproxy: &Haproxy, server: &str) -> Option<String> {
    let health = haproxy.try_cli("show vitals health").ok()?;
    let line = health.lines().find_map(|line| line.strip_prefix(server)?.strip_prefix(' '))?;
    let (_, rest) = line.split_once("last=\"")?;
    Some(rest.split_once('"')?.0.to_owned())
}
