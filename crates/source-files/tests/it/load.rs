//! Folders and files become a set.

use std::path::PathBuf;

use crate::{TOOLSET, bearer, codes, folder, load, write};

#[test]
fn a_folder_is_walked_in_order_without_hidden_files() {
    let server = |name: &str| {
        format!(
            "apiVersion: marque.dev/v1alpha1\nkind: MCPServer\nmetadata: {{name: {name}}}\nspec: {{stdio: {{command: [x]}}}}\n"
        )
    };
    let folder = folder(&[
        ("b.yml", &server("b")),
        ("a.yaml", &server("a")),
        ("sub/c.json", r#"{"mcpServers": {"c": {"command": "x"}}}"#),
        (".hidden/d.yaml", "["),
        (".e.yaml", "["),
        ("f.txt", "["),
    ]);
    let loaded = load(folder.path());
    assert!(loaded.findings.is_empty(), "{:?}", loaded.findings);
    let set = loaded.set.unwrap();
    let names: Vec<&str> = set.servers.keys().map(|id| id.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let base = set.servers["c"].base_dir.clone();
    assert_eq!(base, Some(folder.path().join("sub")));
}

#[test]
fn a_file_source_starts_at_the_folder_of_its_document() {
    let folder = folder(&[
        ("sub/t.yaml", TOOLSET),
        ("sub/token", "of-file\n"),
        ("token", "wrong"),
    ]);
    assert_eq!(bearer(&load(folder.path())), "of-file");
    assert_eq!(bearer(&load(&folder.path().join("sub/t.yaml"))), "of-file");
}

#[test]
fn a_variable_comes_from_the_environment_given() {
    let folder = folder(&[("t.yaml", &TOOLSET.replace("file:token", "env:TOKEN"))]);
    assert_eq!(bearer(&load(folder.path())), "of-env");
}

#[test]
fn what_cannot_be_read_is_told_and_gives_no_set() {
    let folder = folder(&[("t.yaml", TOOLSET)]);
    assert_eq!(codes(&load(folder.path())), ["missing-file"]);
    assert_eq!(codes(&load(&folder.path().join("none"))), ["missing-path"]);
    std::fs::create_dir(folder.path().join("token")).unwrap();
    let loaded = load(folder.path());
    assert!(
        loaded.set.is_none() && loaded.findings[0].message.contains("it is not a file"),
        "{:?}",
        loaded.findings
    );
    std::fs::write(folder.path().join("u.yaml"), b"a: \xff").unwrap();
    assert!(codes(&load(folder.path())).contains(&"unreadable-file"));
    write(
        folder.path(),
        "large.yaml",
        &" ".repeat(resources::document::FILE_BYTES_MAX + 1),
    );
    let loaded = load(folder.path());
    assert!(
        loaded
            .findings
            .iter()
            .any(|finding| finding.message.contains("larger than")),
        "{:?}",
        loaded.findings
    );
}

#[test]
fn an_empty_folder_is_an_error() {
    let folder = folder(&[("a.txt", "")]);
    assert_eq!(codes(&load(folder.path())), ["nothing-declared"]);
}

#[test]
fn one_bad_document_gives_no_set_but_all_findings() {
    let folder = folder(&[
        ("a.yaml", "kind: ToolSet\n"),
        ("t.yaml", TOOLSET),
        ("token", "x"),
    ]);
    let loaded = load(folder.path());
    assert!(loaded.set.is_none());
    assert_eq!(codes(&loaded), ["missing-field"]);
}

#[test]
fn a_file_named_twice_is_read_once() {
    let folder = folder(&[("t.yaml", TOOLSET), ("token", "x")]);
    let paths = [folder.path().to_path_buf(), folder.path().join("t.yaml")];
    assert!(source_files::load(&paths, &|_| None).set.is_some());
}

#[cfg(unix)]
#[test]
fn a_circle_of_links_ends() {
    let folder = folder(&[("t.yaml", TOOLSET), ("token", "x")]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("circle")).unwrap();
    assert!(load(folder.path()).set.is_some());
}

#[test]
fn relative_paths_are_shown_as_they_were_given() {
    let loaded = source_files::load(&[PathBuf::from("tests/it/no-such-folder")], &|_| None);
    assert!(loaded.findings.iter().any(|finding| {
        finding
            .to_string()
            .starts_with("tests/it/no-such-folder: error")
    }));
}
