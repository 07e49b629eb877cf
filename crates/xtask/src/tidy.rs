//! The rules of the house that no compiler holds.
//!
//! Every rule is a pure function from what lies in the checkout to a list of faults; [`run`] reads, asks and prints.
//! The same runs as a test, so that `cargo test --workspace` holds the house.

mod crate_table;
mod documents;
mod finding_codes;
mod module_circles;
mod sizes;
mod unfinished;

use anyhow::{Context, bail};

use crate::{limits, workspace};

/// A file of the checkout with its text.
pub(crate) struct SourceFile {
    /// Relative to the root, with slashes.
    pub(crate) path: String,
    /// What stands in it.
    pub(crate) text: String,
}

/// Holds every rule, prints what is wrong, and fails if anything is.
pub(crate) fn run() -> anyhow::Result<()> {
    let house = inspect()?;
    for remark in &house.remarks {
        println!("large: {remark}");
    }
    for fault in &house.faults {
        println!("fault: {fault}");
    }
    if !house.faults.is_empty() {
        bail!("{} faults", house.faults.len());
    }
    println!("tidy: {} files, no faults", house.files);
    Ok(())
}

/// What an inspection found.
struct House {
    files: usize,
    faults: Vec<String>,
    remarks: Vec<String>,
}

fn inspect() -> anyhow::Result<House> {
    let files = read_files()?;
    let manifests = workspace::manifests()?;
    let architecture = files
        .iter()
        .find(|file| file.path == "docs/architecture.md")
        .context("docs/architecture.md is missing")?;

    let mut faults = Vec::new();
    match crate_table::parse(&architecture.text) {
        Ok(table) => faults.extend(crate_table::faults(&table, &manifests)),
        Err(fault) => faults.push(format!("docs/architecture.md: {fault}")),
    }
    faults.extend(module_circles::faults(&manifests));
    faults.extend(unfinished::faults(
        &files,
        &unfinished::traces_of_this_machine(),
    ));
    faults.extend(documents::faults(&files));
    faults.extend(finding_codes::faults(&files));
    match limits::faults(&manifests) {
        Ok(found) => faults.extend(found),
        Err(error) => faults.push(format!("limits: {error:#}")),
    }
    Ok(House {
        files: files.len(),
        faults,
        remarks: sizes::remarks(&files),
    })
}

fn read_files() -> anyhow::Result<Vec<SourceFile>> {
    let root = workspace::root();
    let mut files = Vec::new();
    for path in workspace::files()? {
        let bytes = std::fs::read(root.join(&path)).with_context(|| path.clone())?;
        // Pictures and certificates in binary form have no words to look at.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path, text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy() {
        let house = super::inspect().expect("the checkout can be read");
        assert!(house.files > 20, "only {} files were seen", house.files);
        assert!(house.faults.is_empty(), "{}", house.faults.join("\n"));
    }
}
