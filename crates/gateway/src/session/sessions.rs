//! All legacy sessions of this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::{Client, Session};
use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::table::Epochs;

/// Sessions open at once.
pub(crate) const SESSIONS_MAX: usize = 100_000;
/// A session ends when it was not used for this long.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// A session ends after this long, used or not, unless it belongs to an open line.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(24 * 3600);
const SHARDS: usize = 16;

/// 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) [u8; 16]);

impl SessionId {
    fn fresh() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        Self(bytes)
    }

    /// The id as it stands in `Mcp-Session-Id`: visible ASCII.
    pub(crate) fn text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; 16];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (length == bytes.len()).then_some(Self(bytes))
    }
}

/// An id opens nothing by itself, but it does not belong in a log either.
impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x}{:02x}…", self.0[0], self.0[1])
    }
}

/// All legacy sessions of this process.
#[derive(Debug)]
pub(crate) struct Sessions {
    shards: [Mutex<HashMap<SessionId, Arc<Session>>>; SHARDS],
    count: AtomicUsize,
    start: Instant,
}

impl Sessions {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            shards: Default::default(),
            count: AtomicUsize::new(0),
            start: Instant::now(),
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`Refusal::TooManySessions`].
    pub(crate) fn open(
        &self,
        caller: Caller,
        toolset: Arc<str>,
        client: Client,
        heard: Epochs,
    ) -> Result<Arc<Session>, Refusal> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= SESSIONS_MAX {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::TooManySessions(SESSIONS_MAX));
        }
        let now = self.now();
        let session = Arc::new(Session {
            id: SessionId::fresh(),
            caller,
            toolset,
            version: client.version,
            capabilities: client.capabilities,
            client_info: client.client_info,
            used: now.into(),
            opened: now,
            on_line: AtomicBool::new(false),
            heard: Arc::new(Mutex::new(heard)),
            state: Mutex::default(),
            following: tokio::sync::Mutex::default(),
        });
        self.shard(session.id).insert(session.id, session.clone());
        Ok(session)
    }

    /// The session with this id, if it is this caller's and this toolset's.
    ///
    /// # Errors
    /// [`Refusal::UnknownSession`], whichever it is not.
    pub(crate) fn find(
        &self,
        id: &[u8],
        caller: &Caller,
        toolset: &str,
    ) -> Result<Arc<Session>, Refusal> {
        let id = SessionId::parse(id).ok_or(Refusal::UnknownSession)?;
        let session = self
            .shard(id)
            .get(&id)
            .cloned()
            .ok_or(Refusal::UnknownSession)?;
        let now = self.now();
        if session.caller != *caller || *session.toolset != *toolset || is_over(&session, now) {
            return Err(Refusal::UnknownSession);
        }
        session.touch(now);
        Ok(session)
    }

    /// Ends a session.
    pub(crate) fn close(&self, session: &Session) {
        session.close();
        if self.shard(session.id).remove(&session.id).is_some() {
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
                    .values()
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
            .flat_map(|shard| shard.values().cloned().collect::<Vec<_>>())
            .collect()
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    fn shard(&self, id: SessionId) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.shards[usize::from(id.0[0]) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(session: &Session, now: u64) -> bool {
    let idle = now.saturating_sub(session.used.load(Ordering::Relaxed));
    // An open stream is use, and so is a call whose client is away.
    (idle > IDLE_MAX.as_secs() && !session.is_in_use())
        || (now.saturating_sub(session.opened) > AGE_MAX.as_secs()
            && !session.on_line.load(Ordering::Relaxed))
}
