//! All legacy sessions of this process.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::identify::Caller;
use crate::refuse::Refusal;

/// Sessions open at once.
pub(crate) const SESSIONS_MAX: usize = 100_000;
/// A session ends when it was not used for this long.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// A session ends after this long, used or not, unless it belongs to an open line.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
const SHARDS: usize = 16;

/// All legacy sessions of this process.
#[derive(Debug)]
pub(crate) struct Sessions {
    shards: [Mutex<HashSet<ByHandle>>; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
    start: Instant,
}

impl Sessions {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            start: Instant::now(),
        }
    }

    /// Takes a session in, if it is not here already; gives the one that is here.
    ///
    /// # Errors
    /// [`Refusal::TooManySessions`].
    pub(crate) fn take_in(&self, session: Arc<Session>) -> Result<Arc<Session>, Refusal> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= SESSIONS_MAX {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::TooManySessions(SESSIONS_MAX));
        }
        let mut shard = self.shard(&session.handle);
        if let Some(ByHandle(known)) = shard.get(&*session.handle) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Ok(known.clone());
        }
        shard.insert(ByHandle(session.clone()));
        Ok(session)
    }

    /// Whether a session of this process has this handle, whosever it is.
    pub(crate) fn knows(&self, handle: &[u8]) -> bool {
        std::str::from_utf8(handle).is_ok_and(|handle| self.shard(handle).contains(handle))
    }

    /// The session with this handle, if it is here and its time is not over.
    ///
    /// A known handle is not opened again: it is the very text that was sealed for the session's caller.
    ///
    /// # Errors
    /// [`Refusal::UnknownSession`] when it is another caller's, another toolset's, or over.
    pub(crate) fn find(
        &self,
        handle: &[u8],
        caller: &Caller,
        toolset: &str,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        let handle = std::str::from_utf8(handle).map_err(|_| Refusal::UnknownSession)?;
        let known = self.shard(handle).get(handle).map(|known| known.0.clone());
        let Some(session) = known else {
            return Ok(None);
        };
        let now = self.now();
        if session.caller != *caller || *session.toolset != *toolset || is_over(&session, now) {
            return Err(Refusal::UnknownSession);
        }
        session.touch(now);
        Ok(Some(session))
    }

    /// Ends a session.
    pub(crate) fn close(&self, session: &Session) {
        session.close();
        if self.shard(&session.handle).remove(&*session.handle) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes out the sessions whose time is over.
    pub(crate) fn expire(&self) -> Vec<Arc<Session>> {
        let now = self.now();
        let over: Vec<Arc<Session>> = self
            .shards
            .iter()
            .flat_map(|shard| {
                let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                shard
                    .iter()
                    .map(|known| &known.0)
                    .filter(|session| is_over(session, now))
                    .cloned()
                    .collect::<Vec<_>>()
            })
            .collect();
        for session in &over {
            self.close(session);
        }
        over
    }

    /// All of them, for the end.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let shards = self
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards
            .flat_map(|shard| {
                let known = shard.iter().map(|known| known.0.clone());
                known.collect::<Vec<_>>()
            })
            .collect()
    }

    /// What seconds are counted from.
    pub(crate) const fn start(&self) -> Instant {
        self.start
    }

    /// Seconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    fn shard(&self, handle: &str) -> MutexGuard<'_, HashSet<ByHandle>> {
        let [first, ..] = self.hasher.hash_one(handle).to_be_bytes();
        self.shards[usize::from(first) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session, found by the text of its handle.
#[derive(Debug)]
struct ByHandle(Arc<Session>);

impl Borrow<str> for ByHandle {
    fn borrow(&self) -> &str {
        &self.0.handle
    }
}

impl Hash for ByHandle {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.handle.hash(state);
    }
}

impl PartialEq for ByHandle {
    fn eq(&self, other: &Self) -> bool {
        self.0.handle == other.0.handle
    }
}

impl Eq for ByHandle {}

fn is_over(session: &Session, now: u64) -> bool {
    let idle = now.saturating_sub(session.used.load(Ordering::Relaxed));
    // An open stream is use, and so is a call whose client is away.
    (idle > IDLE_MAX.as_secs() && !session.is_in_use())
        || (now >= session.ends && !session.on_line.load(Ordering::Relaxed))
}
