//! How long, and how much.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a call waits for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// For a new connection: name, TCP and TLS together. Default: 10 s.
    pub connect: Duration,
    /// From the request to the head of the answer. Default: 60 s.
    pub first_byte: Duration,
    /// From one chunk of the answer to the next; `None` for streams that may rest for ever. Default: 60 s.
    pub idle: Option<Duration>,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Duration::from_secs(60),
            idle: Some(Duration::from_secs(60)),
        }
    }
}

/// What one target may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetLimits {
    /// Calls under way at one time; with HTTP/1.1 each has its connection. Default: 1024.
    pub calls_max: usize,
    /// Streams open at one time, which are no calls: they rest most of the time. Default: 8192.
    pub streams_max: usize,
    /// How long a call waits for another to end when there are that many. Default: 5 s.
    pub call_wait: Duration,
    /// Connections kept open between calls. Default: 256.
    pub idle_max: usize,
    /// How long a connection is kept open between calls; a server's shorter `Keep-Alive` counts. Default: 30 s.
    pub idle_age: Duration,
    /// Bytes of an answer's head. Default: 64 KiB.
    pub header_bytes: usize,
    /// Fields of an answer's head. Default: 100.
    pub header_count: usize,
}

impl Default for TargetLimits {
    fn default() -> Self {
        Self {
            calls_max: 1024,
            streams_max: 8192,
            call_wait: Duration::from_secs(5),
            idle_max: 256,
            idle_age: Duration::from_secs(30),
            header_bytes: 64 * 1024,
            header_count: HEADER_COUNT_UNTUNED,
        }
    }
}

/// The number of header fields hyper holds on the stack; asking for another number costs an allocation per answer.
pub(super) const HEADER_COUNT_UNTUNED: usize = 100;

/// A deadline that is moved often and reached seldom.
///
/// Moving it later does not touch the runtime's timer: when that fires too early it is set again.
/// So a connection registers about one timer per wait, not one per call.
#[derive(Debug, Default)]
pub(super) struct Clock {
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// Sets the deadline; `None` for none.
    pub(super) fn aim(&mut self, now: Instant, wait: Option<Duration>) {
        self.due = wait.and_then(|wait| now.checked_add(wait));
    }

    /// Ready when the deadline is over.
    pub(super) fn poll(&mut self, ctx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(ctx).is_ready() {
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn deadline_moves_both_ways() {
        let mut clock = Clock::default();
        for (wait, moved) in [(10, 30), (3000, 5), (1, 7)] {
            let now = Instant::now();
            clock.aim(now, Some(Duration::from_millis(wait)));
            let first = poll_fn(|ctx| Poll::Ready(clock.poll(ctx))).await;
            assert!(first.is_pending());
            let moved = Duration::from_millis(moved);
            clock.aim(now, Some(moved));
            poll_fn(|ctx| clock.poll(ctx)).await;
            let waited = now.elapsed();
            assert!(waited >= moved, "{waited:?} for {moved:?}");
            assert!(waited < Duration::from_secs(2), "{waited:?} for {moved:?}");
        }
        clock.aim(Instant::now(), None);
        assert!(
            poll_fn(|ctx| Poll::Ready(clock.poll(ctx)))
                .await
                .is_pending()
        );
    }
}
