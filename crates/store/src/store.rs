//! The store as others see it.

use std::sync::Arc;

use crate::engine::{Engine, Place, on};
use crate::keys::{self, KeyRecord};
use crate::sessions::{self, SessionRecord, UID_BYTES};
use crate::wait::bounded;
use crate::writer::Writer;
use crate::{StoreError, schema};

/// What survives a restart and what replicas share. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct Store {
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    engine: Arc<Engine>,
    writer: Writer,
    shown: String,
}

impl Store {
    /// Opens `sqlite:PATH`, `sqlite::memory:` or `postgres://…`, and creates what is missing in it.
    ///
    /// A new file can be read and written by its owner only.
    ///
    /// # Errors
    /// When the URL is wrong, the database cannot be reached, or a newer program has changed its tables.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let place = Place::parse(url)?;
        let shown = place.shown();
        let engine = Arc::new(bounded(Engine::open(&place)).await?);
        bounded(schema::migrate(&engine, &shown)).await?;
        let writer = Writer::start(engine.clone());
        Ok(Self {
            open: Arc::new(Open {
                engine,
                writer,
                shown,
            }),
        })
    }

    /// Where it is, for people: without user and password.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.open.shown
    }

    /// The database's clock, in unix seconds.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn now(&self) -> Result<u64, StoreError> {
        let engine = &*self.open.engine;
        let failed = StoreError::failed("read its clock");
        let clock = engine.dialect().now;
        let now: i64 = bounded(async {
            on!(engine, pool => sqlx::query_scalar(clock).fetch_one(pool).await).map_err(failed)
        })
        .await?;
        u64::try_from(now).map_err(|_| StoreError::Corrupt("clock before 1970"))
    }

    /// Writes what is queued, then closes. Later calls on any clone fail with [`StoreError::Closed`].
    pub async fn close(&self) {
        self.open.writer.close().await;
        self.open.engine.close().await;
    }
}

/// API keys.
impl Store {
    /// Adds a key; it is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] when a key that is neither revoked nor, at `now`, expired has its name, and [`StoreError::TooManyKeys`].
    pub async fn add_key(&self, key: KeyRecord, now: u64) -> Result<(), StoreError> {
        bounded(keys::add(&self.open.engine, &key, now)).await
    }

    /// All keys, also revoked and expired ones, in the order of their creation, and of their names where that is the same second.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        bounded(keys::all(&self.open.engine)).await
    }

    /// The keys that are not revoked, in no order; whether they have expired is for the reader's clock.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn living_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        bounded(keys::living(&self.open.engine)).await
    }

    /// Revokes the key that has this id, or the one living key that has this name.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`], and [`StoreError::AlreadyRevoked`].
    pub async fn revoke_key(&self, name_or_id: &str, now: u64) -> Result<KeyRecord, StoreError> {
        bounded(keys::revoke(&self.open.engine, name_or_id, now)).await
    }
}

/// Sessions.
impl Store {
    /// The record of a session, also of an ended one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load_session(
        &self,
        uid: &[u8; UID_BYTES],
    ) -> Result<Option<SessionRecord>, StoreError> {
        bounded(sessions::load(&self.open.engine, uid)).await
    }

    /// Saves records: all of one call in one transaction, together with those of others.
    ///
    /// One that ended stays as it is, and neither last use nor expiry ever goes back.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], and when the database does not answer.
    ///
    /// # Cancellation
    /// What was handed over is written all the same.
    pub async fn save_sessions(&self, records: Vec<SessionRecord>) -> Result<(), StoreError> {
        sessions::check(&records)?;
        bounded(self.open.writer.write(records)).await
    }

    /// Ends a session for good, whether it was ever saved or not; every replica sees it when this returns, and it is on disk.
    ///
    /// `expires_at` is the session's absolute expiry: until then the end is remembered.
    ///
    /// # Errors
    /// When the database does not answer.
    ///
    /// # Cancellation
    /// What was handed over is written all the same.
    pub async fn end_session(
        &self,
        uid: [u8; UID_BYTES],
        expires_at: u64,
    ) -> Result<(), StoreError> {
        let end = SessionRecord::end(uid, expires_at);
        bounded(self.open.writer.write(vec![end])).await
    }

    /// Removes the records whose absolute expiry is not after `now`, ended or not; says how many.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn sweep_sessions(&self, now: u64) -> Result<u64, StoreError> {
        bounded(sessions::sweep(&self.open.engine, now)).await
    }
}
