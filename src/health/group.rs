//! The servers of one backend together: when too few are healthy, the last good ones stay up.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::state::Health;
use super::voice::Voice;
use crate::log::Level;
use crate::stats;

/// One backend's panic threshold and what it does. Nobody holds a lock of a server's while taking another's.
pub(crate) struct Group {
    backend: String,
    /// Percent; 0 is off.
    threshold: usize,
    voice: Arc<Voice>,
    count: Mutex<Count>,
}

#[derive(Default)]
struct Count {
    /// Servers with a verdict, and not in maintenance.
    judged: usize,
    up: usize,
    /// Unhealthy servers that stay up. Bound: the servers of the backend.
    kept: BTreeSet<String>,
    panics: bool,
}

impl Group {
    /// No servers yet.
    pub(crate) fn new(backend: &str, threshold: u32, voice: Arc<Voice>) -> Self {
        let threshold = usize::try_from(threshold).unwrap_or(0);
        Self { backend: backend.to_owned(), threshold, voice, count: Mutex::default() }
    }

    /// Whether `server` stays up although it is not healthy.
    pub(crate) fn keeps(&self, server: &str) -> bool {
        self.threshold > 0 && self.count().kept.contains(server)
    }

    /// A server's health changed.
    pub(crate) fn moved(&self, server: &str, from: Health, to: Health) {
        if self.threshold == 0 {
            return;
        }
        let mut count = self.count();
        count.judged += usize::from(from == Health::Pending);
        if from == Health::Up {
            count.up = count.up.saturating_sub(1);
        }
        if to == Health::Up {
            count.up += 1;
            count.kept.remove(server);
        } else if from == Health::Up && !count.is_enough(self.threshold) {
            count.kept.insert(server.to_owned());
            self.begin(&mut count);
        }
        self.end_if_enough(&mut count);
    }

    /// A server counts from now on.
    pub(crate) fn joined(&self, health: Health) {
        if self.threshold == 0 || health == Health::Pending {
            return;
        }
        let mut count = self.count();
        count.judged += 1;
        count.up += usize::from(health == Health::Up);
        self.end_if_enough(&mut count);
    }

    /// A server does not count any more.
    pub(crate) fn left(&self, server: &str, was: Health) {
        if self.threshold == 0 || was == Health::Pending {
            return;
        }
        let mut count = self.count();
        count.judged = count.judged.saturating_sub(1);
        if was == Health::Up {
            count.up = count.up.saturating_sub(1);
        }
        count.kept.remove(server);
        self.end_if_enough(&mut count);
    }

    /// Whether the last good servers are being kept, and how many.
    pub(crate) fn panic(&self) -> Option<usize> {
        let count = self.count();
        count.panics.then_some(count.kept.len())
    }

    fn begin(&self, count: &mut Count) {
        if count.panics {
            return;
        }
        count.panics = true;
        stats::HEALTH_PANICS.add(1);
        let (name, up, judged, percent) = (&self.backend, count.up, count.judged, self.threshold);
        self.voice.say(
            Level::Warning,
            format!(
                "{name}: only {up} of {judged} servers are healthy, less than {percent} %: the last good ones stay up"
            ),
        );
    }

    fn end_if_enough(&self, count: &mut Count) {
        if !count.panics || !count.is_enough(self.threshold) {
            return;
        }
        count.panics = false;
        for server in std::mem::take(&mut count.kept) {
            self.voice.note_change(&self.backend, &server);
        }
        let (name, up, judged) = (&self.backend, count.up, count.judged);
        self.voice.say(Level::Notice, format!("{name}: {up} of {judged} servers are healthy again: each counts alone"));
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn is_enough(&self, threshold: usize) -> bool {
        self.up * 100 >= threshold * self.judged
    }
}

#[cfg(test)]
mod tests {
    use super::Health::{Down, Pending, Up};
    use super::*;

    fn group(threshold: u32, servers: &[&str]) -> Group {
        let group = Group::new("b", threshold, Arc::new(Voice::new(Box::new(|_, _, _| {}), 64)));
        for server in servers {
            group.moved(server, Pending, Up);
        }
        group
    }

    #[test]
    fn the_last_good_servers_stay_and_go_when_enough_are_healthy_again() {
        let group = group(50, &["a", "b", "c", "d"]);
        group.moved("a", Up, Down);
        group.moved("b", Up, Down);
        assert!(group.panic().is_none() && !group.keeps("b"));
        group.moved("c", Up, Down);
        group.moved("d", Up, Down);
        assert_eq!(group.panic(), Some(2));
        assert_eq!(["a", "b", "c", "d"].map(|server| group.keeps(server)), [false, false, true, true]);
        group.moved("a", Down, Up);
        assert_eq!(group.panic(), Some(2));
        group.voice.take_changes();
        group.moved("c", Down, Up);
        assert!(group.panic().is_none() && !group.keeps("d"));
        let changed = group.voice.take_changes();
        assert!(changed.contains(&("b".to_owned(), "d".to_owned())), "{changed:?}");
    }

    #[test]
    fn servers_that_leave_count_no_more() {
        let group = group(60, &["a", "b", "c"]);
        group.moved("a", Up, Down);
        group.moved("b", Up, Down);
        assert!(group.keeps("b"));
        group.left("b", Down);
        group.left("a", Down);
        assert!(group.panic().is_none());
    }

    #[test]
    fn without_a_threshold_and_without_a_good_server_nothing_is_kept() {
        let off = group(0, &["a"]);
        off.moved("a", Up, Down);
        assert!(!off.keeps("a"));
        let never = group(100, &[]);
        never.moved("a", Pending, Down);
        assert!(!never.keeps("a") && never.panic().is_none());
    }
}
