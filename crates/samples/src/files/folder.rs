//! The folder that is served. Nothing outside it can be reached, and nothing hidden in it.

use std::{
    fs,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::task::spawn_blocking;

/// The largest file that is read.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most files that are listed; the rest of a larger folder does not exist here.
pub(super) const FILES_MAX: usize = 5_000;
/// How many folders deep files are looked for.
const DEPTH_MAX: usize = 16;

/// A folder and the rule of what may be read in it.
#[derive(Debug)]
pub(super) struct Folder {
    /// Canonical, so that a canonical path can be held against it.
    root: Arc<Path>,
}

/// A file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the folder, with `/` between the parts.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) modified: Option<SystemTime>,
}

/// Why a file cannot be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// There is none, or it is not for the client: these look the same from outside.
    NotFound,
    /// It is larger than [`FILE_BYTES_MAX`].
    TooLarge,
}

impl Folder {
    /// Opens a folder.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        if !root.is_dir() {
            let message = format!("{} is not a folder", root.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, message));
        }
        Ok(Self { root: root.into() })
    }

    /// Lists the files in the order of their paths, leaving out hidden ones and whatever a symbolic
    /// link fetches from elsewhere.
    pub(super) async fn entries(&self) -> Vec<Entry> {
        let root = Arc::clone(&self.root);
        spawn_blocking(move || walk(&root))
            .await
            .unwrap_or_default()
    }

    /// Reads a file by its path in the folder.
    pub(super) async fn read(&self, path: &str) -> Result<Vec<u8>, Unreadable> {
        let (root, path) = (Arc::clone(&self.root), path.to_owned());
        let read = spawn_blocking(move || read(&root, &path)).await;
        read.unwrap_or(Err(Unreadable::NotFound))
    }
}

fn walk(root: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        // A folder that went away in the meantime, or may not be read, has no files.
        let listing = fs::read_dir(&folder).into_iter().flatten().flatten();
        for item in listing.filter(|item| !is_hidden(&item.path())) {
            let is_folder = item.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_folder {
                entries.extend(entry(root, &item.path()));
            } else if depth < DEPTH_MAX {
                folders.push((item.path(), depth + 1));
            }
            if entries.len() >= FILES_MAX {
                folders.clear();
                break;
            }
        }
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    entries
}

fn entry(root: &Path, file: &Path) -> Option<Entry> {
    let path = file.strip_prefix(root).ok()?.to_str()?.to_owned();
    let metadata = fs::metadata(admit(root, file)?).ok()?;
    Some(Entry {
        path,
        bytes: metadata.len(),
        modified: metadata.modified().ok(),
    })
}

fn read(root: &Path, path: &str) -> Result<Vec<u8>, Unreadable> {
    let file = locate(root, path).ok_or(Unreadable::NotFound)?;
    let file = fs::File::open(file).map_err(|_| Unreadable::NotFound)?;
    let mut content = Vec::new();
    // Asked for one byte more than allowed, so that a file which grows meanwhile is caught too.
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(|_| Unreadable::NotFound)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(Unreadable::TooLarge);
    }
    Ok(content)
}

/// Finds the one place that a path may mean.
fn locate(root: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path);
    let plain = |part| matches!(part, Component::Normal(_));
    if path.is_empty() || !relative.components().all(plain) {
        return None;
    }
    admit(root, &root.join(relative))
}

/// Follows symbolic links to where a path really leads, and admits only regular files that are
/// still inside the folder and not hidden there.
fn admit(root: &Path, path: &Path) -> Option<PathBuf> {
    let real = path.canonicalize().ok()?;
    let inside = real.strip_prefix(root).ok()?;
    if inside
        .components()
        .any(|part| is_hidden(part.as_os_str().as_ref()))
    {
        return None;
    }
    // Also keeps away from pipes and devices, which would block the reader.
    let regular = fs::metadata(&real).ok()?.is_file();
    regular.then_some(real)
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}
