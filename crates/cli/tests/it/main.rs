//! Runs the real program, against servers in this process where it needs one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod program;
mod server;

mod frame;
mod outcomes;
mod wire;
mod with_sample;

mod keys;

mod up;
mod up_processes;
mod up_reload;
mod up_replicas;
mod up_start;
mod up_stdio;
mod up_stop;
