//! `[traces]`.

use super::{Key, Show, key, plain, word};
use crate::config::tree::Config;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("traces.enabled", traces.enabled, flag(), plain),
    key!("traces.sampler", traces.sampler, word(), word),
    key!("traces.ratio", traces.ratio, share(), plain),
    key!("traces.recent", traces.recent, whole(0..=10_000), plain),
    key!("traces.ring_bytes", traces.ring_bytes, whole(64 * 1024..=64 * 1024 * 1024), plain),
];
