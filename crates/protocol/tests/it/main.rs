//! What holds for every text: pieces do not matter, and what is not changed stays.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bridge;
mod editor;
mod envelope;
mod events;
mod json;
mod names;
