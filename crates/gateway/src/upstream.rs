//! Towards the servers: one way of asking, whatever the wire.

mod duplex;
mod frames;
mod http;
mod legacy_sse;
mod stdio;

pub(crate) use duplex::{Audience, Duplex};
pub(crate) use frames::{Coming, Frames};
pub(crate) use http::{Head, HttpLink};
pub(crate) use legacy_sse::open as open_legacy_sse;
pub(crate) use stdio::{Program, start as start_program};

use bytes::Bytes;
use transport::outbound::Incoming;

/// What a server answers to one message.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One JSON message, arriving.
    Json(Incoming),
    /// Messages one after the other; the last is the answer.
    Frames(Frames),
    /// Taken, nothing to say.
    Accepted,
    /// An HTTP status that means no, with what was said.
    Failed {
        /// The status.
        status: u16,
        /// The body, bounded.
        body: Bytes,
    },
}
