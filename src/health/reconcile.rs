//! What HAProxy shows against what the checks say: what must be forced, if anything.

use super::Force;
use super::state::Health;
use crate::config::InitState;

/// What to force for a server that is wanted so; nothing before its first result, when `init` says so.
pub(crate) fn wanted(health: Health, init: InitState) -> Option<Force> {
    match (health, init) {
        (Health::Up, _) | (Health::Pending, InitState::Up) => Some(Force::Up),
        (Health::Down, _) | (Health::Pending, InitState::Down) => Some(Force::Down),
        (Health::Drain, _) => Some(Force::Nolb),
        (Health::Pending, InitState::Hold) => None,
    }
}

/// The action that brings a server from `status` (`get_stats().status`) to what is wanted.
///
/// HAProxy 3.2: leaving maintenance makes a server without `check` UP, whatever was forced before, and a force during
/// maintenance is lost; so maintenance is left alone and the state is forced again afterwards. An operator's drain is
/// separate from up and down: forcing neither sets nor clears it.
pub(crate) fn force(wanted: Force, status: &str) -> Option<Force> {
    let differs = match Shown::parse(status) {
        Shown::Untouchable => false,
        Shown::Up => wanted != Force::Up,
        Shown::Down => wanted != Force::Down,
        Shown::Stopping => wanted != Force::Nolb,
        // What stands below an operator's drain is not shown, but a server that is down shows as that.
        Shown::Draining => wanted == Force::Down,
    };
    differs.then_some(wanted)
}

/// True when a force would be lost or would fight with somebody else.
pub(crate) fn is_untouchable(status: &str) -> bool {
    Shown::parse(status) == Shown::Untouchable
}

/// True for a server that gets requests before its first result.
pub(crate) fn is_trusted(init: InitState, status: &str) -> bool {
    match init {
        InitState::Down => false,
        InitState::Up => true,
        InitState::Hold => Shown::parse(status) == Shown::Up,
    }
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
    /// Running, and gets no new clients by force: ours, or `set server ... health stopping`.
    Stopping,
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
        } else if status.starts_with("NOLB") {
            Self::Stopping
        } else if status.starts_with("DRAIN") {
            Self::Draining
        } else {
            Self::Untouchable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Force::{Down, Nolb, Up};
    use super::*;

    #[test]
    fn every_status_has_its_action() {
        // Status, then what is forced when the checks say up, drain, down.
        for (status, up, drain, down) in [
            ("UP", None, Some(Nolb), Some(Down)),
            ("UP 1/3", None, Some(Nolb), Some(Down)),
            ("no check", None, Some(Nolb), Some(Down)),
            ("DOWN", Some(Up), Some(Nolb), None),
            ("DOWN 1/2", Some(Up), Some(Nolb), None),
            ("DOWN (agent)", None, None, None),
            ("NOLB", Some(Up), None, Some(Down)),
            ("NOLB 1/3", Some(Up), None, Some(Down)),
            ("DRAIN", None, None, Some(Down)),
            ("DRAIN (agent)", None, None, Some(Down)),
            ("MAINT", None, None, None),
            ("MAINT (resolution)", None, None, None),
            ("MAINT (via b/s)", None, None, None),
            ("", None, None, None),
            ("something new", None, None, None),
        ] {
            assert_eq!(force(Up, status), up, "{status}");
            assert_eq!(force(Nolb, status), drain, "{status}");
            assert_eq!(force(Down, status), down, "{status}");
        }
    }

    #[test]
    fn before_the_first_result_the_configuration_decides() {
        assert_eq!(wanted(Health::Pending, InitState::Down), Some(Down));
        assert_eq!(wanted(Health::Pending, InitState::Up), Some(Up));
        assert_eq!(wanted(Health::Pending, InitState::Hold), None);
        for init in [InitState::Down, InitState::Up, InitState::Hold] {
            assert_eq!(wanted(Health::Up, init), Some(Up));
            assert_eq!(wanted(Health::Drain, init), Some(Nolb));
            assert_eq!(wanted(Health::Down, init), Some(Down));
        }
    }
}
