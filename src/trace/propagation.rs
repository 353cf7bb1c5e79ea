//! Who called, and what becomes of it: the formats that carry a trace from one service to the next.
//!
//! One file for each format; each reads any bytes without a panic. W3C Trace Context has its own module, [`super::w3c`].

pub mod b3;
pub mod baggage;
mod context;
pub mod doors;
pub mod jaeger;
mod lines;
mod policy;
mod seen;
#[cfg(test)]
mod tests;
pub mod xray;

pub use context::{Context, Found, Sent};
pub use lines::{Line, Lines};
pub use policy::Policy;
pub use seen::{CallerDecision, ListOwner, More, Seen};
