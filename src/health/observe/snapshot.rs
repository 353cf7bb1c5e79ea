//! All figures at one moment.

use super::super::Checker;
use super::super::lateness::LatenessSeen;
use super::super::status::ServerState;
use super::figures::Tally;
use crate::stats::{
    HEALTH_CONNECTIONS_CLOSED, HEALTH_CONNECTIONS_OPENED, HEALTH_EVENTS_DROPPED, HEALTH_PANICS, LOAD_REPORTS_MALFORMED,
};

/// All figures of the checks at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Every checked server, those that were there first in front.
    pub servers: Vec<ServerFigures>,
    /// The checks have ended for good: what they say of servers no longer counts.
    pub stopped: bool,
    /// Checks of any target, for those who ask.
    pub single: Tally,
    /// How late servers' checks began.
    pub lateness: LatenessSeen,
    /// Checks under way.
    pub in_flight: u64,
    /// HTTP/2 connections that checks keep or make.
    pub connections: u64,
    /// How often too few servers of a backend were healthy.
    pub panics: u64,
    /// Load reports that could not be read.
    pub load_reports_malformed: u64,
    /// Checks that found no room on their way to become spans.
    pub events_dropped: u64,
}

/// One server's figures at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerFigures {
    /// The backend's name.
    pub backend: String,
    /// The server's name.
    pub server: String,
    /// What it may get.
    pub state: ServerState,
    /// When its checks last changed their verdict: Unix time, seconds.
    pub last_move: Option<u64>,
    /// Its weight from its load, in percent.
    pub weight: Option<u8>,
    /// What its checks came to.
    pub tally: Tally,
    /// Changes to `up`, `drain` and `down`.
    pub moves: Vec<(&'static str, u64)>,
}

impl Checker {
    /// The figures of all checks: for metrics.
    pub fn observe(&self) -> Snapshot {
        let (mut targets, in_flight, stopped) = {
            let registry = self.registry();
            (registry.targets(), registry.in_flight(), registry.is_stopped())
        };
        // Not under the lock that HAProxy's threads take.
        targets.sort_by_key(|target| target.figures.order());
        // Those that have closed were opened: read in this order, there are never fewer than none.
        let closed = HEALTH_CONNECTIONS_CLOSED.value();
        Snapshot {
            servers: targets.iter().map(|target| target.observed()).collect(),
            stopped,
            single: self.0.desk.figures().tally(),
            lateness: self.lateness(),
            in_flight: in_flight as u64,
            connections: HEALTH_CONNECTIONS_OPENED.value().saturating_sub(closed),
            panics: HEALTH_PANICS.value(),
            load_reports_malformed: LOAD_REPORTS_MALFORMED.value(),
            events_dropped: HEALTH_EVENTS_DROPPED.value(),
        }
    }
}
