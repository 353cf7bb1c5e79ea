//! Tracing, through both doors.

mod attack;
mod attributes;
mod conformance;
mod doors;
mod endings;
mod logs;
mod parents;
mod protocols;
mod said;
mod samplers;
mod tls;
mod volume;
