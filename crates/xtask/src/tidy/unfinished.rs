//! Work left half done, and traces of the machine it was done on.

use std::path::Path;

use super::SourceFile;
use crate::workspace;

/// Words that say "not finished" or "switched off", split so that this file does not trip over itself.
const MARKS: [&str; 6] = [
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
    concat!("db", "g!("),
    concat!("#[ig", "nore"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// What is unfinished, and where this machine shows.
pub(crate) fn faults(files: &[SourceFile], traces: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| !is_lock_file(&file.path)) {
        let rust = file.path.ends_with(".rs");
        for (number, line) in (1..).zip(file.text.lines()) {
            let place = || format!("{}:{number}", file.path);
            if rust && let Some(mark) = MARKS.iter().find(|mark| stands_in(line, mark)) {
                faults.push(format!("{}: unfinished or switched off: {mark}", place()));
            }
            // The trace itself is not repeated: the report may be read elsewhere.
            if traces.iter().any(|trace| line.contains(trace.as_str())) {
                faults.push(format!(
                    "{}: a path or registry host of this machine",
                    place()
                ));
            }
        }
    }
    faults
}

/// Whether the mark stands in a line, and not in the middle of a longer word such as the digits of an escape.
fn stands_in(line: &str, mark: &str) -> bool {
    let joined = |a: Option<char>, b: Option<char>| {
        [a, b]
            .iter()
            .all(|side| side.is_some_and(char::is_alphanumeric))
    };
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + mark.len()..].chars().next();
        !joined(before, mark.chars().next()) && !joined(mark.chars().next_back(), after)
    })
}

fn is_lock_file(path: &str) -> bool {
    path.ends_with(".lock")
}

/// Strings that would give this machine away: folders of the checkout and of the user, hosts of package registries.
pub(crate) fn traces_of_this_machine() -> Vec<String> {
    let root = workspace::root();
    let mut traces = vec![format!("{}/", root.display())];
    if let Some(parent) = root.parent().filter(|parent| !is_ordinary(parent)) {
        traces.push(format!("{}/", parent.display()));
    }
    if let Some(home) = std::env::home_dir().filter(|home| !is_ordinary(home)) {
        traces.push(format!("{}/.", home.display()));
    }
    traces.extend(registry_hosts());
    traces
}

/// Folders that every machine has, and that an honest text may name.
fn is_ordinary(folder: &Path) -> bool {
    ["/", "/tmp", "/home", "/opt", "/srv", "/var/tmp"]
        .iter()
        .any(|ordinary| folder == Path::new(ordinary))
}

/// Hosts from which this machine takes packages.
fn registry_hosts() -> Vec<String> {
    let asked = [
        ("npm", ["config", "get", "registry"]),
        ("pip", ["config", "get", "global.index-url"]),
        ("pip", ["config", "get", "install.index-url"]),
    ];
    let mut hosts: Vec<String> = asked
        .iter()
        .filter_map(|(name, arguments)| {
            // A machine without the program has no such registry to give away.
            workspace::output_of(workspace::program(name).args(arguments)).ok()
        })
        .filter_map(|url| host_of(&url).map(str::to_owned))
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.trim().split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::{MARKS, SourceFile, faults, host_of};

    fn check(path: &str, text: &str, expected: usize) {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let traces = ["/machine/".to_owned(), "packages.example".to_owned()];
        assert_eq!(faults(&[file], &traces).len(), expected, "{path}: {text}");
    }

    #[test]
    fn every_mark_of_unfinished_work_is_found_in_rust_only() {
        for mark in MARKS {
            check(
                "crates/a/src/lib.rs",
                &format!("fn f() {{}}\n    {mark}\n"),
                1,
            );
            check("docs/a.md", mark, 0);
        }
        let called = format!("    {}later)", MARKS[0]);
        check("crates/a/src/lib.rs", &called, 1);
        check(
            "crates/a/src/lib.rs",
            concat!("/// Reads `\\uXX", "XX`."),
            0,
        );
    }

    #[test]
    fn traces_of_the_machine_are_found_anywhere_but_in_lock_files() {
        check("docs/a.md", "see /machine/main", 1);
        check("a.toml", "index = \"https://packages.example/x\"", 1);
        check("Cargo.lock", "https://packages.example/x", 0);
    }

    #[test]
    fn the_host_is_cut_out_of_a_registry_url() {
        for (url, host) in [
            ("https://a.example/npm/\n", Some("a.example")),
            ("https://me:pw@b.example:8080/simple", Some("b.example")),
            ("undefined", None),
            ("http://", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }
}
