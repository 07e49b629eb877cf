//! What can go wrong with the store, by who must act.

/// What can go wrong with the store. No text carries a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The URL is of no kind we know. For the operator.
    #[error("store URL: {reason}; write `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be opened. For the operator.
    #[error("store `{store}` cannot be opened: {reason}")]
    Open {
        /// Which store.
        store: String,
        /// Why.
        reason: String,
    },
    /// A newer program has changed its tables. For the operator.
    #[error(
        "store `{store}` has schema version {found}, and this program knows versions up to {known}; use the newer marque that changed it"
    )]
    Newer {
        /// Which store.
        store: String,
        /// The version found.
        found: i64,
        /// The newest version we know.
        known: i64,
    },
    /// A living key has this name already. For the caller.
    #[error("there is a key named `{0}` already; revoke it first, or choose another name")]
    NameTaken(String),
    /// There are as many living keys as there may be. For the operator.
    #[error("there are {0} living keys, and no more are kept; revoke some")]
    TooManyKeys(i64),
    /// No key has this name or id. For the caller.
    #[error("there is no key named `{0}`; `marque keys list` shows them all")]
    NoSuchKey(String),
    /// The key was revoked before. For the caller.
    #[error("key `{0}` is revoked already")]
    AlreadyRevoked(String),
    /// A record is longer than its limit. For us.
    #[error("the details of a session are {bytes} bytes, and at most {max} are stored")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// It did not answer in time; what was asked for may have happened or not. For the operator.
    #[error("the store did not answer in time")]
    Slow,
    /// It was closed. For us.
    #[error("the store is closed")]
    Closed,
    /// The engine reports a failure. For the operator.
    #[error("the store could not {doing}: {reason}")]
    Failed {
        /// What it was asked for.
        doing: &'static str,
        /// What it says.
        reason: String,
    },
    /// A row is not what we write. For the operator.
    #[error("the store holds a {0} that this program did not write; was the table edited by hand?")]
    Corrupt(&'static str),
}

impl StoreError {
    /// What to make of an engine's error while something was done.
    pub(crate) fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| match error {
            sqlx::Error::PoolTimedOut => Self::Slow,
            sqlx::Error::PoolClosed => Self::Closed,
            other => Self::Failed {
                doing,
                reason: other.to_string(),
            },
        }
    }
}
