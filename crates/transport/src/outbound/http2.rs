//! One call over an HTTP/2 connection that all calls of a target share.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::Instant;

use super::failure::causes;
use super::http1::{Outcome, check_head};
use super::pool::Lease;
use super::waits::Clock;
use super::{Awaited, Failure, TargetLimits};
use crate::socket::Socket;

/// While calls are under way, a server that says nothing for this long is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to say so.
const PING_WAIT: Duration = Duration::from_secs(10);

/// Sends requests over the shared connection.
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// Begins HTTP/2 on a connection; the future drives it and must be run.
pub(super) async fn begin(
    socket: Socket,
    limits: &TargetLimits,
) -> hyper::Result<(Sender, impl Future<Output = ()> + Send + 'static)> {
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_WAIT)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(socket))
        .await?;
    let driver = async move {
        if let Err(error) = connection.await {
            tracing::debug!(reason = %causes(&error), "HTTP/2 connection to a server ended");
        }
    };
    Ok((sender, driver))
}

/// Sends a request and waits for the head of the answer.
///
/// # Cancellation
/// The stream is reset.
pub(super) async fn exchange(
    lease: &Lease,
    mut sender: Sender,
    request: Request<Full<Bytes>>,
    first_byte: Duration,
    now: Instant,
) -> Outcome {
    let mut clock = Clock::default();
    clock.aim(now, Some(first_byte));
    let mut answer = pin!(sender.try_send_request(request));
    let answered = poll_fn(|ctx| {
        if let Poll::Ready(answered) = answer.as_mut().poll(ctx) {
            return Poll::Ready(Some(answered));
        }
        clock.poll(ctx).map(|()| None)
    })
    .await;
    match answered {
        Some(Ok(answer)) => check_head(lease, answer),
        Some(Err(mut refused)) => match refused.take_message() {
            Some(request) => Outcome::Unsent(Box::new(request), causes(refused.error())),
            None => Outcome::Failed(Failure::Closed {
                server: lease.server(),
                sent: true,
                reason: causes(refused.error()),
            }),
        },
        None => Outcome::Failed(Failure::Timeout {
            server: lease.server(),
            awaited: Awaited::FirstByte,
            wait: first_byte,
        }),
    }
}
