//! What a client gets, in messages; how they are framed is the edge's business.

use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use http::StatusCode;
use transport::body::BodyError;

use crate::session::Session;

/// Messages one after the other; the last is the answer.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Bytes> + Send>>;
/// One message in pieces.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// What a client gets.
pub(crate) enum Reply {
    /// One message.
    Message(StatusCode, Bytes),
    /// One message whose parts are ready: before, the big part, after.
    Parts([Bytes; 3]),
    /// One message, arriving in pieces; and what to say instead if it breaks off where that cannot be seen.
    Large(Pieces, Bytes),
    /// Several messages over time.
    Stream(Messages),
    /// One message, and the session it opened.
    Opened(Arc<Session>, Bytes),
    /// Taken, nothing to say.
    Accepted,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Message(..) => "Message",
            Self::Parts(_) => "Parts",
            Self::Large(..) => "Large",
            Self::Stream(_) => "Stream",
            Self::Opened(..) => "Opened",
            Self::Accepted => "Accepted",
        })
    }
}

impl Reply {
    /// The reply as messages one after the other, for wires that have no statuses.
    pub(crate) fn messages(self) -> Messages {
        match self {
            Self::Message(_, bytes) | Self::Opened(_, bytes) => Box::pin(stream::iter([bytes])),
            Self::Parts(parts) => Box::pin(stream::iter([Bytes::from(parts.concat())])),
            Self::Stream(messages) => messages,
            Self::Large(pieces, broken) => Box::pin(stream::once(async {
                gathered(pieces).await.unwrap_or(broken)
            })),
            Self::Accepted => Box::pin(stream::empty()),
        }
    }

    /// One message with status 200.
    pub(crate) const fn message(bytes: Bytes) -> Self {
        Self::Message(StatusCode::OK, bytes)
    }
}

/// A message in pieces as a whole; nothing when it broke off.
async fn gathered(mut pieces: Pieces) -> Option<Bytes> {
    let mut all = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece.ok()?);
    }
    Some(all.freeze())
}
