//! API keys: names, times, and hashes. The keys themselves never come here.

use sqlx::AssertSqlSafe;

use crate::StoreError;
use crate::engine::{Engine, on};

/// Living keys in one store; beyond, none is added.
const KEYS_MAX: i64 = 10_000;
/// Keys that are listed; beyond, the oldest are left out.
const LISTED_KEYS_MAX: i64 = 100_000;

/// What is known of an API key. All times in unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// Unique for all time.
    pub id: String,
    /// The name its owner gave it, unique among living keys.
    pub name: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// When it was made.
    pub created: u64,
    /// From when on it is no longer accepted.
    pub expires: Option<u64>,
    /// When it was revoked.
    pub revoked: Option<u64>,
}

type Row = (String, String, Vec<u8>, i64, Option<i64>, Option<i64>);

/// A key that has expired gives its name up to the next of that name.
const FREE_NAME: &str = "UPDATE marque_keys SET revoked = expires
     WHERE name = $1 AND revoked IS NULL AND expires <= $2";
const ADD: &str = "INSERT INTO marque_keys (id, name, hash, created, expires, revoked)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (name) WHERE revoked IS NULL DO NOTHING";
const ALL: &str = "SELECT id, name, hash, created, expires, revoked FROM marque_keys";
const LIVING: &str = "SELECT id, name, hash, created, expires, revoked FROM marque_keys
     WHERE revoked IS NULL";
const COUNT: &str = "SELECT COUNT(*) FROM marque_keys WHERE revoked IS NULL";
const REVOKE: &str = "UPDATE marque_keys SET revoked = $2 WHERE id = $1 AND revoked IS NULL";

pub(crate) async fn add(engine: &Engine, key: &KeyRecord, now: u64) -> Result<(), StoreError> {
    let failed = StoreError::failed("add a key");
    let begin = engine.dialect().begin;
    let added = on!(engine, pool => {
        let mut work = pool.begin_with(begin).await.map_err(&failed)?;
        sqlx::query(FREE_NAME)
            .bind(&key.name)
            .bind(signed(now))
            .execute(&mut *work)
            .await
            .map_err(&failed)?;
        let living: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut *work).await.map_err(&failed)?;
        if living >= KEYS_MAX {
            return Err(StoreError::TooManyKeys(KEYS_MAX));
        }
        let added = sqlx::query(ADD)
            .bind(&key.id)
            .bind(&key.name)
            .bind(&key.hash[..])
            .bind(signed(key.created))
            .bind(key.expires.map(signed))
            .bind(key.revoked.map(signed))
            .execute(&mut *work)
            .await
            .map_err(&failed)?
            .rows_affected();
        work.commit().await.map_err(&failed)?;
        added
    });
    if added == 0 {
        return Err(StoreError::NameTaken(key.name.clone()));
    }
    Ok(())
}

pub(crate) async fn all(engine: &Engine) -> Result<Vec<KeyRecord>, StoreError> {
    let failed = StoreError::failed("read its keys");
    let text = format!("{ALL} ORDER BY created DESC, name DESC, id DESC LIMIT {LISTED_KEYS_MAX}");
    let rows: Vec<Row> = on!(engine, pool => {
        sqlx::query_as(AssertSqlSafe(text)).fetch_all(pool).await
    })
    .map_err(failed)?;
    rows.into_iter().rev().map(KeyRecord::read).collect()
}

pub(crate) async fn living(engine: &Engine) -> Result<Vec<KeyRecord>, StoreError> {
    let rows: Vec<Row> = on!(engine, pool => sqlx::query_as(LIVING).fetch_all(pool).await)
        .map_err(StoreError::failed("read its keys"))?;
    rows.into_iter().map(KeyRecord::read).collect()
}

pub(crate) async fn revoke(
    engine: &Engine,
    name_or_id: &str,
    now: u64,
) -> Result<KeyRecord, StoreError> {
    let failed = StoreError::failed("revoke a key");
    let text = format!("{ALL} WHERE id = $1 OR name = $1");
    let rows: Vec<Row> = on!(engine, pool => {
        sqlx::query_as(AssertSqlSafe(text)).bind(name_or_id).fetch_all(pool).await
    })
    .map_err(&failed)?;
    let found: Result<Vec<KeyRecord>, _> = rows.into_iter().map(KeyRecord::read).collect();
    let found = found?;
    if found.is_empty() {
        return Err(StoreError::NoSuchKey(name_or_id.to_owned()));
    }
    let meant = found.iter().find(|key| key.id == name_or_id);
    let meant = meant.or_else(|| found.iter().find(|key| key.revoked.is_none()));
    let revoked_already = || StoreError::AlreadyRevoked(name_or_id.to_owned());
    let key = meant.ok_or_else(revoked_already)?;
    let changed = on!(engine, pool => {
        sqlx::query(REVOKE).bind(&key.id).bind(signed(now)).execute(pool).await.map(|done| done.rows_affected())
    })
    .map_err(failed)?;
    if changed == 0 {
        return Err(revoked_already());
    }
    Ok(KeyRecord {
        revoked: Some(now),
        ..key.clone()
    })
}

impl KeyRecord {
    fn read((id, name, hash, created, expires, revoked): Row) -> Result<Self, StoreError> {
        Ok(Self {
            id,
            name,
            hash: hash.try_into().map_err(|_| StoreError::Corrupt("key"))?,
            created: unsigned(created),
            expires: expires.map(unsigned),
            revoked: revoked.map(unsigned),
        })
    }
}

/// As the engines store numbers; what is beyond is as good as never.
pub(crate) fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// A time before 1970 is long over.
pub(crate) fn unsigned(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0)
}
