//! Shares that an operator has set at run time, for all requests or for a frontend's. They stand in place of the sampler's
//! decision on new traces; this process forgets them when it ends.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The table, shared by all threads.
#[derive(Debug, Default)]
pub struct Overrides {
    /// Counts changes: a thread that has seen this one has nothing to read.
    generation: AtomicU64,
    shares: Mutex<Shares>,
}

/// What is overridden.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shares {
    /// For every request, 0 to 1.
    pub all: Option<f64>,
    /// For a frontend's, 0 to 1. Stronger.
    pub frontends: BTreeMap<String, f64>,
}

/// The table has no room for another frontend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_FRONTENDS} frontends have a share of their own already: reset one first")]
pub struct Full;

impl Overrides {
    /// Sets the share of a frontend, or of all.
    pub fn set(&self, frontend: Option<&str>, share: f64) -> Result<(), Full> {
        self.change(|shares| match frontend {
            None => {
                shares.all = Some(share);
                Ok(())
            }
            Some(name) if shares.frontends.len() >= MAX_FRONTENDS && !shares.frontends.contains_key(name) => Err(Full),
            Some(name) => {
                shares.frontends.insert(name.to_owned(), share);
                Ok(())
            }
        })
    }

    /// Forgets the share of a frontend, or all shares.
    pub fn reset(&self, frontend: Option<&str>) {
        self.change(|shares| match frontend {
            None => *shares = Shares::default(),
            Some(name) => {
                shares.frontends.remove(name);
            }
        });
    }

    /// The table as it is.
    pub fn shares(&self) -> Shares {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes with the table. Hot path: one relaxed load.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Shares) -> T) -> T {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut shares);
        // Before the lock is open: whoever sees the number finds the table changed.
        self.generation.fetch_add(1, Ordering::Relaxed);
        outcome
    }
}

impl Shares {
    /// Nothing is overridden.
    pub fn is_empty(&self) -> bool {
        self.all.is_none() && self.frontends.is_empty()
    }

    /// One line: `0.1, www 1`; `none`.
    pub fn describe(&self) -> String {
        let mut line = self.all.map_or_else(String::new, |share| share.to_string());
        for (name, share) in &self.frontends {
            let comma = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{comma}{name} {share}");
        }
        if line.is_empty() { "none".to_owned() } else { line }
    }
}

/// Frontends that may have a share of their own.
pub(super) const MAX_FRONTENDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_set_shown_and_forgotten() {
        let overrides = Overrides::default();
        assert_eq!((overrides.shares().describe().as_str(), overrides.generation()), ("none", 0));
        overrides.set(Some("www"), 1.0).unwrap();
        overrides.set(None, 0.25).unwrap();
        overrides.set(Some("api"), 0.0).unwrap();
        assert_eq!((overrides.shares().describe().as_str(), overrides.generation()), ("0.25, api 0, www 1", 3));
        overrides.reset(Some("www"));
        assert_eq!(overrides.shares().describe(), "0.25, api 0");
        overrides.reset(None);
        assert!(overrides.shares().is_empty());
    }

    #[test]
    fn the_table_of_frontends_is_bounded() {
        let overrides = Overrides::default();
        for n in 0..MAX_FRONTENDS {
            overrides.set(Some(&n.to_string()), 0.5).unwrap();
        }
        assert_eq!(overrides.set(Some("one more"), 0.5), Err(Full));
        assert_eq!(overrides.set(Some("7"), 0.6), Ok(()));
        assert_eq!(overrides.set(None, 0.6), Ok(()));
    }
}
