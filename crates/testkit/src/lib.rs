//! Fixtures for tests: servers that misbehave on demand, a client that sends what it is told, and an
//! honest MCP server of every era. Never shipped.
//!
//! Start reading at [`raw`] (a scripted HTTP server) and [`http`] (a bare HTTP/1 client); the honest
//! server is the program `fixture-server`, built from [`fixture`]; the program `balancer` stands before replicas.
//!
//! Invariants: sockets are loopback only; every wait ends within [`WAIT_MAX`]; what a test sends or
//! scripts reaches the wire byte for byte.

pub mod balancer;
pub mod fixture;
pub mod http;
pub mod postgres;
pub mod raw;
pub mod session;

use std::time::Duration;

/// Longest time any single wait of this crate lasts before it becomes an error.
pub const WAIT_MAX: Duration = Duration::from_secs(10);

/// Largest head or body either side of this crate reads, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Waits for `future`, at most [`WAIT_MAX`]; `what` names the thing waited for in the error.
///
/// # Errors
/// When the time is over.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(WAIT_MAX, future)
        .await
        .map_err(|_| anyhow::anyhow!("waited {WAIT_MAX:?} for {what}"))
}
