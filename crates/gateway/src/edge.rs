//! Where messages come in and replies go out: HTTP, the transport of 2024-11-05, and standard input and output.

mod answer;
mod away;
mod doors;
mod events;
mod http;
mod legacy_sse;
mod line;
mod stdio;

pub use away::PeerDoor;
pub use doors::{Door, Doors};
pub use stdio::{serve_stdio, serve_stdio_until};
