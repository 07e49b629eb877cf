//! The official suites: which runs, and what came of them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::install::Tools;
use super::process::Running;

/// Longest run of one suite.
const RUN_WITHIN: Duration = Duration::from_secs(600);
/// Length of the time stamp that ends the name of a result folder.
const STAMP: usize = "-2026-11-22T10-09-51-438Z".len();

/// One way to run a suite.
pub(super) struct Plan {
    name: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
}

impl Plan {
    /// Whether the suite speaks 2026-07-28.
    pub(super) fn is_modern(&self) -> bool {
        self.name == MODERN.name
    }
}

/// The older suite, which knows the handshake revisions only.
pub(super) const OLDER: Plan = Plan {
    name: "c16",
    package: "conformance-0.1",
    arguments: &["--suite", "all"],
};

/// What revision 2025-11-25 requires.
pub(super) const LEGACY: Plan = Plan {
    name: "r25",
    package: "conformance-0.2",
    arguments: &["--requirements", "2025-11-25"],
};

/// What revision 2026-07-28 requires.
pub(super) const MODERN: Plan = Plan {
    name: "r26",
    package: "conformance-0.2",
    arguments: &["--requirements", "2026-07-28"],
};

const OLD: Plan = Plan {
    name: "v2506",
    package: "conformance-0.2",
    arguments: &["--suite", "all", "--spec-version", "2025-06-18"],
};

/// What an endpoint of every era is put to.
pub(super) const PLANS: [Plan; 4] = [OLDER, LEGACY, MODERN, OLD];

/// Name of the part of a run that is shown on a line of its own.
pub(super) const TASKS: &str = "`tasks-*` (extension)";

/// What came of one run, or of a named part of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Version of the suite.
    pub version: String,
    /// What was run.
    pub what: String,
    /// Scenarios run.
    pub scenarios: usize,
    /// Checks by status.
    pub passed: usize,
    /// Checks that did not apply.
    pub skipped: usize,
    /// Recommendations that were not followed.
    pub warnings: Vec<String>,
    /// Failed checks.
    pub failed: Vec<Failed>,
}

/// A check that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// The scenario to which it belongs.
    pub scenario: String,
    /// Its name in the suite.
    pub check: String,
    /// What the suite says of it.
    pub reason: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            check,
            reason,
        } = self;
        write!(f, "{scenario} / {check}: {reason}")
    }
}

impl Outcome {
    /// How many checks failed.
    pub(super) fn failures(&self) -> usize {
        self.failed.len()
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    id: String,
    status: String,
    error_message: Option<String>,
}

/// Runs the plan against the URL. `name` is the endpoint's.
pub(super) fn run(
    tools: &Tools,
    plan: &Plan,
    url: &str,
    folder: &Path,
    name: &str,
) -> anyhow::Result<Vec<Outcome>> {
    let name = format!("{name}-{}", plan.name);
    let results = folder.join(&name);
    let script = tools
        .node_folder
        .join("node_modules")
        .join(plan.package)
        .join("dist/index.js");
    let mut command = tools.node(&script);
    command
        .args(["server", "--url", url])
        .args(plan.arguments)
        .arg("-o")
        .arg(&results);
    let mut running = Running::start(&name, &mut command, folder)?;
    let until = Instant::now() + RUN_WITHIN;
    let what = plan.arguments.join(" ");
    let mut summary = Vec::new();
    let mut begun = 0;
    while let Some(line) = running.next_line(until)? {
        if line.contains("Running scenario") || line.contains("Running client scenario") {
            begun += 1;
            show_progress(&format!("{} {what}: {begun} scenarios", plan.package));
        }
        if let Some(name) = named_in_summary(&line) {
            summary.push(name.to_owned());
        }
    }
    let status = running.end(until)?;
    end_progress();
    let version = tools.node_version(plan.package)?;
    let mut scenarios = read(&results)?;
    for name in summary {
        // A scenario without results broke down: that is no pass.
        scenarios
            .entry(name)
            .or_insert_with(|| vec![broken("left no results")]);
    }
    if scenarios.is_empty() {
        scenarios.insert(
            "suite".to_owned(),
            vec![broken(&format!("ran nothing: {status}"))],
        );
    }
    let mut parts = split(&scenarios, &version, &what);
    let failed: usize = parts.iter().map(Outcome::failures).sum();
    if !status.success() && failed == 0 {
        parts[0].failed.push(Failed {
            scenario: "suite".to_owned(),
            check: "harness".to_owned(),
            reason: format!("ended with {status}"),
        });
    }
    Ok(parts)
}

/// A toolset that shows one server under its own names.
pub(super) fn passthrough(server: &str) -> String {
    format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: fixture}}\nspec:\n  access: Anonymous\n  \
         naming: Passthrough\n  uris: Passthrough\n  servers:\n    - {{name: fixture, {server}}}\n"
    )
}

