//! A target that somebody watches: no server of HAProxy's, so nobody else is told.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::group::Group;
use super::link::AbortOnDrop;
use super::once::{Desk, TargetSpec};
use super::profile::Profile;
use super::status::ServerStatus;
use super::target::Target;
use super::voice::Voice;
use super::watch;
use crate::config::{BackendConfig, CheckMode};

/// A target under `Watch`, or under Checks where its server has none. Dropping it ends that.
pub struct Watching {
    target: Arc<Target>,
    changes: Receiver<u64>,
    _task: AbortOnDrop,
}

impl Watching {
    /// Each result counts alone. `every` is the time between two Checks, and the longest between two attempts to connect; a
    /// connection and a call may take half of `within` each.
    pub(super) fn start(desk: &Desk, spec: &TargetSpec, every: Duration, within: Duration) -> Result<Self, String> {
        let profile = Arc::new(in_haste(&*desk.profile_of(spec)?, every, within / 2));
        let probe = desk.probe(Arc::clone(&profile), spec)?;
        let hands = desk.hands();
        let voice = Arc::new(Voice::new(Box::new(|_, _, _| {}), hands.size));
        let group = Arc::new(Group::new("", 0, Arc::clone(&voice)));
        let (changes, now) = (voice.subscribe(), Instant::now());
        let figures = Arc::clone(desk.figures());
        let target = Arc::new(Target::new(profile, group, String::new(), spec.host.clone(), voice, now, figures));
        let run = watch::run(Arc::clone(&target), probe, Arc::clone(&hands.room), hands.tasks.stop(), every);
        let task = AbortOnDrop(hands.tasks.spawn("health watch", run));
        Ok(Self { target, changes, _task: task })
    }

    /// Waits for the next change, the first verdict too, and tells the state. Changes in between are one. Cancelling loses
    /// nothing.
    pub async fn changed(&mut self) -> ServerStatus {
        // The target keeps the sender alive.
        let _ = self.changes.changed().await;
        ServerStatus::of(&self.target)
    }
}

fn in_haste(profile: &Profile, every: Duration, each: Duration) -> Profile {
    let config = BackendConfig {
        mode: CheckMode::Watch,
        interval: every,
        fast_interval: every,
        down_interval: every,
        rise: 1,
        fall: 1,
        connect_timeout: each,
        rpc_timeout: each,
        ..profile.config.clone()
    };
    Profile { config, ..profile.clone() }
}
