//! The requests that are being answered, so that they can be canceled.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::oneshot;

use crate::wire::Fault;

/// The most requests that are answered at the same time.
const IN_FLIGHT_MAX: usize = 64;

/// The requests that are being answered.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// By the request's id, spelled as JSON: `1` and `"1"` are two requests.
    canceling: Mutex<HashMap<String, oneshot::Sender<()>>>,
}

impl InFlight {
    /// Notes a request; what is returned resolves when it is canceled.
    ///
    /// # Errors
    /// A [`Fault`] when there are too many, or the id is in use.
    pub(crate) fn start(&self, id: &Value) -> Result<oneshot::Receiver<()>, Fault> {
        let mut canceling = self.lock();
        if canceling.len() >= IN_FLIGHT_MAX {
            let message = format!("more than {IN_FLIGHT_MAX} requests at the same time");
            return Err(Fault::internal(message));
        }
        let key = id.to_string();
        if canceling.contains_key(&key) {
            let message = format!("id {key} belongs to a request that is still being answered");
            return Err(Fault::invalid_request(message));
        }
        let (sender, canceled) = oneshot::channel();
        canceling.insert(key, sender);
        Ok(canceled)
    }

    /// Forgets a request; one that is still being answered is thereby canceled.
    pub(crate) fn end(&self, id: &Value) {
        self.lock().remove(&id.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
        self.canceling
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
