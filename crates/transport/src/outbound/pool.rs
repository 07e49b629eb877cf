//! The connections of one target: how many are in use, and which are at rest.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::http1::Link;
use super::{Failure, TargetLimits, http2};

/// How often connections at rest are looked after, at most.
const SWEEP_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The connections of one target.
pub(super) struct Pool {
    pub(super) server: Arc<str>,
    pub(super) limits: TargetLimits,
    state: Mutex<State>,
    freed: [Notify; 2],
}

#[derive(Default)]
struct State {
    /// HTTP/1 connections at rest, the latest used last. The boxes move between here and the calls.
    idle: VecDeque<Box<Link>>,
    /// HTTP/2: one connection for all calls.
    shared: Option<http2::Sender>,
    /// Calls under way, and streams open.
    in_use: [usize; 2],
    /// Those that wait for one to end.
    waiting: [usize; 2],
    /// The sweeper, and what drives the HTTP/2 connection.
    tasks: JoinSet<()>,
    sweeping: bool,
}

/// What a lease is for. A stream may rest for hours and must not take the place of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Call,
    Stream,
}

impl Use {
    const fn name(self) -> &'static str {
        match self {
            Self::Call => "calls",
            Self::Stream => "streams",
        }
    }
}

/// The right to one call or stream, with a connection if there was one at rest. Its drop closes the connection.
pub(super) struct Lease {
    pub(super) link: Option<Box<Link>>,
    pool: Option<Arc<Pool>>,
    used_for: Use,
}

impl Pool {
    pub(super) fn new(server: Arc<str>, limits: TargetLimits) -> Arc<Self> {
        Arc::new(Self {
            server,
            limits,
            state: Mutex::default(),
            freed: Default::default(),
        })
    }

    /// The right to one call or stream; waits, within the limit, while there are too many.
    pub(super) async fn lease(
        self: &Arc<Self>,
        now: Instant,
        used_for: Use,
    ) -> Result<Lease, Failure> {
        if let Some(lease) = self.try_lease(now, used_for) {
            return Ok(lease);
        }
        let waiting = Waiting::join(self, used_for);
        let wait = self.limits.call_wait;
        let lease = tokio::time::timeout(wait, waiting.lease()).await;
        lease.map_err(|_| Failure::Busy {
            server: Arc::clone(&self.server),
            what: used_for.name(),
            calls_max: self.most(used_for),
            wait,
        })
    }

    const fn most(&self, used_for: Use) -> usize {
        match used_for {
            Use::Call => self.limits.calls_max,
            Use::Stream => self.limits.streams_max,
        }
    }

    fn try_lease(self: &Arc<Self>, now: Instant, used_for: Use) -> Option<Lease> {
        let (link, aged) = {
            let mut state = self.state();
            if state.in_use[used_for as usize] >= self.most(used_for) {
                return None;
            }
            state.in_use[used_for as usize] += 1;
            match state.idle.pop_back() {
                Some(link) if link.is_aged(now, self.limits.idle_age) => {
                    // The others rest for longer still, though their servers may allow more.
                    (
                        None,
                        Some((
                            link,
                            state.take(|link| link.is_aged(now, self.limits.idle_age)),
                        )),
                    )
                }
                link => (link, None),
            }
        };
        // Closing sockets is not done under the lock.
        drop(aged);
        Some(Lease {
            link,
            pool: Some(Arc::clone(self)),
            used_for,
        })
    }

    /// The HTTP/2 connection, if there is one that still takes calls.
    pub(super) fn shared(&self) -> Option<http2::Sender> {
        self.state()
            .shared
            .as_ref()
            .filter(|sender| !sender.is_closed())
            .cloned()
    }

    /// Makes an HTTP/2 connection the one for all calls.
    pub(super) fn share(
        &self,
        sender: http2::Sender,
        driver: impl Future<Output = ()> + Send + 'static,
    ) {
        let mut state = self.state();
        while state.tasks.try_join_next().is_some() {}
        state.tasks.spawn(driver);
        state.shared = Some(sender);
    }

    /// Gives up the HTTP/2 connection: calls on it go on, new ones need another.
    pub(super) fn unshare(&self) {
        self.state().shared = None;
    }

    fn rest(self: &Arc<Self>, mut link: Box<Link>, used_for: Use) {
        link.rested_since = Instant::now();
        let surplus = {
            let mut state = self.state();
            state.in_use[used_for as usize] -= 1;
            if state.waiting[used_for as usize] > 0 {
                self.freed[used_for as usize].notify_one();
            }
            if !state.sweeping {
                state.sweeping = true;
                while state.tasks.try_join_next().is_some() {}
                state
                    .tasks
                    .spawn(sweep(Arc::downgrade(self), self.sweep_interval()));
            }
            state.idle.push_back(link);
            if state.idle.len() > self.limits.idle_max {
                state.idle.pop_front()
            } else {
                None
            }
        };
        drop(surplus);
    }

    fn release(&self, used_for: Use) {
        let mut state = self.state();
        state.in_use[used_for as usize] -= 1;
        if state.waiting[used_for as usize] > 0 {
            self.freed[used_for as usize].notify_one();
        }
    }

    fn sweep_interval(&self) -> Duration {
        (self.limits.idle_age / 2).max(SWEEP_INTERVAL_MIN)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the counts would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out the connections at rest that are not to be used any more.
    fn take(&mut self, mut is_over: impl FnMut(&mut Link) -> bool) -> VecDeque<Box<Link>> {
        let mut over = VecDeque::new();
        for mut link in std::mem::take(&mut self.idle) {
            if is_over(&mut link) {
                over.push_back(link);
            } else {
                self.idle.push_back(link);
            }
        }
        over
    }
}

/// Closes connections that have rested too long or were closed by the server, until none rests.
async fn sweep(pool: Weak<Pool>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        let now = Instant::now();
        let (over, done) = {
            let mut state = pool.state();
            let over =
                state.take(|link| link.is_aged(now, pool.limits.idle_age) || link.is_closed());
            state.sweeping = !state.idle.is_empty();
            (over, !state.sweeping)
        };
        drop(over);
        if done {
            return;
        }
    }
}

/// One call in the queue for a lease.
struct Waiting<'a>(&'a Arc<Pool>, Use);

impl<'a> Waiting<'a> {
    fn join(pool: &'a Arc<Pool>, used_for: Use) -> Self {
        pool.state().waiting[used_for as usize] += 1;
        Self(pool, used_for)
    }

    async fn lease(&self) -> Lease {
        loop {
            let freed = self.0.freed[self.1 as usize].notified();
            if let Some(lease) = self.0.try_lease(Instant::now(), self.1) {
                return lease;
            }
            freed.await;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting[self.1 as usize] -= 1;
    }
}

impl Lease {
    pub(super) fn pool(&self) -> &Pool {
        self.pool.as_ref().expect("only `rest` and `drop` take it")
    }

    pub(super) fn server(&self) -> Arc<str> {
        Arc::clone(&self.pool().server)
    }

    /// Ends the call and keeps its connection for another.
    pub(super) fn rest(mut self) {
        if let (Some(link), Some(pool)) = (self.link.take(), self.pool.take()) {
            pool.rest(link, self.used_for);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            // First the socket, then the right: else there could be one connection too many.
            self.link = None;
            pool.release(self.used_for);
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Pool")
            .field("server", &self.server)
            .field("idle", &state.idle.len())
            .field("in_use", &state.in_use)
            .finish_non_exhaustive()
    }
}
