//! What the data plane is told at the start and cannot read from resources.

use std::path::PathBuf;
use std::sync::Arc;

use crate::handles::Handles;

/// What the data plane is told at the start and cannot read from resources.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The marque binary, which supervises child processes and is what `command: [marque, …]` starts.
    pub supervisor: PathBuf,
    /// What seals session ids and other handles.
    pub handles: Arc<Handles>,
}