/// The tasks extension is shown on a line of its own.
fn split(scenarios: &BTreeMap<String, Vec<Check>>, version: &str, what: &str) -> Vec<Outcome> {
    let (tasks, core): (Vec<_>, Vec<_>) = scenarios
        .iter()
        .partition(|(name, _)| name.starts_with("tasks-"));
    let mut parts = vec![count(&core, version, what)];
    if !tasks.is_empty() {
        parts.push(count(&tasks, version, TASKS));
        parts[0].what = format!("{what}, without tasks");
    }
    parts
}

fn count(scenarios: &[(&String, &Vec<Check>)], version: &str, what: &str) -> Outcome {
    let mut outcome = Outcome {
        version: version.to_owned(),
        what: what.to_owned(),
        scenarios: scenarios.len(),
        ..Outcome::default()
    };
    for (scenario, checks) in scenarios {
        for check in *checks {
            let reason = check.error_message.as_deref().unwrap_or("no reason given");
            let told = || Failed {
                scenario: (*scenario).clone(),
                check: check.id.clone(),
                reason: reason.to_owned(),
            };
            match check.status.as_str() {
                "SUCCESS" => outcome.passed += 1,
                "SKIPPED" => outcome.skipped += 1,
                "INFO" => {}
                "WARNING" => outcome.warnings.push(told().to_string()),
                // Whatever else a suite may say is no pass.
                _ => outcome.failed.push(told()),
            }
        }
    }
    outcome
}

fn broken(reason: &str) -> Check {
    Check {
        id: "harness".to_owned(),
        status: "FAILURE".to_owned(),
        error_message: Some(reason.to_owned()),
    }
}

/// One scenario of the client suite, as the folders below `results` tell it.
pub(super) fn outcome_in(results: &Path, version: &str, what: &str) -> anyhow::Result<Outcome> {
    let scenarios = read(results)?;
    Ok(count(&scenarios.iter().collect::<Vec<_>>(), version, what))
}

/// Scenarios and their checks, from the folders that the suite left.
fn read(results: &Path) -> anyhow::Result<BTreeMap<String, Vec<Check>>> {
    let mut scenarios = BTreeMap::new();
    if !results.is_dir() {
        return Ok(scenarios);
    }
    for entry in std::fs::read_dir(results)? {
        let entry = entry?;
        let folder = entry.file_name().to_string_lossy().into_owned();
        let file = entry.path().join("checks.json");
        if !file.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&file)?;
        let checks: Vec<Check> = serde_json::from_str(&text).with_context(|| folder.clone())?;
        scenarios.insert(scenario_of(&folder).to_owned(), checks);
    }
    Ok(scenarios)
}

fn scenario_of(folder: &str) -> &str {
    let name = folder.strip_prefix("server-").unwrap_or(folder);
    name.get(..name.len().saturating_sub(STAMP)).unwrap_or(name)
}

/// The scenario of a line like `✓ ping: 2 passed, 0 failed`.
fn named_in_summary(line: &str) -> Option<&str> {
    let (name, rest) = line
        .strip_prefix(['✓', '✗', '~'])?
        .trim()
        .split_once(": ")?;
    rest.contains(" passed").then_some(name)
}

fn show_progress(text: &str) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        drop(write!(terminal, "\r\x1b[K{text}"));
        drop(terminal.flush());
    }
}

fn end_progress() {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}

#[cfg(test)]
mod tests {
    use super::{named_in_summary, scenario_of};

    #[test]
    fn scenario_names_are_read_from_folders_and_lines() {
        assert_eq!(
            scenario_of("server-server-initialize-2026-11-22T10-09-51-438Z"),
            "server-initialize"
        );
        assert_eq!(named_in_summary("✓ ping: 2 passed, 0 failed"), Some("ping"));
        assert_eq!(
            named_in_summary("✗ tools-list: 1 passed, 1 failed"),
            Some("tools-list")
        );
        assert_eq!(named_in_summary("  ✗ json-schema-2020-12 (pending)"), None);
        assert_eq!(named_in_summary("Total: 29 passed, 34 failed"), None);
    }
}
