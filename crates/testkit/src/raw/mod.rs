//! A scripted HTTP server: says exactly the bytes a test wants, and remembers every request it saw.
//!
//! ```no_run
//! # async fn story() -> anyhow::Result<()> {
//! use testkit::raw::{RawServer, Script, gate};
//!
//! let (open, gate) = gate();
//! let server = RawServer::start(move |seen| match seen.rpc_method().as_deref() {
//!     // One event at once, the second only when the test says so, then the proper end.
//!     Some("tools/call") => Script::sse()
//!         .event(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#)
//!         .wait(&gate)
//!         .event(seen.result(r#"{"content":[]}"#))
//!         .end(),
//!     // The id of the request comes back with its own spelling.
//!     Some("tools/list") => Script::json(seen.result(r#"{"tools":[]}"#)),
//!     Some("ping") => Script::never(),
//!     _ => Script::accepted(),
//! })
//! .await?;
//! // … point the thing under test at server.url() …
//! open.open();
//! let calls = server.wait_for(1, |seen| seen.rpc_method().as_deref() == Some("tools/call")).await?;
//! assert_eq!(calls[0].headers_named("mcp-session-id").len(), 0);
//! server.hung_up(calls[0].number).await?; // the client closed that response's connection early
//! # Ok(())
//! # }
//! ```
//!
//! [`canned`] answers the handshake of either era, so that a test scripts only what it is about;
//! [`ODD_RESULT`] is an answer that must pass every hop byte for byte.

mod canned;
mod script;
mod seen;
mod server;

pub use canned::{Canned, ODD_RESULT, canned};
pub use script::{Feed, Gate, Opener, Push, Script, feed, gate};
pub use seen::Seen;
pub use server::RawServer;
