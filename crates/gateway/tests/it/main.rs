//! The data plane between scripted servers and scripted clients, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod rig;

mod limits;
mod misbehavior;
mod properties;
mod streams;
