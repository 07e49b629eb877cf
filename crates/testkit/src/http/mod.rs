//! A bare HTTP/1.1 client: sends exactly the header lines it is told, reads events one by one, hangs up on demand.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use testkit::http;
//!
//! // A modern call with everything the specification wants, one header line doubled.
//! let mut reply = http::modern("http://127.0.0.1:8484/mcp/default", 7, "tools/call", r#"{"name":"echo","arguments":{}}"#)
//!     .header("Mcp-Name", "echo")
//!     .header("Mcp-Name", "other")
//!     .send()
//!     .await?;
//! assert_eq!(reply.status, 400);
//! assert_eq!(reply.json().await?["error"]["code"], -32020);
//!
//! // A stream, read event by event, then dropped half way: dropping the reply closes the connection.
//! let mut stream = http::get("http://127.0.0.1:8484/mcp/default")?.header("Accept", "text/event-stream").send().await?;
//! let event = stream.event().await?.expect("one event");
//! println!("{}", event.data);
//! drop(stream);
//! # Ok(())
//! # }
//! ```

mod reply;
mod request;
mod said;

pub use reply::{Event, Reply};
pub use request::{Request, delete, get, post};
pub use said::{legacy, modern, modern_meta, modern_with, notification};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within;

/// Sends `bytes` to the authority of `url` as they are and returns everything that comes back until the peer closes.
///
/// # Errors
/// When the peer cannot be reached or does not close in time.
pub async fn verbatim(url: &str, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (authority, _) = split(url)?;
    let mut socket = connect(authority).await?;
    socket.write_all(bytes).await?;
    let mut answer = Vec::new();
    within("the peer to close", socket.read_to_end(&mut answer)).await??;
    Ok(answer)
}

/// An open socket to the authority of `url`, for tests that write half a request.
///
/// # Errors
/// When the peer cannot be reached.
pub async fn socket(url: &str) -> anyhow::Result<TcpStream> {
    connect(split(url)?.0).await
}

fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("not an http URL: {url}"))?;
    let at = rest.find('/').unwrap_or(rest.len());
    let target = if at == rest.len() { "/" } else { &rest[at..] };
    Ok((&rest[..at], target))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own door: it must not share code with the one under test"
)]
pub(crate) async fn connect(authority: &str) -> anyhow::Result<TcpStream> {
    let socket = within("a connection", TcpStream::connect(authority)).await?;
    let socket = socket.with_context(|| format!("connect to {authority}"))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}
