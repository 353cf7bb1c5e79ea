//! `[runtime]`.

use super::{Key, Show, key, plain, seconds, time};
use crate::config::tree::Config;

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("runtime.workers", runtime.workers, whole(1..=64), plain),
    key!("runtime.stop_timeout", runtime.stop_timeout, duration(seconds(0)..=seconds(60)), time),
    key!("runtime.term_timeout", runtime.term_timeout, duration(seconds(0)..=seconds(10)), time),
];
