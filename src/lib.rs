//! Health and traces for HAProxy, from inside HAProxy: the core library.
//!
//! Layers, imports go down only: `host` (L4) > `trace`, `health` (L3) > `metrics` > `export` > `journal`, `runtime`, `resource`,
//! `rotate` (L2) > `config`, `log`, `stats` (L1). `trace` and `health` do not import each other; `host` alone names Lua.

pub mod config;
pub mod export;
pub mod health;
#[cfg(feature = "host")]
pub mod host;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod resource;
pub mod rotate;
pub mod runtime;
pub mod standalone;
pub mod stats;
pub mod trace;

/// This library's version: `service.version` of the instrumentation scope, and part of every user agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
