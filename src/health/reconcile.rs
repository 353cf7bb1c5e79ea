//! What HAProxy shows against what the checks say: what must be forced, if anything.

use super::Force;
use super::state::Health;

/// The action that brings a server from `status` (`get_stats().status`) to `health`.
///
/// HAProxy 3.2: leaving maintenance makes a server without `check` UP, whatever was forced before, and a force during
/// maintenance is lost; so maintenance is left alone and the state is forced again afterwards. Drain is separate from
/// up and down: forcing neither sets nor clears it.
pub(crate) fn force(health: Health, status: &str) -> Option<Force> {
    let wants_up = health == Health::Up;
    match Shown::parse(status) {
        Shown::Up | Shown::Draining if !wants_up => Some(Force::Down),
        Shown::Down if wants_up => Some(Force::Up),
        Shown::Up | Shown::Down | Shown::Draining | Shown::Untouchable => None,
    }
}

/// True when a force would be lost or would fight with somebody else.
pub(crate) fn is_untouchable(status: &str) -> bool {
    Shown::parse(status) == Shown::Untouchable
}

/// True in maintenance, whoever set it.
pub(crate) fn is_maintenance(status: &str) -> bool {
    status.starts_with("MAINT")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Gets requests.
    Up,
    /// Gets none.
    Down,
    /// Running, and gets no new clients by an operator's will: stays so.
    Draining,
    /// Maintenance, an agent's verdict, or a word that is not known.
    Untouchable,
}

impl Shown {
    fn parse(status: &str) -> Self {
        // An agent's verdict: forcing up would overrule it, because HAProxy does not look at the agent then.
        if is_maintenance(status) || status.starts_with("DOWN (agent)") {
            Self::Untouchable
        } else if status.starts_with("UP") || status.starts_with("no check") {
            Self::Up
        } else if status.starts_with("DOWN") {
            Self::Down
        } else if status.starts_with("NOLB") || status.starts_with("DRAIN") {
            Self::Draining
        } else {
            Self::Untouchable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_action() {
        // Status, then what is forced when the checks say up, pending, down.
        for (status, up, pending, down) in [
            ("UP", None, Some(Force::Down), Some(Force::Down)),
            ("UP 1/3", None, Some(Force::Down), Some(Force::Down)),
            ("no check", None, Some(Force::Down), Some(Force::Down)),
            ("DOWN", Some(Force::Up), None, None),
            ("DOWN 1/2", Some(Force::Up), None, None),
            ("DOWN (agent)", None, None, None),
            ("NOLB", None, Some(Force::Down), Some(Force::Down)),
            ("NOLB 1/3", None, Some(Force::Down), Some(Force::Down)),
            ("DRAIN", None, Some(Force::Down), Some(Force::Down)),
            ("DRAIN (agent)", None, Some(Force::Down), Some(Force::Down)),
            ("MAINT", None, None, None),
            ("MAINT (resolution)", None, None, None),
            ("MAINT (via b/s)", None, None, None),
            ("", None, None, None),
            ("something new", None, None, None),
        ] {
            assert_eq!(force(Health::Up, status), up, "{status}");
            assert_eq!(force(Health::Pending, status), pending, "{status}");
            assert_eq!(force(Health::Down, status), down, "{status}");
        }
    }
}
