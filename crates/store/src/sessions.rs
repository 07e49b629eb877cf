//! The small records of sessions.

use std::fmt::Write as _;
use std::sync::LazyLock;

use crate::StoreError;
use crate::engine::{Engine, on};
use crate::keys::{signed, unsigned};

/// Bytes of a session's unique id.
pub const UID_BYTES: usize = 16;
/// Bytes of a boot incarnation.
pub const OWNER_BYTES: usize = 8;
/// The longest details of a session, in bytes.
pub const DETAILS_BYTES_MAX: usize = 64 * 1024;

/// What is stored of a session: what changes, and that it ended. All times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Which session.
    pub uid: [u8; UID_BYTES],
    /// The boot incarnation of the process that serves it.
    pub owner: [u8; OWNER_BYTES],
    /// Its absolute expiry.
    pub expires_at: u64,
    /// When it was last used.
    pub last_use: u64,
    /// Whether it ended; then it stays so.
    pub ended: bool,
    /// What else is to be kept; sealed by who saves it.
    pub details: Vec<u8>,
}

type Row = (Vec<u8>, Vec<u8>, i64, i64, bool, Vec<u8>);

const LOAD: &str = "SELECT uid, owner, expires_at, last_use, ended, details
     FROM marque_sessions WHERE uid = $1";
const SWEEP: &str = "DELETE FROM marque_sessions WHERE expires_at <= $1";
const SAVE: &str =
    "INSERT INTO marque_sessions (uid, owner, expires_at, last_use, ended, details) VALUES ";
const COLUMNS: usize = 6;
const SAVED_BEFORE: &str = " ON CONFLICT (uid) DO UPDATE SET
       owner = excluded.owner,
       expires_at = CASE WHEN marque_sessions.expires_at > excluded.expires_at
         THEN marque_sessions.expires_at ELSE excluded.expires_at END,
       last_use = CASE WHEN marque_sessions.last_use > excluded.last_use
         THEN marque_sessions.last_use ELSE excluded.last_use END,
       ended = excluded.ended,
       details = excluded.details
     WHERE NOT marque_sessions.ended";

/// Rows that are saved by one statement; few sizes, so that each is prepared once per connection.
const CHUNKS: [usize; 4] = [256, 32, 8, 1];
static SAVES: LazyLock<[String; CHUNKS.len()]> = LazyLock::new(|| CHUNKS.map(save_text));

impl SessionRecord {
    /// The end of a session.
    pub(crate) const fn end(uid: [u8; UID_BYTES], expires_at: u64) -> Self {
        Self {
            uid,
            owner: [0; OWNER_BYTES],
            expires_at,
            last_use: 0,
            ended: true,
            details: Vec::new(),
        }
    }

    fn read((uid, owner, expires_at, last_use, ended, details): Row) -> Result<Self, StoreError> {
        let corrupt = |_| StoreError::Corrupt("session");
        Ok(Self {
            uid: uid.try_into().map_err(corrupt)?,
            owner: owner.try_into().map_err(corrupt)?,
            expires_at: unsigned(expires_at),
            last_use: unsigned(last_use),
            ended,
            details,
        })
    }
}

/// Refuses what is too large to be stored.
pub(crate) fn check(records: &[SessionRecord]) -> Result<(), StoreError> {
    let longest = records.iter().map(|record| record.details.len()).max();
    match longest {
        Some(bytes) if bytes > DETAILS_BYTES_MAX => Err(StoreError::TooLarge {
            bytes,
            max: DETAILS_BYTES_MAX,
        }),
        _ => Ok(()),
    }
}

pub(crate) async fn load(
    engine: &Engine,
    uid: &[u8; UID_BYTES],
) -> Result<Option<SessionRecord>, StoreError> {
    let row: Option<Row> = on!(engine, pool => {
        sqlx::query_as(LOAD).bind(&uid[..]).fetch_optional(pool).await
    })
    .map_err(StoreError::failed("read a session"))?;
    row.map(SessionRecord::read).transpose()
}

pub(crate) async fn sweep(engine: &Engine, now: u64) -> Result<u64, StoreError> {
    on!(engine, pool => {
        sqlx::query(SWEEP).bind(signed(now)).execute(pool).await.map(|done| done.rows_affected())
    })
    .map_err(StoreError::failed("remove old sessions"))
}

/// Saves records, each session at most once, in one transaction.
///
/// They must be in the order of their ids: so two that write the same sessions wait for each other, and never both.
pub(crate) async fn save(engine: &Engine, records: &[SessionRecord]) -> Result<(), StoreError> {
    let failed = StoreError::failed("save sessions");
    let begin = engine.dialect().begin;
    on!(engine, pool => {
        let mut work = pool.begin_with(begin).await.map_err(&failed)?;
        let mut rest = records;
        for (rows, text) in CHUNKS.iter().zip(SAVES.iter()) {
            while let Some((chunk, others)) = rest.split_at_checked(*rows) {
                let mut query = sqlx::query(text.as_str());
                for record in chunk {
                    query = query
                        .bind(&record.uid[..])
                        .bind(&record.owner[..])
                        .bind(signed(record.expires_at))
                        .bind(signed(record.last_use))
                        .bind(record.ended)
                        .bind(&record.details[..]);
                }
                query.execute(&mut *work).await.map_err(&failed)?;
                rest = others;
            }
        }
        work.commit().await.map_err(&failed)
    })
}

fn save_text(rows: usize) -> String {
    let mut text = SAVE.to_owned();
    for row in 0..rows {
        let at = row * COLUMNS;
        let comma = if row == 0 { "" } else { ", " };
        write!(
            text,
            "{comma}(${}, ${}, ${}, ${}, ${}, ${})",
            at + 1,
            at + 2,
            at + 3,
            at + 4,
            at + 5,
            at + 6
        )
        .expect("writing to a string cannot fail");
    }
    text + SAVED_BEFORE
}
