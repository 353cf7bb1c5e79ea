//! What others may know of the checks: figures for metrics, and one event for each check that is worth a span. Plain data.

mod agent_names;
mod event;
mod figures;
mod snapshot;
mod source;

pub use agent_names::AgentNames;
pub use event::{CheckEvent, SpanIds};
pub(crate) use event::{Seen, Watcher};
pub(crate) use figures::Figures;
pub use figures::{DURATION_BOUNDS, Tally};
pub use snapshot::{ServerFigures, Snapshot};
pub use source::CheckMetrics;

use super::outcome::Outcome;

/// What came of a check, as metrics and spans say it.
pub(crate) const fn result_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::HardFail(_) | Outcome::SoftFail(_) => "fail",
        Outcome::Drain(_) => "drain",
        Outcome::Hold(_) => "hold",
    }
}
