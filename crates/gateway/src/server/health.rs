//! The circuit breaker of one server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::json_rpc::Message;
use tokio::time::Instant;

use crate::failure::UpstreamFailure;
use crate::upstream::Answer;

/// So many failures in a row open the breaker.
const FAILURES_MAX: u32 = 5;
/// The first rest; each further failure doubles it.
const REST_FIRST: Duration = Duration::from_secs(1);
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(30);

/// Counts failures in a row; past a limit, calls are refused for a while instead of waiting in vain.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: AtomicU32,
    outage: Mutex<Option<Outage>>,
}

#[derive(Debug, Clone)]
struct Outage {
    since: Instant,
    until: Instant,
    reason: String,
}

impl Health {
    /// Whether a call may be tried now.
    pub(crate) fn admit(&self, server: &Arc<str>) -> Result<(), UpstreamFailure> {
        if self.failures.load(Ordering::Relaxed) < FAILURES_MAX {
            return Ok(());
        }
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = outage.as_mut() else {
            return Ok(());
        };
        let now = Instant::now();
        if now >= known.until {
            // One call may try; the others wait for its outcome.
            known.until = now + REST_FIRST;
            return Ok(());
        }
        Err(UpstreamFailure::Resting {
            server: server.clone(),
            reason: known.reason.clone(),
            for_secs: now.duration_since(known.since).as_secs(),
            again_secs: known.until.duration_since(now).as_secs() + 1,
        })
    }

    /// Learns from an outcome.
    pub(crate) fn note<T>(&self, outcome: &Result<T, UpstreamFailure>) {
        match outcome {
            Ok(_) => self.well(),
            Err(failure) if failure.is_outage() => self.failed(failure),
            Err(_) => {}
        }
    }

    /// Learns from the outcome of a call: a status of 500 and more without a message is no answer of the server's.
    pub(crate) fn note_call(&self, server: &Arc<str>, outcome: &Result<Answer, UpstreamFailure>) {
        match outcome {
            Ok(Answer::Failed { status, body })
                if *status >= 500 && Message::parse(body.clone()).is_err() =>
            {
                self.failed(&UpstreamFailure::Status {
                    server: server.clone(),
                    status: *status,
                    body: String::new(),
                });
            }
            outcome => self.note(outcome),
        }
    }

    /// The server answered.
    pub(crate) fn well(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn failed(&self, failure: &UpstreamFailure) {
        let count = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        let doublings = count.saturating_sub(FAILURES_MAX).min(5);
        let rest = (REST_FIRST * 2_u32.pow(doublings)).min(REST_MAX);
        let now = Instant::now();
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let since = outage.as_ref().map_or(now, |known| known.since);
        *outage = Some(Outage {
            since,
            until: now + rest,
            reason: failure.to_string(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> Result<(), UpstreamFailure> {
        Err(UpstreamFailure::Unreachable {
            server: "a".into(),
            reason: "refused".to_owned(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_opens_after_failures_and_closes_on_success() {
        let (health, server) = (Health::default(), Arc::from("a"));
        for _ in 0..FAILURES_MAX {
            assert!(health.admit(&server).is_ok());
            health.note(&unreachable());
        }
        assert!(matches!(
            health.admit(&server),
            Err(UpstreamFailure::Resting { .. })
        ));
        tokio::time::advance(REST_FIRST).await;
        assert!(health.admit(&server).is_ok(), "one call may try");
        assert!(health.admit(&server).is_err(), "but only one");
        health.note(&Ok(()));
        assert!(health.admit(&server).is_ok());
    }
}
