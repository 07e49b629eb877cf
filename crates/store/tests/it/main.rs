//! The store on both engines: every rule is tested on SQLite and on a private PostgreSQL.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod place;

mod keys;
mod opening;
mod sessions;
mod together;
