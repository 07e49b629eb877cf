//! Files into a set.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use resources::document::FILE_BYTES_MAX;
use resources::{Document, Finding, Origin, ResourceSet, Secret, Values, Wanted};

use crate::walk::{files, reason};

/// How large a file named by `file:` may be.
pub const SOURCE_BYTES_MAX: usize = 1024 * 1024;

/// What a folder gave.
#[derive(Debug)]
pub struct Loaded {
    /// The set; none if a finding is an error.
    pub set: Option<ResourceSet>,
    /// What is wrong, or worth knowing, in the order of files and lines.
    pub findings: Vec<Finding>,
    /// The files that documents name by `file:`, and how each looked before it was read.
    pub(crate) sources: BTreeMap<PathBuf, Stamp>,
}

/// How a file looks from outside. None: it is not there.
pub(crate) type Stamp = Option<(u64, Option<SystemTime>)>;

/// Looks at a file from outside.
pub(crate) fn stamp(path: &Path) -> Stamp {
    fs::metadata(path)
        .ok()
        .map(|found| (found.len(), found.modified().ok()))
}

/// Reads every resource in the given folders and files. Blocks on the disk.
///
/// `env` gives the variables of the environment.
#[must_use]
pub fn load(paths: &[PathBuf], env: &dyn Fn(&str) -> Option<String>) -> Loaded {
    let (files, mut findings) = files(paths);
    let mut documents: Vec<Document> = Vec::new();
    for file in &files {
        match text(file, FILE_BYTES_MAX) {
            Ok(text) => {
                let parsed =
                    resources::parse(&file.display().to_string(), folder(file).as_deref(), &text);
                documents.extend(parsed.documents);
                findings.extend(parsed.findings);
            }
            Err(why) => {
                let origin = Origin::file(file.display().to_string());
                findings.push(
                    Finding::error("unreadable-file", format!("cannot be read: {why}")).at(origin),
                );
            }
        }
    }
    let (values, sources) = values(&documents, env);
    let built = resources::build(&documents, values);
    findings.extend(built.findings);
    if !findings.iter().any(Finding::is_error) {
        findings.extend(nothing_declared(paths, built.set.as_ref()));
    }
    findings.sort_by(|a, b| a.origin.cmp(&b.origin));
    let set = built
        .set
        .filter(|_| !findings.iter().any(Finding::is_error));
    Loaded {
        set,
        findings,
        sources,
    }
}

/// Somebody who starts Marque on a folder without servers most likely named the wrong folder.
fn nothing_declared(paths: &[PathBuf], set: Option<&ResourceSet>) -> Option<Finding> {
    let set = set?;
    if !set.servers.is_empty() || !set.toolsets.is_empty() {
        return None;
    }
    let named: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Some(
        Finding::error(
            "nothing-declared",
            format!("no server is declared in {}", named.join(", ")),
        )
        .help("name a folder or file with an MCPServer, a Toolset, or an `mcp.json`"),
    )
}

/// Gives the folder of a file, where its relative paths start.
fn folder(file: &Path) -> Option<PathBuf> {
    std::path::absolute(file)
        .ok()?
        .parent()
        .map(Path::to_path_buf)
}

fn values(
    documents: &[Document],
    env: &dyn Fn(&str) -> Option<String>,
) -> (Values, BTreeMap<PathBuf, Stamp>) {
    let mut values = Values::default();
    let mut sources = BTreeMap::new();
    for wanted in resources::wanted(documents) {
        match wanted {
            Wanted::Env(name) => {
                if let Some(value) = env(&name) {
                    values.insert_env(name, Secret::new(value));
                }
            }
            Wanted::File(path) => {
                sources.insert(path.clone(), stamp(&path));
                let value =
                    text(&path, SOURCE_BYTES_MAX).map(|text| Secret::new(without_line_end(&text)));
                values.insert_file(path, value);
            }
        }
    }
    (values, sources)
}

/// Leaves out one line end at the end: editors and `echo` add it, nobody means it.
fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Reads a text file of bounded size, or says why not.
fn text(path: &Path, bytes_max: usize) -> Result<String, String> {
    let found = fs::metadata(path).map_err(|error| reason(&error))?;
    // A pipe or terminal would be waited for without end.
    if !found.is_file() {
        return Err("it is not a file".to_owned());
    }
    let file = File::open(path).map_err(|error| reason(&error))?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| reason(&error))?;
    if bytes.len() > bytes_max {
        return Err(format!("it is larger than {bytes_max} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}
