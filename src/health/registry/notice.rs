//! What HAProxy's events tell between two sweeps.

use super::{Action, Registry, ServerSeen};

/// What events have done to one server since the last sweep.
#[derive(Debug, Default)]
pub(super) struct News {
    /// An event showed it: a sweep that looked before may not know it yet.
    is_fresh: bool,
    /// Actions that events have brought about.
    actions: u8,
}

impl News {
    /// At the end of a sweep: begins anew. True when the server stays though that sweep did not show it.
    pub(super) fn settle(&mut self) -> bool {
        std::mem::take(self).is_fresh
    }
}

impl Registry {
    /// See [`crate::health::Checker::notice`].
    pub(crate) fn notice(&mut self, servers: &[ServerSeen]) -> Vec<Action> {
        if self.stopped {
            return Vec::new();
        }
        servers.iter().filter_map(|seen| self.notice_one(seen)).collect()
    }

    /// See [`crate::health::Checker::forget`].
    pub(crate) fn forget(&mut self, backend: &str, server: &str, id: u64) {
        if let Some(backend) = self.backends.get_mut(backend)
            && backend.servers.get(server).is_some_and(|entry| entry.id == id)
        {
            backend.servers.remove(server);
        }
    }

    fn notice_one(&mut self, seen: &ServerSeen) -> Option<Action> {
        let action = self.visit(seen, &mut 0);
        let news = &mut self.backends.get_mut(&seen.backend)?.servers.get_mut(&seen.server)?.news;
        news.is_fresh = true;
        let action = action.filter(|_| news.actions < MAX_ACTIONS)?;
        news.actions += 1;
        Some(action)
    }
}

/// Per server and sweep: two who force against each other, each told of the other's doing by an event, would keep a thread
/// busy for ever.
const MAX_ACTIONS: u8 = 8;
