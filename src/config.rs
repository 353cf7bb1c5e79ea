//! Settings: text in, typed values out. The only place that reads the environment.
//!
//! Sources, strongest first: options in Lua, the TOML file, the environment, defaults.

mod tree;

pub use tree::*;
