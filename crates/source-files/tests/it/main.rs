//! The crate from outside, on a real folder.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

mod load;
mod watch;

use std::path::{Path, PathBuf};

use source_files::Loaded;
use tempfile::TempDir;

/// A Toolset of one server whose bearer is a file.
const TOOLSET: &str = "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {name: t}\nspec:\n  servers:\n  - {name: a, url: \"https://a.example/mcp\", auth: {bearer: \"file:token\"}}\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn load(path: &Path) -> Loaded {
    source_files::load(&[PathBuf::from(path)], &|name| {
        (name == "TOKEN").then(|| "of-env".to_owned())
    })
}

fn codes(loaded: &Loaded) -> Vec<&str> {
    loaded.findings.iter().map(|finding| finding.code).collect()
}

/// The bearer of the server `t/a`.
fn bearer(loaded: &Loaded) -> String {
    let set = loaded
        .set
        .as_ref()
        .unwrap_or_else(|| panic!("{:?}", loaded.findings));
    let server = &set.servers["t/a"];
    let source = server.spec.auth.as_ref().unwrap().bearer.as_ref().unwrap();
    set.value(source, &server.namespace)
        .unwrap()
        .expose()
        .to_owned()
}
