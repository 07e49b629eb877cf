//! The living API keys of the store, in memory: a look-up costs one hash, and no lock.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use store::{KeyRecord, Store, StoreError};
use tokio::sync::watch;

use crate::{Caller, KeyHash};

/// How often the store is asked again: within this time, and what the question takes, a new or a revoked key is known everywhere.
pub const KEYS_REFRESH: Duration = Duration::from_secs(1);
/// How long keys are accepted without an answer of the store; then all are refused until it answers again.
pub const KEYS_STALE_MAX: Duration = Duration::from_secs(30);

/// Who holds which API key, as the store said a moment ago.
#[derive(Debug)]
pub struct KeyDirectory {
    known: ArcSwap<Known>,
    /// Fires when a key that was known is no longer.
    lost: watch::Sender<()>,
}

#[derive(Debug)]
struct Known {
    holders: HashMap<KeyHash, Holder>,
    /// When the key with this id ends, if it has an end.
    ends: HashMap<Arc<str>, Option<Instant>>,
    /// Until when this may be believed; without an end when there is no store that could say otherwise.
    believed_until: Option<Instant>,
}

#[derive(Debug)]
struct Holder {
    caller: Caller,
    ends: Option<Instant>,
}

/// Why a credential proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// No living key: never made, expired, or revoked. Which of them is nobody's business.
    #[error("the API key is not valid")]
    Invalid,
    /// The store has not answered for too long: whether the key still lives cannot be told.
    #[error("API keys cannot be checked at the moment")]
    Unknown,
}

impl KeyDirectory {
    /// No keys at all, for a gateway without a store.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            known: ArcSwap::from_pointee(Known {
                holders: HashMap::new(),
                ends: HashMap::new(),
                believed_until: None,
            }),
            lost: watch::Sender::new(()),
        }
    }

    /// The keys of a store as they are now.
    ///
    /// # Errors
    /// When the store does not say.
    pub async fn open(store: &Store) -> Result<Arc<Self>, StoreError> {
        let directory = Arc::new(Self::empty());
        directory.refresh(store).await?;
        Ok(directory)
    }

    /// Keeps up with the store for as long as somebody has the directory.
    pub async fn follow(directory: Weak<Self>, store: Store) {
        let mut answered = true;
        loop {
            tokio::time::sleep(KEYS_REFRESH).await;
            let Some(directory) = directory.upgrade() else {
                return;
            };
            let outcome = directory.refresh(&store).await;
            match &outcome {
                Err(error) if answered => {
                    let seconds = KEYS_STALE_MAX.as_secs();
                    tracing::warn!(%error, refused_after_seconds = seconds, "API keys cannot be read again");
                }
                Ok(()) if !answered => tracing::info!("API keys are read again"),
                Ok(()) | Err(_) => {}
            }
            answered = outcome.is_ok();
        }
    }

    async fn refresh(&self, store: &Store) -> Result<(), StoreError> {
        // Read before the question: what is known is at least as new as this.
        let asked = Instant::now();
        let (now, keys) = (store.now().await?, store.living_keys().await?);
        self.replace(&keys, now, asked);
        Ok(())
    }

    /// Takes over what the store said: its clock showed `now`, in unix seconds, not before `asked`.
    fn replace(&self, keys: &[KeyRecord], now: u64, asked: Instant) {
        let mut next = Known {
            holders: HashMap::with_capacity(keys.len()),
            ends: HashMap::with_capacity(keys.len()),
            believed_until: Some(asked + KEYS_STALE_MAX),
        };
        for key in keys.iter().filter(|key| key.revoked.is_none()) {
            let id: Arc<str> = key.id.as_str().into();
            let ends = end(key, now, asked);
            let caller = Caller::Key {
                id: id.clone(),
                name: key.name.as_str().into(),
            };
            next.ends.insert(id, ends);
            next.holders
                .insert(KeyHash(key.hash), Holder { caller, ends });
        }
        let next = Arc::new(next);
        let before = self.known.swap(next.clone());
        if before.ends.keys().any(|id| !next.ends.contains_key(id)) {
            self.lost.send_replace(());
        }
    }

    /// Waits until a caller that came in may no longer: its key has expired, or was revoked.
    pub async fn gone(&self, caller: &Caller) {
        let Caller::Key { id, .. } = caller else {
            return std::future::pending().await;
        };
        let mut lost = self.lost.subscribe();
        loop {
            let Some(ends) = self.known.load().ends.get(id).copied() else {
                return;
            };
            tokio::select! {
                // The sender lives in this directory, so it is not gone.
                _ = lost.changed() => {}
                () = until(ends) => return,
            }
        }
    }

    /// Whether a caller that another replica has let in may still come in here.
    ///
    /// # Errors
    /// As [`Self::caller`].
    pub fn still(&self, caller: &Caller, now: Instant) -> Result<(), NotAccepted> {
        let Caller::Key { id, .. } = caller else {
            return Ok(());
        };
        let known = self.known.load();
        known.believed(now)?;
        match known.ends.get(id) {
            Some(ends) if lives(*ends, now) => Ok(()),
            _ => Err(NotAccepted::Invalid),
        }
    }

    /// Who presents this text.
    ///
    /// # Errors
    /// [`NotAccepted`], which never turns into somebody anonymous.
    pub fn caller(&self, presented: &[u8], now: Instant) -> Result<Caller, NotAccepted> {
        let hash = KeyHash::of_presented(presented).ok_or(NotAccepted::Invalid)?;
        let known = self.known.load();
        known.believed(now)?;
        let holder = known.holders.get(&hash);
        holder
            .filter(|holder| lives(holder.ends, now))
            .map(|holder| holder.caller.clone())
            .ok_or(NotAccepted::Invalid)
    }
}

