//! Reloads: a new worker beside the old one, or the refusal of one.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Haproxy, Pid, log};
use crate::poll::{self, SOON};

impl Haproxy {
    /// Reloads with `SIGUSR2` and waits until the new worker answers. The old one may live on: see [`Self::wait_one_worker`].
    #[track_caller]
    pub fn reload(&self) {
        self.try_reload().unwrap_or_else(|why| panic!("{why}"));
    }

    /// Reloads as [`Self::reload`] does; a configuration that HAProxy refuses is an error, and the old worker stays.
    pub fn try_reload(&self) -> Result<(), String> {
        assert!(self.mode.has_master(), "only a master can reload");
        let before = poll::until_some(SOON, "an answer of the master", || self.workers_now());
        self.signal(Signal::SIGUSR2);
        let outcome = poll::try_until(SOON, || {
            let now = self.workers_now().filter(|now| now.reloads > before.reloads)?;
            let said = self.try_master_cli("show startup-logs").ok()?;
            if log::tells_of_refusal(&said) {
                return Some(Err(format!("HAProxy refused to reload:\n{said}")));
            }
            self.answers_as(now.current?).then_some(Ok(()))
        });
        outcome.unwrap_or_else(|| Err(format!("no new worker within {SOON:?}:\n{}", self.log())))
    }

    /// Waits until the workers of earlier reloads are gone.
    #[track_caller]
    pub fn wait_one_worker(&self, within: Duration) {
        poll::until(within, "the old workers to leave", || self.worker_pids().len() == 1);
    }

    /// What the master says of its workers; `None` while it executes itself anew.
    fn workers_now(&self) -> Option<Workers> {
        Workers::parse(&self.try_master_cli("show proc").ok()?)
    }

    /// Whether this process is the one that answers on the stats socket.
    fn answers_as(&self, worker: Pid) -> bool {
        !self.stats || self.try_cli("show info").is_ok_and(|info| info.contains(&format!("\nPid: {worker}\n")))
    }
}

/// What `show proc` tells.
struct Workers {
    /// `None` after a reload that was refused: the worker that goes on counts as an old one.
    current: Option<Pid>,
    reloads: u64,
}

impl Workers {
    fn parse(text: &str) -> Option<Self> {
        let (master, workers) = text.split_once("# workers\n")?;
        let reloads = master.lines().last()?.split_whitespace().nth(2)?.parse().ok()?;
        let current = workers.lines().next().and_then(|line| line.split_whitespace().next()?.parse().ok());
        Some(Self { current, reloads })
    }
}
