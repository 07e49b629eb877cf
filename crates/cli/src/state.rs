//! Where state is kept: the state directory, and the store.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use store::{Store, StoreError};

/// Where state is kept.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Where API keys and sessions are kept: `sqlite:PATH`, or `postgres://USER@HOST/DATABASE`, which replicas share;
    /// without it, a file in the state directory
    #[arg(long, value_name = "URL", env = "MARQUE_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,

    /// Where this machine keeps state, for you only; without it, $XDG_STATE_HOME/marque or ~/.local/state/marque
    #[arg(long, value_name = "DIR", env = "MARQUE_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

/// The file of the store in the state directory.
const STORE_FILE: &str = "store.db";
/// Others may write there: they could put another file in the place of ours.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// Neither named nor to be guessed.
    #[error("there is no state directory: name one with --state-dir, or a store with --store")]
    Nowhere,
    /// The directory cannot be used.
    #[error("state directory {}: {reason}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StateArgs {
    /// Whether somebody said where; else it is a guess, which may fail.
    pub(crate) const fn is_named(&self) -> bool {
        self.store.is_some() || self.state_dir.is_some()
    }

    /// The state directory, which exists then, and belongs to this user.
    ///
    /// # Errors
    /// When there is none, and when others could write there.
    pub(crate) fn directory(&self) -> Result<PathBuf, StateError> {
        let named = self.state_dir.clone().or_else(usual_directory);
        let path = named.ok_or(StateError::Nowhere)?;
        make_private(&path).map_err(|reason| StateError::Directory {
            path: path.clone(),
            reason,
        })?;
        Ok(path)
    }

    /// Opens the store.
    ///
    /// # Errors
    /// When it cannot be opened, with the remedy.
    pub(crate) async fn open(&self) -> Result<Store, StateError> {
        let url = match &self.store {
            Some(url) => url.clone(),
            None => format!("sqlite:{}", self.directory()?.join(STORE_FILE).display()),
        };
        Ok(Store::open(&url).await?)
    }
}

/// Where such state is kept by custom (XDG Base Directory Specification).
fn usual_directory() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("marque"))
}

/// Creates a directory for its owner only; one that is there must not be writable by others.
fn make_private(path: &Path) -> Result<(), String> {
    let mut builder = std::fs::DirBuilder::new();
    let created = builder.recursive(true).mode(0o700).create(path);
    created.map_err(|error| format!("cannot be created: {error}"))?;
    let found = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if found.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
        let remedy = format!("chmod go-w {}", path.display());
        return Err(format!("other users may write there; `{remedy}`"));
    }
    Ok(())
}
