//! The commands around the client.

use std::{fs, io::Write as _};

use serde_json::Value;

use crate::program::{finish, head, run, start};

#[test]
fn every_command_explains_itself_with_examples() {
    for command in [
        vec!["up"],
        vec!["check"],
        vec!["tools", "list"],
        vec!["tools", "call"],
        vec!["prompts", "get"],
        vec!["resources", "read"],
        vec!["schema"],
        vec!["completions"],
    ] {
        let ran = run(&[command.as_slice(), &["--help"]].concat());
        assert_eq!(ran.code, 0, "{command:?}");
        assert!(ran.stdout.contains("Examples:"), "{command:?}");
        assert!(!ran.stdout.contains('\x1b'), "{command:?}");
    }
    assert!(!run(&["--help"]).stdout.contains("supervise"));
}

#[test]
fn a_schema_is_printed_for_each_kind_and_for_all() {
    let all: Value = serde_json::from_str(&run(&["schema"]).stdout).unwrap();
    assert!(all["oneOf"].as_array().unwrap().len() >= 5);
    let one: Value = serde_json::from_str(&run(&["schema", "mcpserver"]).stdout).unwrap();
    assert_eq!(one["properties"]["kind"]["const"], "MCPServer");
    assert_eq!(run(&["schema", "Sever"]).code, 2);
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("marque"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    for command in [["completions", "bash"].as_slice(), ["schema"].as_slice()] {
        let (line, ran) = head(start(command, &[]));
        assert!(!line.is_empty());
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

#[test]
fn check_counts_findings_and_ends_accordingly() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let file = folder.path().join("a.yaml");
    let good = "apiVersion: marque.dev/v1alpha1\nkind: MCPServer\nmetadata: {name: a}\n\
                spec:\n  remote: {url: https://example.com/mcp}\n";
    fs::write(&file, good).unwrap();
    let ran = run(&["check", path]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    fs::write(&file, good.replace("remote:", "remoet:")).unwrap();
    let ran = run(&["check", path]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("a.yaml:5:3: error["), "{}", ran.stdout);
    assert!(ran.stderr.contains("error"), "{}", ran.stderr);
    let ran = run(&["check", path, "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(report["errors"].as_u64().unwrap() > 0);
    assert_eq!(report["findings"][0]["origin"]["line"], 5);
    assert_eq!(run(&["check", "/not/there"]).code, 2);
}

#[test]
fn samples_speak_on_stdin_and_stdout_and_end_with_their_client() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    for command in [
        ["sample", "time"].as_slice(),
        ["sample", "files", "--root", root].as_slice(),
    ] {
        let mut child = start(command, &[]);
        let mut stdin = child.stdin.take().unwrap();
        let ping = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"ping\"}\n";
        stdin.write_all(ping.as_bytes()).unwrap();
        drop(stdin);
        let ran = finish(child);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(ran.stdout, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
    }
    let ran = run(&["sample", "files", "--root", "/not/there"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("/not/there"), "{}", ran.stderr);
}
