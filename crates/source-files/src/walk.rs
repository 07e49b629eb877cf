//! Which files are meant by the paths somebody gave.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use resources::{Finding, Origin};

/// How many files are read.
pub const FILES_MAX: usize = 10_000;
/// How deep folders are walked.
pub const FOLDER_DEPTH_MAX: usize = 16;

/// The endings of files that are read when a folder is named. A file that is named itself may end in anything.
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// Lists the files meant by the paths, in the order of the paths and then of their names, each once.
pub(crate) fn files(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Finding>) {
    let mut walk = Walk {
        files: Vec::new(),
        seen: BTreeSet::new(),
        findings: Vec::new(),
    };
    for path in paths {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => walk.folder(path, 0),
            Ok(_) => walk.file(path),
            Err(error) => walk.tell(
                path,
                "missing-path",
                format!("cannot be read: {}", reason(&error)),
            ),
        }
    }
    (walk.files, walk.findings)
}

/// Says why reading failed, without the number of the operating system.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        other => other.to_string(),
    }
}

struct Walk {
    files: Vec<PathBuf>,
    /// Real paths of files and folders, against circles of links and files named twice.
    seen: BTreeSet<PathBuf>,
    findings: Vec<Finding>,
}

impl Walk {
    fn tell(&mut self, path: &Path, code: &'static str, message: String) {
        let origin = Origin::file(path.display().to_string());
        self.findings.push(Finding::error(code, message).at(origin));
    }

    fn is_new(&mut self, path: &Path) -> bool {
        fs::canonicalize(path).is_ok_and(|real| self.seen.insert(real))
    }

    fn file(&mut self, path: &Path) {
        if !self.is_new(path) {
            return;
        }
        if self.files.len() == FILES_MAX {
            let told = self
                .findings
                .iter()
                .any(|finding| finding.code == "too-many-files");
            if !told {
                self.tell(
                    path,
                    "too-many-files",
                    format!(
                        "more than {FILES_MAX} files; this one and those after it are not read"
                    ),
                );
            }
            return;
        }
        self.files.push(path.to_path_buf());
    }

    fn folder(&mut self, folder: &Path, depth: usize) {
        if !self.is_new(folder) {
            return;
        }
        if depth == FOLDER_DEPTH_MAX {
            return self.tell(
                folder,
                "too-deep",
                format!("folders are walked {FOLDER_DEPTH_MAX} levels deep; this one is deeper"),
            );
        }
        let mut entries: Vec<PathBuf> = match fs::read_dir(folder) {
            Ok(entries) => entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .collect(),
            Err(error) => {
                return self.tell(
                    folder,
                    "missing-path",
                    format!("cannot be read: {}", reason(&error)),
                );
            }
        };
        entries.sort();
        for path in entries.iter().filter(|path| !is_hidden(path)) {
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => self.folder(path, depth + 1),
                Ok(found) if found.is_file() && has_known_ending(path) => self.file(path),
                Ok(_) => {}
                // A link to nothing under a name of ours is told; other names are none of our business.
                Err(error) if has_known_ending(path) => {
                    self.tell(
                        path,
                        "missing-path",
                        format!("cannot be read: {}", reason(&error)),
                    );
                }
                Err(_) => {}
            }
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn has_known_ending(path: &Path) -> bool {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}
