//! Every example can be loaded, and names its schema for editors.

use std::path::Path;

use resources::{Finding, Parsed, ResourceSet, Secret, Values, Wanted};

/// Loads an example with every variable set and every file readable.
fn example(path: &str) -> (String, ResourceSet) {
    let full = crate::project().join("examples").join(path);
    let text = std::fs::read_to_string(&full).unwrap();
    let Parsed {
        documents,
        mut findings,
    } = resources::parse(path, Some(Path::new("/examples")), &text);
    let mut values = Values::default();
    for wanted in resources::wanted(&documents) {
        match wanted {
            Wanted::Env(name) => values.insert_env(name, Secret::new("value-of-test")),
            Wanted::File(file) => {
                let pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
                values.insert_file(file, Ok(Secret::new(pem)));
            }
        }
    }
    let built = resources::build(&documents, values);
    findings.extend(built.findings);
    let said: Vec<&Finding> = findings.iter().collect();
    assert!(said.is_empty(), "{path}: {said:?}");
    (
        text,
        built.set.expect("an example without findings gives a set"),
    )
}

#[test]
fn every_example_loads_without_a_word() {
    let folder = crate::project().join("examples");
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.push("quickstart/quickstart.yaml".to_owned());
    assert!(names.len() > 4, "the examples are missing");
    for name in names {
        let (text, set) = example(&name);
        assert!(!set.toolsets.is_empty(), "{name} serves nothing");
        if name.ends_with(".yaml") {
            let up = "../".repeat(name.matches('/').count() + 1);
            let line =
                format!("# yaml-language-server: $schema={up}docs/reference/marque.schema.json\n");
            assert!(text.starts_with(&line), "{name} does not start with {line}");
        }
    }
}

#[test]
fn two_servers_fit_in_eight_lines() {
    let (text, set) = example("two-servers.yaml");
    assert!(text.lines().count() <= 8);
    let backends: Vec<&str> = set.toolsets[0]
        .backends
        .iter()
        .map(|backend| backend.server.as_str())
        .collect();
    assert_eq!(backends, ["work/everything", "work/docs"]);
}

#[test]
fn the_gateway_of_the_example_speaks_tls_to_everybody() {
    let (_, set) = example("gateway-tls.yaml");
    let listeners = set.listeners();
    assert_eq!(listeners.len(), 1);
    assert!(listeners[0].address.is_unspecified());
    assert_eq!(
        (listeners[0].port, listeners[0].hostname.as_deref()),
        (8443, Some("mcp.example.com"))
    );
    assert_eq!(
        listeners[0].tls.as_ref().map(|tls| tls.certificates.len()),
        Some(1)
    );
    assert!(listeners[0].serves(&set.toolsets[0]));
}
