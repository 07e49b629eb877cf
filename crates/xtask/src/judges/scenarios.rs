//! The official client suite with Marque between its servers and a real client.
//!
//! What is scored is what the suite's server sees, which is Marque's doing as much as the client's.

use std::time::{Duration, Instant};

use super::conformance::{self, Outcome};
use super::install::Tools;
use super::process::{Running, two_at_a_time};
use super::stage::Stage;

const PACKAGE: &str = "conformance-0.2";
/// Longest scenario; the client itself is given less.
const SCENARIO_WITHIN: Duration = Duration::from_secs(60);
const TIMEOUT_MS: &str = "40000";

/// A set of scenarios in one revision, played by one client.
struct Set {
    revision: &'static str,
    script: &'static str,
    client: &'static str,
    package: &'static str,
    scenarios: &'static [&'static str],
}

/// Scored for 2025-11-25 and without authorization.
const LEGACY: [&str; 4] = [
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
];

/// The same for 2026-07-28.
const MODERN: [&str; 7] = [
    "tools_call",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
];

const SETS: [Set; 3] = [
    Set {
        revision: "2025-11-25",
        script: "scenarios1.mjs",
        client: "TypeScript SDK",
        package: "@modelcontextprotocol/sdk",
        scenarios: &LEGACY,
    },
    Set {
        revision: "2025-11-25",
        script: "scenarios2.mjs",
        client: "TypeScript SDK",
        package: "@modelcontextprotocol/client",
        scenarios: &LEGACY,
    },
    Set {
        revision: "2026-07-28",
        script: "scenarios2.mjs",
        client: "TypeScript SDK",
        package: "@modelcontextprotocol/client",
        scenarios: &MODERN,
    },
];

/// One scenario, played.
pub(super) struct Played {
    /// Name and version of the client.
    pub(super) client: String,
    /// The revision.
    pub(super) revision: &'static str,
    /// What the suite said; `what` is the scenario.
    pub(super) outcome: Outcome,
}

/// Plays everything, two at a time.
pub(super) fn run(tools: &Tools, stage: &Stage) -> anyhow::Result<Vec<Played>> {
    let all = SETS
        .iter()
        .flat_map(|set| set.scenarios.iter().map(move |scenario| (set, *scenario)));
    two_at_a_time(all.collect(), |(set, scenario)| {
        play(tools, stage, set, scenario)
    })
}

fn play(tools: &Tools, stage: &Stage, set: &Set, scenario: &str) -> anyhow::Result<Played> {
    let Set {
        revision,
        script,
        client,
        package,
        ..
    } = set;
    let client = format!("{client} {}", tools.node_version(package)?);
    let name = format!("scenario-{scenario}-{revision}-{script}");
    let results = stage.folder.join(&name);
    let suite = tools
        .node_folder
        .join("node_modules")
        .join(PACKAGE)
        .join("dist/index.js");
    let through = [
        tools.node.display().to_string(),
        tools.node_folder.join("through.mjs").display().to_string(),
        (*script).to_owned(),
    ];
    let mut command = tools.node(&suite);
    command
        .args(["client", "--scenario", scenario, "--spec-version", revision])
        .args(["--command", &through.join(" "), "--timeout", TIMEOUT_MS])
        .arg("-o")
        .arg(&results)
        .env("JUDGE_MARQUE", &stage.programs().marque);
    let mut running = Running::start(&name, &mut command, &stage.folder)?;
    let until = Instant::now() + SCENARIO_WITHIN;
    while running.next_line(until)?.is_some() {}
    let status = running.end(until)?;
    let version = tools.node_version(PACKAGE)?;
    let mut outcome = conformance::outcome_in(&results, &version, scenario)?;
    if outcome.failures() == 0 && (!status.success() || outcome.passed == 0) {
        outcome.failed.push(conformance::Failed {
            scenario: scenario.to_owned(),
            check: "harness".to_owned(),
            reason: format!("the client or the suite failed ({status}), see {name}.log"),
        });
    }
    Ok(Played {
        client,
        revision,
        outcome,
    })
}
