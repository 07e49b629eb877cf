//! Drives the sample servers as a client would, over pipes in memory, in both eras.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

mod files;
mod protocol;
mod time;
