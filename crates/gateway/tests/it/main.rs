//! The data plane between scripted servers and scripted clients, over real sockets.
//!
//! Start reading at [`scenarios`]; `scenarios/README.md` explains the files it plays.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod rig;

mod scenarios;
mod story;

mod callers;
mod client;
mod house;
mod scripted;

mod bridge;
mod limits;
mod misbehavior;
mod properties;
mod regressions_sessions;
mod regressions_upstream;
mod streams;
