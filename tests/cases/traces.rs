//! Tracing, through every door.

mod agree;
mod attack;
mod attributes;
mod conformance;
mod doors;
mod endings;
mod filter;
mod logs;
mod parents;
mod protocols;
mod samplers;
mod tcp;
mod volume;
