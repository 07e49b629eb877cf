//! The store of a serving process, and the callers it knows.

use std::sync::Arc;

use auth::KeyDirectory;
use store::Store;
use tokio::task::JoinSet;

use super::stop::Stop;
use crate::state::{StateArgs, StateError};

/// Who may prove who they are.
pub(super) struct Callers {
    /// `None` when nobody said where it is, and the usual place cannot be used.
    pub(super) store: Option<Store>,
    pub(super) keys: Arc<KeyDirectory>,
}

impl Callers {
    /// Opens the store. Where none was named, one that cannot be opened is no reason not to start: then nobody has a key.
    pub(super) async fn open(args: &StateArgs) -> Result<Self, Stop> {
        match Self::named(args).await {
            Ok(callers) => Ok(callers),
            Err(error) if args.is_named() => Err(Stop::Reason(error.to_string())),
            Err(error) => {
                match error {
                    StateError::Nowhere => {
                        tracing::debug!("there is no store: API keys are refused")
                    }
                    error => tracing::warn!(%error, "there is no store: API keys are refused"),
                }
                Ok(Self {
                    store: None,
                    keys: Arc::new(KeyDirectory::empty()),
                })
            }
        }
    }

    async fn named(args: &StateArgs) -> Result<Self, StateError> {
        let store = args.open().await?;
        let keys = KeyDirectory::open(&store).await?;
        tracing::debug!(store = store.shown(), "the store is open");
        Ok(Self {
            store: Some(store),
            keys,
        })
    }

    /// Whether anybody can have a key.
    pub(super) const fn can_have_keys(&self) -> bool {
        self.store.is_some()
    }

    /// Keeps up with new and revoked keys.
    pub(super) fn follow(&self, tasks: &mut JoinSet<()>) {
        if let Some(store) = &self.store {
            let keys = Arc::downgrade(&self.keys);
            tasks.spawn(KeyDirectory::follow(keys, store.clone()));
        }
    }

    /// Writes what is queued, and closes the store.
    pub(super) async fn close(self) {
        if let Some(store) = self.store {
            store.close().await;
        }
    }
}
