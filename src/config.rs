//! Settings: text in, typed values out. The only place that reads the environment.
//!
//! Sources, strongest first: options in Lua, arguments of `lua-load`, the TOML file, `HAPROXY_VITALS_*`, `OTEL_*`,
//! defaults. All of them become settings, one for each key; one table of keys reads and shows them. A table that takes
//! any names (`service.attributes`, `export.headers`) is merged name by name; a list replaces a weaker list whole.

mod check;
mod duration;
mod endpoint;
mod env;
mod error;
mod file;
mod flatten;
mod grpc_agent;
mod keys;
mod list;
mod load;
mod options;
mod origin;
mod otel;
mod pairs;
mod propagation;
mod proxy;
mod resolve;
mod setting;
mod show;
mod signal;
mod standalone;
mod tree;
mod value;
pub mod wildcard;
mod words;

#[cfg(test)]
mod tests;

pub use env::Environment;
pub use error::{ConfigError, Hint};
pub use load::{Loaded, Sources, load, load_file};
pub use origin::{Origin, Origins};
pub use signal::{PerSignal, Signal};
pub use standalone::{AgentSources, load_agent};
pub use tree::*;
pub use value::Value;
