//! How long anybody waits for the store.

use std::time::Duration;

use tokio::time::timeout;

use crate::StoreError;

/// How long any call may take; then it fails with [`StoreError::Slow`], and what was asked for may have happened or not.
pub const STORE_WAIT: Duration = Duration::from_secs(10);

/// What comes of `work` within [`STORE_WAIT`].
pub(crate) async fn bounded<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(STORE_WAIT, work)
        .await
        .unwrap_or(Err(StoreError::Slow))
}
