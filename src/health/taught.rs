//! What HAProxy's stats socket tells, on its way to the registry.

use std::sync::Arc;

use tokio::time::Instant;

use super::Shared;
use super::inquiry::{Inquiry, Learner};
use super::servers_state::Answer;

/// Begins to ask, where that is wanted, for as long as the checker checks.
pub(super) fn begin(shared: &Arc<Shared>, inquiry: Option<Arc<Inquiry>>) {
    let Some(inquiry) = inquiry else { return };
    let weak = Arc::downgrade(shared);
    let learner = move || weak.upgrade().filter(|shared| !shared.registry().is_stopped()).map(Taught);
    shared.tasks.spawn("health inquiry", inquiry.run(learner, shared.tasks.stop()));
}

struct Taught(Arc<Shared>);

impl Learner for Taught {
    fn learn(&self, answer: &Answer<'_>, asked: Instant) {
        let mut begun = 0;
        // Lua may want the registry meanwhile, on one of HAProxy's threads.
        for rows in answer.rows.chunks(ROWS_AT_ONCE) {
            self.0.registry().learn(rows, asked, &mut begun);
        }
    }

    fn settle(&self) -> Option<Instant> {
        self.0.registry().settle()
    }
}

/// Servers that are learnt of under one lock.
const ROWS_AT_ONCE: usize = 256;
