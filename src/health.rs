//! gRPC health checks (`grpc.health.v1`) and what they say about HAProxy's servers. No Lua.
//!
//! The host shows every server it has and applies the actions that come back; nothing here calls HAProxy.

mod address;
mod outcome;
mod reconcile;
mod state;

/// `Server:check_force_up()` or `Server:check_force_down()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// Gets requests.
    Up,
    /// Gets none.
    Down,
}
