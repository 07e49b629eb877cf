//! Words on the wire: JSON-RPC, event streams and the MCP revisions, without a socket.
//!
//! Invariants: nothing here reads a clock, a socket or the environment; bytes outside an edited span leave as they came.
//!
//! Start reading at [`json_rpc`], then [`mcp`].

pub mod json;
pub mod json_rpc;
pub mod mcp;
pub mod sse;
