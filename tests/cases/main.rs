//! The cases, in one binary.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod agent_program;
mod e2e;
mod examples;
mod export;
mod harness;
mod health;
mod install;
mod kubernetes;
mod life;
mod migrations;
mod packages;
mod readme;
mod signals;
mod traces;
