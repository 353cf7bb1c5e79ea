//! Who is connected, and who has to leave when it gets too many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::stats::DoorStats;

/// The connections of one listener.
pub(crate) struct Crowd {
    most: usize,
    stats: &'static DoorStats,
    seats: Mutex<Seats>,
    /// Somebody has been answered, or has left.
    moved: Notify,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Taken>,
}

struct Taken {
    /// When it last began or ended an answer.
    used: Instant,
    /// An answer is being worked on.
    busy: bool,
    /// An answer was given.
    answered: bool,
    leave: Arc<Notify>,
}

/// One connection's place. Free again when dropped.
pub(crate) struct Seat {
    crowd: Arc<Crowd>,
    number: u64,
    leave: Arc<Notify>,
}

impl Crowd {
    pub(super) fn new(most: usize, stats: &'static DoorStats) -> Self {
        Self { most, stats, seats: Mutex::default(), moved: Notify::new() }
    }

    /// Returns when each of those who are here has had an answer and waits for none. For one who waits.
    pub(super) async fn is_served(&self) {
        while self.seats().taken.values().any(|taken| taken.busy || !taken.answered) {
            self.moved.notified().await;
        }
    }

    /// A seat for one more: if need be that of the connection which was idle the longest, else of the one that has been
    /// busy the longest.
    pub(super) fn enter(crowd: &Arc<Self>) -> Seat {
        crowd.stats.accepted.add(1);
        let mut seats = crowd.seats();
        if seats.taken.len() >= crowd.most {
            let oldest =
                seats.taken.iter().min_by_key(|(_, taken)| (taken.busy, taken.used)).map(|(number, _)| *number);
            if let Some(taken) = oldest.and_then(|number| seats.taken.remove(&number)) {
                crowd.stats.shed.add(1);
                taken.leave.notify_one();
            }
        }
        let (number, leave) = (seats.next, Arc::<Notify>::default());
        seats.next += 1;
        let taken = Taken { used: Instant::now(), busy: false, answered: false, leave: Arc::clone(&leave) };
        seats.taken.insert(number, taken);
        Seat { crowd: Arc::clone(crowd), number, leave }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Returns when the seat is somebody else's.
    pub(crate) async fn is_taken(&self) {
        self.leave.notified().await;
    }

    /// An answer begins, or has been given.
    pub(crate) fn mark(&self, busy: bool) {
        if let Some(taken) = self.crowd.seats().taken.get_mut(&self.number) {
            taken.used = Instant::now();
            taken.busy = busy;
            taken.answered |= !busy;
        }
        self.crowd.moved.notify_one();
    }

    /// The listener's counters.
    pub(crate) fn stats(&self) -> &'static DoorStats {
        self.crowd.stats
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.seats().taken.remove(&self.number);
        self.crowd.stats.ended.add(1);
        self.crowd.moved.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static STATS: DoorStats = DoorStats::new();

    #[tokio::test]
    async fn the_seat_that_was_idle_the_longest_goes_to_a_newcomer() {
        let crowd = Arc::new(Crowd::new(2, &STATS));
        let (busy, idle) = (Crowd::enter(&crowd), Crowd::enter(&crowd));
        busy.mark(true);
        let third = Crowd::enter(&crowd);
        idle.is_taken().await;
        // What it still says changes nothing for others.
        idle.mark(true);
        drop(idle);
        assert_eq!(crowd.seats().taken.len(), 2);
        third.mark(true);
        let _fourth = Crowd::enter(&crowd);
        busy.is_taken().await;
        drop(third);
        assert_eq!((STATS.accepted.value(), STATS.shed.value(), STATS.connections()), (4, 2, 2));
    }
}
