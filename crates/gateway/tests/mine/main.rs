//! Temporary: the modules of one author alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod limits;
mod misbehavior;
mod properties;
mod rig;
mod streams;
