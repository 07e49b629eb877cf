//! Two small MCP servers to try Marque with: the files of a folder, and time zones.
//!
//! Both are written out by hand, without an SDK, so that a reader can learn the protocol from them:
//! newline-delimited JSON-RPC on stdin and stdout, legacy clients (`initialize`, up to 2025-11-25)
//! and modern clients (per-request `_meta`, 2026-07-28) in the same process, at the same time.
//!
//! Start reading at [`files`] (what a server offers), then `conversation` (how it is asked).
//!
//! Invariants: requests are answered concurrently, so a slow one never delays `ping`; a canceled
//! request is never answered; every line, queue, list and wait has a limit with a name.

pub mod files;
pub mod time;

mod server;

mod conversation;

mod call;
mod era;
mod in_flight;
mod outcome;
mod questions;
mod subscriptions;
mod wire;
