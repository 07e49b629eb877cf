//! What is watched, and which of the events there matter.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use notify::event::EventKind;
use notify::{Event, RecursiveMode};

/// What is watched, and which of the events there matter.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// Folders of resources: everything below them matters.
    folders: BTreeSet<PathBuf>,
    /// Single files, as folder and name: a file that is replaced is another file under the same name.
    files: BTreeSet<(PathBuf, OsString)>,
}

impl Targets {
    /// Finds out what to watch for some paths as they are now.
    pub(crate) fn of<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Self {
        let mut targets = Self::default();
        for path in paths {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            // Where a link is on the way, events carry the real path.
            let real = path.canonicalize().ok();
            for path in [Some(path), real].into_iter().flatten() {
                if path.is_dir() {
                    targets.folders.insert(path.clone());
                }
                // A folder can be replaced as a whole too, so its own name is watched like that of a file.
                if let (Some(folder), Some(name)) = (path.parent(), path.file_name()) {
                    targets
                        .files
                        .insert((folder.to_path_buf(), name.to_owned()));
                }
            }
        }
        targets
    }

    /// Gives the folders to watch. Folders that are not there are left out: something above them tells when they come.
    pub(crate) fn watches(&self) -> BTreeMap<PathBuf, RecursiveMode> {
        let mut watches: BTreeMap<PathBuf, RecursiveMode> = self
            .folders
            .iter()
            .map(|folder| (folder.clone(), RecursiveMode::Recursive))
            .collect();
        for (folder, _) in &self.files {
            let covered = self.folders.iter().any(|above| folder.starts_with(above));
            if !covered && folder.is_dir() {
                watches.insert(folder.clone(), RecursiveMode::NonRecursive);
            }
        }
        watches
    }

    /// Says whether an event may mean that loading again gives something else.
    pub(crate) fn concern(&self, event: &Event) -> bool {
        // Reading is no change, and reading is what a reload does.
        if matches!(event.kind, EventKind::Access(_)) {
            return false;
        }
        // An event without path says that events were lost.
        event.paths.is_empty() || event.paths.iter().any(|path| self.concerns_path(path))
    }

    fn concerns_path(&self, path: &Path) -> bool {
        if self.folders.iter().any(|folder| path.starts_with(folder)) {
            return true;
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return false;
        };
        // Kubernetes swaps a link `..data` beside the files, and touches none of them.
        let swapped = name.as_encoded_bytes().starts_with(b"..");
        self.files
            .iter()
            .any(|(of, file)| of == folder && (file == name || swapped))
    }
}
