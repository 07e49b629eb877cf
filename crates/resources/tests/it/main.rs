//! The crate from outside.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by failing"
)]

mod agreement;
mod examples;
mod invalid;
mod mcp_json;
mod schema;
mod set;
mod total;

use std::path::{Path, PathBuf};

use resources::{Finding, Parsed, ResourceSet, Secret, Values, Wanted};

/// The folder of the whole project.
fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Everything that is found in one text, with the variables `TEST_TOKEN` and `HOME` set and no file readable.
fn load(file: &str, text: &str) -> (Option<ResourceSet>, Vec<Finding>) {
    let Parsed {
        documents,
        mut findings,
    } = resources::parse(file, None, text);
    let mut values = Values::default();
    for wanted in resources::wanted(&documents) {
        match wanted {
            Wanted::Env(name) if name == "TEST_TOKEN" => {
                values.insert_env(name, Secret::new("token-of-test"))
            }
            Wanted::Env(name) if name == "HOME" => {
                values.insert_env(name, Secret::new("/home/someone"))
            }
            Wanted::Env(_) => {}
            Wanted::File(path) => values.insert_file(path, Err("there is none".to_owned())),
        }
    }
    let built = resources::build(&documents, values);
    findings.extend(built.findings);
    let set = built
        .set
        .filter(|_| !findings.iter().any(Finding::is_error));
    (set, findings)
}

/// The set of a text without errors.
fn set(text: &str) -> ResourceSet {
    let (set, findings) = load("test.yaml", text);
    set.unwrap_or_else(|| panic!("{}", shown(&findings)))
}

fn shown(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect()
}
