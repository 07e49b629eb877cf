//! One call over one HTTP/1.1 connection.
//!
//! The connection is no task of its own: it is polled by the call that uses it, and by nobody while it rests.
//! That saves two task switches per call, makes a dropped call close its connection at once, and shows a connection
//! that the server closed meanwhile at the moment it is used again, before a byte of the request has left.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::failure::causes;
use super::pool::Lease;
use super::waits::{Clock, HEADER_COUNT_UNTUNED};
use super::{Awaited, Failure, TargetLimits};
use crate::socket::Socket;

/// Kept back from what a server promises in `Keep-Alive: timeout=N`: our request needs time to arrive.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// One connection.
pub(super) struct Link {
    /// `None` when it has ended.
    connection: Option<Connection<TokioIo<Socket>, Full<Bytes>>>,
    sender: SendRequest<Full<Bytes>>,
    pub(super) clock: Clock,
    pub(super) rested_since: Instant,
    /// What the server promises.
    rest_max: Option<Duration>,
}

/// How a call went up to the head of its answer.
pub(super) enum Outcome {
    Answered(Response<Incoming>),
    Failed(Failure),
    /// No byte has left: here is the request again.
    Unsent(Box<Request<Full<Bytes>>>, String),
}

impl Link {
    pub(super) async fn new(socket: Socket, limits: &TargetLimits) -> hyper::Result<Self> {
        let mut builder = Builder::new();
        builder.max_header_size(limits.header_bytes);
        if limits.header_count > HEADER_COUNT_UNTUNED {
            builder.max_headers(limits.header_count);
        }
        let (sender, connection) = builder.handshake(TokioIo::new(socket)).await?;
        Ok(Self {
            connection: Some(connection),
            sender,
            clock: Clock::default(),
            rested_since: Instant::now(),
            rest_max: None,
        })
    }

    /// Lets the connection do what it can. Afterwards, what it has for the call can be had without waiting.
    pub(super) fn advance(&mut self, ctx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(ended) = Pin::new(connection).poll(ctx)
        {
            if let Err(error) = ended {
                tracing::debug!(reason = %causes(&error), "connection to a server ended");
            }
            self.connection = None;
        }
    }

    /// True when the connection can take another call.
    pub(super) fn is_ready(&mut self) -> bool {
        if !self.sender.is_ready() {
            // The last bytes have been read, but the connection may not have turned to the next call yet.
            self.advance(&mut Context::from_waker(Waker::noop()));
        }
        self.connection.is_some() && self.sender.is_ready()
    }

    /// True when the server has closed the connection while it rested.
    pub(super) fn is_closed(&mut self) -> bool {
        self.advance(&mut Context::from_waker(Waker::noop()));
        self.connection.is_none() || self.sender.is_closed()
    }

    pub(super) fn is_aged(&self, now: Instant, idle_age: Duration) -> bool {
        let age = self.rest_max.map_or(idle_age, |max| max.min(idle_age));
        now.saturating_duration_since(self.rested_since) >= age
    }
}

/// Sends a request over the lease's connection and waits for the head of the answer.
pub(super) async fn exchange(
    lease: &mut Lease,
    request: Request<Full<Bytes>>,
    first_byte: Duration,
    now: Instant,
) -> Outcome {
    let link = lease.link.as_mut().expect("the caller has connected");
    link.clock.aim(now, Some(first_byte));
    let mut answer = pin!(link.sender.try_send_request(request));
    let answered = poll_fn(|ctx| {
        link.advance(ctx);
        // Only the connection can make the answer ready, and it was just polled: nobody else needs to wake us.
        let mut quiet = Context::from_waker(Waker::noop());
        if let Poll::Ready(answered) = answer.as_mut().poll(&mut quiet) {
            return Poll::Ready(Some(answered));
        }
        link.clock.poll(ctx).map(|()| None)
    })
    .await;
    match answered {
        Some(Ok(answer)) => {
            link.rest_max = rest_max(answer.headers());
            check_head(lease, answer)
        }
        Some(Err(mut refused)) => match refused.take_message() {
            Some(request) => Outcome::Unsent(Box::new(request), causes(refused.error())),
            None => Outcome::Failed(failed(lease, refused.error())),
        },
        None => Outcome::Failed(Failure::Timeout {
            server: lease.server(),
            awaited: Awaited::FirstByte,
            wait: first_byte,
        }),
    }
}

/// What hyper does not check for us, because it counts in round numbers only.
pub(super) fn check_head(lease: &Lease, answer: Response<Incoming>) -> Outcome {
    let header_count = lease.pool().limits.header_count;
    if answer.headers().len() > header_count {
        return Outcome::Failed(Failure::TooLarge {
            server: lease.server(),
            part: "head",
            max: header_count,
            unit: "fields",
        });
    }
    Outcome::Answered(answer)
}

fn failed(lease: &Lease, error: &hyper::Error) -> Failure {
    let server = lease.server();
    if error.is_parse_too_large() {
        return Failure::TooLarge {
            server,
            part: "head",
            max: lease.pool().limits.header_bytes,
            unit: "bytes",
        };
    }
    let reason = causes(error);
    if error.is_parse() {
        Failure::Invalid { server, reason }
    } else {
        Failure::Closed {
            server,
            sent: true,
            reason,
        }
    }
}

/// Reads `Keep-Alive: timeout=N`, which servers send that close soon (Node: 5 s).
fn rest_max(headers: &HeaderMap) -> Option<Duration> {
    let promised = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let seconds = promised
        .split(',')
        .find_map(|part| part.trim().strip_prefix("timeout="))?;
    let promised = Duration::from_secs(seconds.parse().ok()?);
    Some(promised.saturating_sub(KEEP_ALIVE_MARGIN))
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("open", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

/// The failure of a body that broke off.
pub(super) fn broken(server: Arc<str>, error: &hyper::Error) -> Failure {
    Failure::Broken {
        server,
        reason: causes(error),
    }
}
