//! What the data plane is told at the start and cannot read from resources.

use std::path::PathBuf;
use std::sync::Arc;

use store::Store;

use crate::handles::Handles;
use crate::replica::Replicas;

/// What the data plane is told at the start and cannot read from resources.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The marque binary, which supervises child processes and is what `command: [marque, …]` starts.
    pub supervisor: PathBuf,
    /// What seals session ids and other handles.
    pub handles: Arc<Handles>,
    /// The other processes that serve the same endpoints.
    pub replicas: Arc<Replicas>,
    /// Where it is kept what another process needs to adopt a session; without it sessions end with their process.
    pub store: Option<Store>,
}

impl Settings {
    /// A process without others, whose handles die with it.
    #[must_use]
    pub fn alone(supervisor: PathBuf) -> Self {
        let handles = Arc::new(Handles::fleeting());
        Self {
            supervisor,
            replicas: Replicas::alone(handles.own()),
            handles,
            store: None,
        }
    }
}
