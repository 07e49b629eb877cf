//! What outlives the process that a session lives in: what its client set, and the servers' sessions behind it.
//!
//! Written a moment after it changes, many at once; that a session has ended is written before its client hears it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use auth::Purpose;
use http::HeaderValue;
use protocol::mcp::Version;
use resources::ServerId;
use serde::{Deserialize, Serialize};
use store::{SessionRecord, Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::{Session, SessionId};
use crate::clock::unix_now;
use crate::handles::{Handles, Incarnation};

/// Changes within this time are written together; a process that dies loses what is younger.
const SAVE_WAIT: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const SAVE_AGAIN_WAIT: Duration = Duration::from_secs(5);
/// How exactly the last use of a session is known to other replicas.
pub(crate) const LAST_USE_GRAIN: Duration = Duration::from_secs(600);
/// How often old records are removed.
const CLEAN_INTERVAL: Duration = Duration::from_secs(3600);
/// Sessions of dead processes whose present owner is remembered.
const OWNERS_MAX: usize = 10_000;
/// The longest details of one session before they are sealed, in bytes; subscriptions beyond are lost when its process dies.
const DETAILS_BYTES_MAX: usize = 47 * 1024;

/// Keeps the records of the sessions of this process.
#[derive(Debug)]
pub(crate) struct Records {
    store: Store,
    handles: Arc<Handles>,
    /// What seconds of sessions are counted from.
    start: Instant,
    changed: Mutex<HashMap<SessionId, Weak<Session>>>,
    /// Who serves sessions of dead processes, as it was read last.
    owners: Mutex<HashMap<SessionId, Incarnation>>,
    bell: Notify,
}

/// What a record says beside times and owner.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    /// The log level the client wants, raw JSON.
    pub(crate) log_level: Option<Box<str>>,
    /// What the client subscribed to: as it calls it, at which server, and as that calls it.
    pub(crate) subscriptions: Vec<(Box<str>, Box<str>, Box<str>)>,
    /// The servers' sessions: at which server, by which id, in which revision.
    pub(crate) upstreams: Vec<Upstream>,
    /// Capabilities and client info that are too long for the handle.
    pub(crate) client: Option<(Box<str>, Box<str>)>,
}

impl Details {
    /// Whether something is left at this server.
    pub(crate) fn names(&self, server: &ServerId) -> bool {
        let subscribed = self.subscriptions.iter().map(|(_, at, _)| at);
        let open = self.upstreams.iter().map(|left| &left.server);
        subscribed.chain(open).any(|at| **at == *server.as_str())
    }
}

/// A server's session as another process left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upstream {
    pub(crate) server: Box<str>,
    pub(crate) id: Box<str>,
    pub(crate) version: Box<str>,
}

impl Upstream {
    /// The session as it is said to the server.
    pub(super) fn parsed(&self) -> Option<(HeaderValue, Version)> {
        let id = HeaderValue::from_str(&self.id).ok()?;
        Some((id, Version::parse(&self.version)?))
    }
}

/// A record of a session, read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Who serves it, or did.
    pub(crate) owner: Incarnation,
    /// When it was last used, to within [`LAST_USE_GRAIN`], in seconds since 1970.
    pub(crate) last_use: u64,
    /// Whether it has ended.
    pub(crate) ended: bool,
    details: Vec<u8>,
}

impl Read {
    /// What else it says; only for whom it was sealed.
    pub(crate) fn details(
        &self,
        handles: &Handles,
        caller: &auth::Caller,
        toolset: &str,
    ) -> Option<Details> {
        let plain = handles.open(Purpose::Record, caller, toolset, &self.details);
        serde_json::from_slice(&plain.ok()?).ok()
    }
}

impl Records {
    /// Records in a store; `start` is what the sessions count their seconds from.
    pub(crate) fn new(store: Store, handles: Arc<Handles>, start: Instant) -> Arc<Self> {
        Arc::new(Self {
            store,
            handles,
            start,
            changed: Mutex::default(),
            owners: Mutex::default(),
            bell: Notify::new(),
        })
    }

    /// Writes what has changed, again and again.
    pub(crate) async fn follow(self: Arc<Self>) {
        #[expect(clippy::infinite_loop, reason = "ends with the gateway's tasks")]
        loop {
            self.bell.notified().await;
            sleep(SAVE_WAIT).await;
            if let Err(error) = self.save().await {
                tracing::warn!(%error, "records of sessions could not be written; it is tried again");
                sleep(SAVE_AGAIN_WAIT).await;
                self.bell.notify_one();
            }
        }
    }

    /// Writes what has changed now.
    pub(crate) async fn save(&self) -> Result<(), StoreError> {
        let changed = std::mem::take(&mut *self.changed());
        let sessions: Vec<Arc<Session>> =
            changed.into_values().filter_map(|s| s.upgrade()).collect();
        let lasting = sessions.iter().filter(|session| !session.has_ended());
        let records: Vec<SessionRecord> = lasting.map(|session| self.record(session)).collect();
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len();
        let saved = self.store.save_sessions(records).await;
        if saved.is_err() {
            let mut changed = self.changed();
            for session in sessions {
                changed.insert(session.id, Arc::downgrade(&session));
            }
        }
        if saved.is_ok() {
            tracing::debug!(count, "records of sessions are written");
        }
        saved
    }