impl Known {
    fn believed(&self, now: Instant) -> Result<(), NotAccepted> {
        match self.believed_until {
            Some(until) if now >= until => Err(NotAccepted::Unknown),
            _ => Ok(()),
        }
    }
}

fn lives(ends: Option<Instant>, now: Instant) -> bool {
    ends.is_none_or(|ends| now < ends)
}

/// When a key ends by our clock, if the store's showed `now` not before `asked`. What lies beyond the end of time needs no end.
fn end(key: &KeyRecord, now: u64, asked: Instant) -> Option<Instant> {
    let left = key.expires?.saturating_sub(now);
    asked.checked_add(Duration::from_secs(left))
}

async fn until(ends: Option<Instant>) {
    match ends {
        Some(ends) => tokio::time::sleep_until(ends.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ApiKey;

    fn record(key: &ApiKey, id: &str, expires: Option<u64>) -> KeyRecord {
        KeyRecord {
            id: id.to_owned(),
            name: format!("{id}'s"),
            hash: key.hash().0,
            created: 1_000,
            expires,
            revoked: None,
        }
    }

    fn key(byte: u8) -> ApiKey {
        ApiKey::new([byte; 32])
    }

    #[track_caller]
    fn check(
        directory: &KeyDirectory,
        key: &ApiKey,
        at: Instant,
        expected: Result<&str, NotAccepted>,
    ) {
        let found = directory.caller(key.expose().as_bytes(), at);
        let expected = expected.map(|id| Caller::Key {
            id: id.into(),
            name: format!("{id}'s").into(),
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_key_names_its_holder_until_it_expires() {
        let (directory, start) = (KeyDirectory::empty(), Instant::now());
        let keys = [
            record(&key(1), "a", None),
            record(&key(2), "b", Some(1_010)),
        ];
        directory.replace(&keys, 1_005, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        check(&directory, &key(1), at(20), Ok("a"));
        check(&directory, &key(2), at(4), Ok("b"));
        check(&directory, &key(2), at(5), Err(NotAccepted::Invalid));
        check(&directory, &key(3), at(0), Err(NotAccepted::Invalid));
        let b = Caller::Key {
            id: "b".into(),
            name: "b's".into(),
        };
        assert_eq!(directory.still(&b, at(4)), Ok(()));
        assert_eq!(directory.still(&b, at(5)), Err(NotAccepted::Invalid));
        assert_eq!(directory.still(&Caller::Anonymous, at(99)), Ok(()));
    }

    #[test]
    fn a_revoked_key_is_gone_with_the_next_look() {
        let (directory, start) = (KeyDirectory::empty(), Instant::now());
        let mut one = record(&key(1), "a", None);
        directory.replace(std::slice::from_ref(&one), 1_005, start);
        check(&directory, &key(1), start, Ok("a"));
        one.revoked = Some(1_006);
        directory.replace(&[one], 1_006, start);
        check(&directory, &key(1), start, Err(NotAccepted::Invalid));
    }

    #[test]
    fn a_stale_directory_refuses_every_key() {
        let (directory, start) = (KeyDirectory::empty(), Instant::now());
        directory.replace(&[record(&key(1), "a", None)], 1_005, start);
        let last = start + KEYS_STALE_MAX;
        check(
            &directory,
            &key(1),
            last - Duration::from_millis(1),
            Ok("a"),
        );
        check(&directory, &key(1), last, Err(NotAccepted::Unknown));
        check(&directory, &key(9), last, Err(NotAccepted::Unknown));
    }

    #[test]
    fn an_empty_directory_knows_nobody() {
        let directory = KeyDirectory::empty();
        check(
            &directory,
            &key(1),
            Instant::now(),
            Err(NotAccepted::Invalid),
        );
        let other = directory.caller(b"Basic YWRhOnNlc2FtZQ==", Instant::now());
        assert_eq!(other, Err(NotAccepted::Invalid));
    }

    #[tokio::test]
    async fn whoever_came_in_learns_of_the_end() {
        let (directory, start) = (KeyDirectory::empty(), Instant::now());
        let (one, two) = (
            record(&key(1), "a", None),
            record(&key(2), "b", Some(1_000)),
        );
        directory.replace(&[one.clone(), two.clone()], 1_000, start);
        let of = |key: &ApiKey| directory.caller(key.expose().as_bytes(), start).unwrap();
        let a = of(&key(1));
        let b = Caller::Key {
            id: "b".into(),
            name: "b's".into(),
        };
        directory.gone(&b).await;
        let (gone, ()) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(10), directory.gone(&a)),
            async {
                directory.replace(&[one], 1_000, start);
                tokio::task::yield_now().await;
                directory.replace(&[], 1_000, start);
            }
        );
        assert_eq!(gone, Ok(()));
        let quiet = Duration::from_millis(20);
        let anonymous = directory.gone(&Caller::Anonymous);
        assert!(tokio::time::timeout(quiet, anonymous).await.is_err());
    }

    #[tokio::test]
    async fn a_directory_keeps_up_with_its_store() {
        let store = Store::open("sqlite::memory:").await.unwrap();
        let now = store.now().await.unwrap();
        store
            .add_key(record(&key(1), "a", None), now)
            .await
            .unwrap();
        let directory = KeyDirectory::open(&store).await.unwrap();
        check(&directory, &key(1), Instant::now(), Ok("a"));
        store.revoke_key("a", now).await.unwrap();
        store
            .add_key(record(&key(2), "b", Some(now)), now)
            .await
            .unwrap();
        store
            .add_key(record(&key(3), "c", Some(now + 100)), now)
            .await
            .unwrap();
        directory.refresh(&store).await.unwrap();
        check(
            &directory,
            &key(1),
            Instant::now(),
            Err(NotAccepted::Invalid),
        );
        check(
            &directory,
            &key(2),
            Instant::now(),
            Err(NotAccepted::Invalid),
        );
        check(&directory, &key(3), Instant::now(), Ok("c"));
        store.close().await;
        assert!(directory.refresh(&store).await.is_err());
        check(&directory, &key(3), Instant::now(), Ok("c"));
    }
}
