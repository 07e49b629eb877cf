//! The body of every answer we write.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body::{Body as _, Frame, SizeHint};

use crate::outbound::{Failure, Incoming};

/// The body of an answer: nothing, bytes that are all here, or bytes to come.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All the bytes at once; `None` when they have been taken.
    Full(Option<Bytes>),
    /// Bytes as they come. An error ends the connection (HTTP/1.1) or resets the stream (HTTP/2).
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>),
}

impl Body {
    /// A body without bytes.
    pub const fn empty() -> Self {
        Self::Empty
    }

    /// A body whose bytes are all here.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::Empty
        } else {
            Self::Full(Some(bytes))
        }
    }

    /// A body whose bytes come one chunk after the other.
    pub fn stream(stream: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Self {
        Self::Stream(Box::pin(stream))
    }

    /// A server's answer as it comes, for a client. Its failure cuts this one off; if this is dropped, the call is canceled.
    pub fn forward(mut answer: Incoming) -> Self {
        Self::stream(stream::poll_fn(move |ctx| {
            loop {
                let Some(frame) = ready!(Pin::new(&mut answer).poll_frame(ctx)?) else {
                    return Poll::Ready(None);
                };
                // Trailers are passed over.
                if let Ok(bytes) = frame.into_data() {
                    return Poll::Ready(Some(Ok(bytes)));
                }
            }
        }))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream
                .as_mut()
                .poll_next(ctx)
                .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty | Self::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Full(None) => SizeHint::with_exact(0),
            Self::Full(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(stream) => {
                // Chunks, not bytes: only an ended stream says anything about bytes.
                let mut hint = SizeHint::default();
                if stream.size_hint() == (0, Some(0)) {
                    hint.set_upper(0);
                }
                hint
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.as_ref().map_or(0, Bytes::len)),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

/// Why the rest of an answer cannot come. The client sees only that it was cut off.
#[derive(Debug, Clone, thiserror::Error)]
#[error("answer cut off: {0}")]
pub struct BodyError(Cow<'static, str>);

impl BodyError {
    /// Keeps the reason for the log.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl From<Failure> for BodyError {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_where_all_bytes_are_here() {
        assert_eq!(Body::empty().size_hint().exact(), Some(0));
        assert_eq!(Body::full("abc").size_hint().exact(), Some(3));
        assert!(Body::full("").is_end_stream());
        let stream = Body::stream(stream::iter([Ok(Bytes::from_static(b"a"))]));
        assert_eq!(stream.size_hint().exact(), None);
        assert!(!stream.is_end_stream());
    }
}