    /// Writes one session now: who serves it is known when this returns.
    pub(crate) async fn save_now(&self, session: &Session) -> Result<(), StoreError> {
        self.store.save_sessions(vec![self.record(session)]).await
    }

    /// The session's record, if there is one.
    pub(crate) async fn read(&self, id: SessionId) -> Result<Option<Read>, StoreError> {
        let found = self.store.load_session(&id.0).await?;
        if let Some(record) = &found {
            let mut owners = self.owners();
            if owners.len() >= OWNERS_MAX {
                owners.clear();
            }
            owners.insert(id, Incarnation(record.owner));
        }
        Ok(found.map(|record| Read {
            owner: Incarnation(record.owner),
            last_use: record.last_use,
            ended: record.ended,
            details: record.details,
        }))
    }

    /// Who serves a session, as it was read last; worth nothing when that one is dead.
    pub(crate) fn known_owner(&self, id: SessionId) -> Option<Incarnation> {
        self.owners().get(&id).copied()
    }

    /// A session has ended, for every replica and for good.
    pub(crate) async fn end(&self, session: &Session) -> Result<(), StoreError> {
        self.changed().remove(&session.id);
        self.store
            .end_session(session.id.0, session.expires_at)
            .await
    }

    /// Removes the records of sessions that nobody can use any more, again and again.
    pub(crate) async fn clean(self: Arc<Self>) {
        #[expect(clippy::infinite_loop, reason = "ends with the gateway's tasks")]
        loop {
            let swept = self.store.sweep_sessions(unix_now().as_secs()).await;
            if let Err(error) = swept {
                tracing::warn!(%error, "old records of sessions could not be removed");
            }
            sleep(CLEAN_INTERVAL).await;
        }
    }

    pub(super) fn note(&self, id: SessionId, session: Weak<Session>) {
        self.changed().insert(id, session);
        self.bell.notify_one();
    }

    fn record(&self, session: &Session) -> SessionRecord {
        let idle = self
            .start
            .elapsed()
            .as_secs()
            .saturating_sub(session.used.load(Ordering::Relaxed));
        let plain = fitting(session.details());
        let details = self
            .handles
            .seal(Purpose::Record, &session.caller, &session.toolset, &plain);
        SessionRecord {
            uid: session.id.0,
            owner: self.handles.own().0,
            expires_at: session.expires_at,
            last_use: unix_now().as_secs().saturating_sub(idle),
            ended: false,
            details: details.into_bytes(),
        }
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<SessionId, Incarnation>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> MutexGuard<'_, HashMap<SessionId, Weak<Session>>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The details as they are stored; what does not fit of the subscriptions is left out.
fn fitting(mut details: Details) -> Vec<u8> {
    loop {
        let plain = serde_json::to_vec(&details).expect("texts can be written as JSON");
        if plain.len() <= DETAILS_BYTES_MAX || details.subscriptions.is_empty() {
            return plain;
        }
        let half = details.subscriptions.len() / 2;
        tracing::warn!(
            kept = half,
            "a session has more subscriptions than its record can hold"
        );
        details.subscriptions.truncate(half);
    }
}

impl Session {
    /// Something changed that another process must know to adopt it.
    pub(super) fn changed(&self) {
        // A line and its session end together: nobody can adopt it.
        if let Some(records) = &self.records
            && !self.on_line.load(Ordering::Relaxed)
        {
            records.note(self.id, self.me.clone());
        }
    }

    fn details(&self) -> Details {
        let state = self.state();
        let subscriptions = state.subscriptions.iter();
        let sealed = super::handle::fits(&self.capabilities, &self.client_info);
        let mut details = Details {
            log_level: state.log_level.clone(),
            subscriptions: subscriptions
                .map(|known| {
                    let server = known.server.as_str().into();
                    (known.shown.clone(), server, known.own.clone())
                })
                .collect(),
            // Those that were not used since are still there.
            upstreams: state.former.clone(),
            client: (!sealed).then(|| (self.capabilities.clone(), self.client_info.clone())),
        };
        let legs = state.legs.iter().filter(|leg| leg.exclusive);
        details.upstreams.extend(legs.filter_map(|leg| leg.left()));
        details
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_that_are_too_long_lose_subscriptions_only() {
        let long: Box<str> = "x".repeat(1000).into();
        let details = Details {
            log_level: Some("\"info\"".into()),
            subscriptions: vec![(long.clone(), "a".into(), long); 100],
            ..Details::default()
        };
        let plain = fitting(details.clone());
        assert!(plain.len() <= DETAILS_BYTES_MAX);
        let read: Details = serde_json::from_slice(&plain).unwrap();
        assert_eq!(read.log_level, details.log_level);
        assert!(read.subscriptions.len() > 10);
    }
}
