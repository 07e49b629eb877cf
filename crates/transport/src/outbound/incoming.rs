//! The body of a server's answer.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::http1::broken;
use super::pool::Lease;
use super::waits::Clock;
use super::{Awaited, Failure};

/// Space taken before the bytes are here, however large the server says the body will be.
const RESERVE_BYTES_MAX: usize = 1024 * 1024;

/// The body of a server's answer, as it comes.
///
/// Read to its end, it frees its connection for another call.
/// Dropped before, it closes the connection (HTTP/1.1) or resets the stream (HTTP/2): that is how a call is canceled.
pub struct Incoming {
    body: hyper::body::Incoming,
    source: Source,
    idle: Option<Duration>,
    /// Whether the idle wait has begun.
    waiting: bool,
    /// Whether the server waits for us, and may be silent.
    resting: bool,
}

/// Where the bytes come from.
enum Source {
    Http1(Lease),
    Http2(Lease, Clock),
    /// The body has ended; the connection is not ours any more.
    Ended,
}

impl Incoming {
    pub(super) fn http1(body: hyper::body::Incoming, lease: Lease, idle: Option<Duration>) -> Self {
        Self::new(body, Source::Http1(lease), idle)
    }

    pub(super) fn http2(body: hyper::body::Incoming, lease: Lease, idle: Option<Duration>) -> Self {
        Self::new(body, Source::Http2(lease, Clock::default()), idle)
    }

    fn new(body: hyper::body::Incoming, source: Source, idle: Option<Duration>) -> Self {
        let mut incoming = Self {
            body,
            source,
            idle,
            waiting: false,
            resting: false,
        };
        if incoming.body.is_end_stream() {
            incoming.end();
        }
        incoming
    }

    /// Whether the server waits for somebody else now, so that its silence means nothing; off again, the idle wait begins anew.
    pub fn rest(&mut self, resting: bool) {
        self.resting = resting;
        self.waiting = false;
    }

    /// The next bytes, never empty; `None` at the end. Trailers are passed over.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Failure>> {
        loop {
            let frame = poll_fn(|ctx| Pin::new(&mut *self).poll_frame(ctx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) if !bytes.is_empty() => return Some(Ok(bytes)),
                Ok(_) => {}
                Err(failure) => return Some(Err(failure)),
            }
        }
    }

    /// The whole body. One that came in one piece is not copied.
    ///
    /// # Errors
    /// The body breaks off, rests too long, or is, or says it will be, too large.
    pub async fn collect(mut self, bytes_max: usize) -> Result<Bytes, Failure> {
        if self.body.size_hint().lower() > bytes_max as u64 {
            return Err(self.too_large(bytes_max));
        }
        let Some(first) = self.chunk().await.transpose()? else {
            return Ok(Bytes::new());
        };
        if first.len() > bytes_max {
            return Err(self.too_large(bytes_max));
        }
        if self.body.is_end_stream() {
            return Ok(first);
        }
        let Some(second) = self.chunk().await.transpose()? else {
            return Ok(first);
        };
        let expected = usize::try_from(self.body.size_hint().lower()).unwrap_or(RESERVE_BYTES_MAX);
        let mut whole =
            BytesMut::with_capacity(first.len() + second.len() + expected.min(RESERVE_BYTES_MAX));
        whole.extend_from_slice(&first);
        let mut chunk = Some(second);
        while let Some(bytes) = chunk {
            if whole.len() + bytes.len() > bytes_max {
                return Err(self.too_large(bytes_max));
            }
            whole.extend_from_slice(&bytes);
            chunk = self.chunk().await.transpose()?;
        }
        Ok(whole.freeze())
    }

    fn too_large(&self, bytes_max: usize) -> Failure {
        Failure::TooLarge {
            server: self.server(),
            part: "body",
            max: bytes_max,
            unit: "bytes",
        }
    }

    fn server(&self) -> std::sync::Arc<str> {
        match &self.source {
            Source::Http1(lease) | Source::Http2(lease, _) => lease.server(),
            Source::Ended => "server".into(),
        }
    }

    /// The body has been read: the connection is for the next call.
    fn end(&mut self) {
        match std::mem::replace(&mut self.source, Source::Ended) {
            Source::Http1(mut lease) => {
                if lease.link.as_mut().is_some_and(|link| link.is_ready()) {
                    lease.rest();
                }
            }
            Source::Http2(..) | Source::Ended => {}
        }
    }

    /// Gives up: the connection is closed or the stream reset.
    fn fail(&mut self, failure: Failure) -> Failure {
        self.source = Source::Ended;
        failure
    }

    /// The next frame, without the idle wait.
    fn poll_body(
        &mut self,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.source {
            Source::Http1(lease) => {
                let link = lease.link.as_mut().expect("kept until the body ends");
                // Only the connection can bring bytes, and it is polled here: nobody else needs to wake us.
                let mut quiet = Context::from_waker(Waker::noop());
                if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(&mut quiet) {
                    return Poll::Ready(frame);
                }
                link.advance(ctx);
                Pin::new(&mut self.body).poll_frame(&mut quiet)
            }
            Source::Http2(..) => Pin::new(&mut self.body).poll_frame(ctx),
            Source::Ended => Poll::Ready(None),
        }
    }

    /// Ready when the server has said nothing for too long.
    fn poll_idle(&mut self, ctx: &mut Context<'_>) -> Poll<Duration> {
        let Some(idle) = self.idle.filter(|_| !self.resting) else {
            return Poll::Pending;
        };
        let clock = match &mut self.source {
            Source::Http1(lease) => {
                &mut lease.link.as_mut().expect("kept until the body ends").clock
            }
            Source::Http2(_, clock) => clock,
            Source::Ended => return Poll::Pending,
        };
        if !self.waiting {
            self.waiting = true;
            clock.aim(Instant::now(), Some(idle));
        }
        clock.poll(ctx).map(|()| idle)
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        match this.poll_body(ctx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.waiting = false;
                if this.body.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let failure = broken(this.server(), &error);
                Poll::Ready(Some(Err(this.fail(failure))))
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let wait = ready!(this.poll_idle(ctx));
                let failure = Failure::Timeout {
                    server: this.server(),
                    awaited: Awaited::Idle,
                    wait,
                };
                Poll::Ready(Some(Err(this.fail(failure))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("ended", &matches!(self.source, Source::Ended))
            .finish_non_exhaustive()
    }
}
