//! The data plane: many MCP servers behind one governed endpoint.
//!
//! Invariants: a call reaches a server only with a permit; a request sees one table from start to end;
//! bytes outside rewritten fields leave as they came; every queue, body, loop and wait has a named limit.
//!
//! Start reading at `call.rs`: one call from top to bottom.

mod admit;
mod adopt;
mod binding;
mod call;
mod chance;
mod check;
mod clock;
mod conversation;
mod digest;
mod edge;
mod exchange;
mod failure;
mod follow;
mod gateway;
mod handles;
mod identify;
mod inventory;
mod legacy;
mod list;
mod modern;
#[cfg(feature = "simulated")]
pub mod probe;
mod refuse;
mod replica;
mod reply;
mod report;
mod request;
mod say;
mod select;
mod server;
mod session;
mod settings;
mod table;
mod task;
mod upstream;
mod view;

pub use check::check;
pub use edge::{Door, Doors, PeerDoor, serve_stdio, serve_stdio_until};
pub use gateway::Gateway;
pub use handles::{Handles, INCARNATION_BYTES, Incarnation};
pub use replica::{Peer, Peering, Replicas};
pub use report::{EraReport, Report, ServerReport, ToolsetReport};
pub use settings::Settings;
