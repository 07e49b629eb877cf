//! What a connection is doing, and for how long: the base of all waiting limits.
//!
//! The data path only notes what changed; one coarse timer per connection looks at the notes.
//! So a request registers no timer of its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use crate::body::{Body, BodyError};
use crate::socket::Socket;

/// Time stamps are nanoseconds since the connection began, plus one; zero is "not so".
const NOT_SO: u64 = 0;

/// What a connection is doing. Shared by its socket, its requests and its timer.
#[derive(Debug)]
pub(super) struct Pulse {
    began: Instant,
    /// HTTP/1: bytes outside a request are the head of the next. HTTP/2 has frames that belong to no request.
    heads_are_timed: bool,
    /// Requests that are being answered.
    busy: AtomicU32,
    /// Since when no request is being answered.
    quiet_since: AtomicU64,
    /// Since when a request's head is on its way.
    head_since: AtomicU64,
    /// Since when the client takes no bytes.
    stalled_since: AtomicU64,
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Idle,
    Head,
    Stalled,
}

/// What the timer does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    LookAgain(Instant),
    End(Overdue),
}

impl Pulse {
    pub(super) fn new(heads_are_timed: bool) -> Self {
        Self {
            began: Instant::now(),
            heads_are_timed,
            busy: AtomicU32::new(0),
            quiet_since: AtomicU64::new(1),
            head_since: AtomicU64::new(if heads_are_timed { 1 } else { NOT_SO }),
            stalled_since: AtomicU64::new(NOT_SO),
        }
    }

    /// Looks at the notes: is the connection overdue, and if not, when could it be?
    pub(super) fn judge(&self, now: Instant, limits: &Limits) -> Verdict {
        let shortest = limits
            .header_read
            .min(limits.keep_alive_idle)
            .min(limits.write_stall);
        let mut next = now + shortest;
        let idle_since = if self.busy.load(Ordering::Acquire) == 0 {
            self.quiet_since.load(Ordering::Relaxed)
        } else {
            NOT_SO
        };
        for (since, limit, overdue) in [
            (&self.stalled_since, limits.write_stall, Overdue::Stalled),
            (&self.head_since, limits.header_read, Overdue::Head),
            (
                &AtomicU64::new(idle_since),
                limits.keep_alive_idle,
                Overdue::Idle,
            ),
        ] {
            let since = since.load(Ordering::Relaxed);
            if since == NOT_SO {
                continue;
            }
            let due = self.began + Duration::from_nanos(since - 1) + limit;
            if due <= now {
                return Verdict::End(overdue);
            }
            next = next.min(due);
        }
        Verdict::LookAgain(next)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).map_or(u64::MAX, |nanos| nanos + 1)
    }

    fn read_some(&self) {
        if self.heads_are_timed
            && self.busy.load(Ordering::Relaxed) == 0
            && self.head_since.load(Ordering::Relaxed) == NOT_SO
        {
            self.head_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn wrote(&self, stalled: bool) {
        let noted = self.stalled_since.load(Ordering::Relaxed) != NOT_SO;
        if stalled != noted {
            let since = if stalled { self.now() } else { NOT_SO };
            self.stalled_since.store(since, Ordering::Relaxed);
        }
    }
}

/// One request that is being answered, until the last byte of the answer is with the socket.
#[derive(Debug)]
pub(super) struct Beat(Arc<Pulse>);

impl Beat {
    pub(super) fn start(pulse: &Arc<Pulse>) -> Self {
        pulse.busy.fetch_add(1, Ordering::AcqRel);
        pulse.head_since.store(NOT_SO, Ordering::Relaxed);
        Self(Arc::clone(pulse))
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.quiet_since.store(self.0.now(), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An answer's body that notes when it has been written.
#[derive(Debug)]
pub(super) struct Beating {
    pub(super) body: Body,
    #[expect(dead_code, reason = "its drop is the message")]
    pub(super) beat: Beat,
}

impl http_body::Body for Beating {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(ctx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that notes what comes and goes.
#[derive(Debug)]
pub(super) struct Metered {
    pub(super) socket: Socket,
    pub(super) pulse: Arc<Pulse>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.socket).poll_read(ctx, buffer);
        if buffer.filled().len() > before {
            self.pulse.read_some();
        }
        done
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write(ctx, bytes);
        self.pulse.wrote(done.is_pending());
        done
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.socket).poll_write_vectored(ctx, slices);
        self.pulse.wrote(done.is_pending());
        done
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.socket).poll_flush(ctx);
        // TLS keeps bytes of its own: its flush is where a client that takes nothing shows.
        if done.is_pending() {
            self.pulse.wrote(true);
        }
        done
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(ctx)
    }
}
