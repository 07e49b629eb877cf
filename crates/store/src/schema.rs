//! The tables, and how older ones become today's.

use sqlx::AssertSqlSafe;

use crate::StoreError;
use crate::engine::{Engine, on};

/// Each brings the tables one version further; what was released is never changed, only followed.
const MIGRATIONS: &[&str] = &[
    // 1: API keys and sessions.
    "CREATE TABLE marque_keys (
       id TEXT PRIMARY KEY,
       name TEXT NOT NULL,
       hash {bytes} NOT NULL UNIQUE,
       created BIGINT NOT NULL,
       expires BIGINT,
       revoked BIGINT
     );
     CREATE UNIQUE INDEX marque_keys_name ON marque_keys (name) WHERE revoked IS NULL;
     CREATE TABLE marque_sessions (
       uid {bytes} PRIMARY KEY,
       owner {bytes} NOT NULL,
       expires_at BIGINT NOT NULL,
       last_use BIGINT NOT NULL,
       ended BOOLEAN NOT NULL,
       details {bytes} NOT NULL
     );
     CREATE INDEX marque_sessions_expiry ON marque_sessions (expires_at);",
];

const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS marque_schema (version BIGINT PRIMARY KEY, migrated BIGINT NOT NULL)";
const FOUND: &str = "SELECT COALESCE(MAX(version), 0) FROM marque_schema";
const REACHED: &str = "INSERT INTO marque_schema (version, migrated) VALUES ($1, $2)";

/// Brings the tables to today's version, or refuses those of a newer program. One process at a time does it.
pub(crate) async fn migrate(engine: &Engine, store: &str) -> Result<(), StoreError> {
    let failed = StoreError::failed("prepare its tables");
    let dialect = engine.dialect();
    on!(engine, pool => {
        let mut work = pool.begin_with(dialect.begin).await.map_err(&failed)?;
        sqlx::raw_sql(dialect.lock_schema).execute(&mut *work).await.map_err(&failed)?;
        sqlx::raw_sql(VERSIONS).execute(&mut *work).await.map_err(&failed)?;
        let found: i64 = sqlx::query_scalar(FOUND).fetch_one(&mut *work).await.map_err(&failed)?;
        let now: i64 = sqlx::query_scalar(dialect.now).fetch_one(&mut *work).await.map_err(&failed)?;
        for (version, step) in pending(found, store)? {
            let step = step.replace("{bytes}", dialect.bytes);
            sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *work).await.map_err(&failed)?;
            sqlx::query(REACHED).bind(version).bind(now).execute(&mut *work).await.map_err(&failed)?;
        }
        work.commit().await.map_err(&failed)
    })
}

/// The steps that are still to do, with the version each reaches.
fn pending(
    found: i64,
    store: &str,
) -> Result<impl Iterator<Item = (i64, &'static str)>, StoreError> {
    let known = i64::try_from(MIGRATIONS.len()).expect("a list in the source is short");
    if found > known {
        return Err(StoreError::Newer {
            store: store.to_owned(),
            found,
            known,
        });
    }
    Ok((1..)
        .zip(MIGRATIONS.iter().copied())
        .filter(move |(version, _)| *version > found))
}
