//! `marque check`: what is wrong with a configuration, said as a compiler says it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use gateway::{EraReport, Gateway, Report, Settings};
use resources::{Finding, ResourceSet, Severity};
use serde_json::json;

use crate::exit::Exit;

/// The arguments of `marque check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Folders or files of resources, or an mcp.json; without any, the current folder
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Also contact every server, and check what it offers
    #[arg(long)]
    connect: bool,

    /// How to print the findings
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

/// How long `--connect` waits for the servers.
const CONNECT_WAIT: Duration = Duration::from_secs(45);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  marque check examples/quickstart
  marque check . --connect
  marque check . --format json | jq '.findings[] | select(.severity == \"Error\")'

Checks exactly what `marque up` checks, without serving. Offline unless --connect is given.

Exit codes: 0 nothing wrong (warnings and notes do not count), 1 errors, 2 wrong arguments.";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line per finding, as a compiler writes it.
    Text,
    /// One JSON object with all of them.
    Json,
}

/// Checks, and prints what was found.
pub(crate) async fn run(mut args: CheckArgs) -> Exit {
    if args.paths.is_empty() {
        args.paths.push(PathBuf::from("."));
    }
    if let Some(missing) = args.paths.iter().find(|path| !path.exists()) {
        anstream::eprintln!("error: {}: no such file or folder", missing.display());
        return Exit::Usage;
    }
    let (set, mut findings) = load(&args.paths);
    if args.connect
        && let Some(set) = set
    {
        findings.extend(connect(set).await);
    }
    findings.sort_by(|one, other| one.origin.cmp(&other.origin));
    match args.format {
        Format::Text => print_text(&findings),
        Format::Json => print_json(&findings),
    }
    if findings.iter().any(Finding::is_error) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn load(paths: &[PathBuf]) -> (Option<ResourceSet>, Vec<Finding>) {
    let loaded = source_files::load(paths, &|name| std::env::var(name).ok());
    let mut findings = loaded.findings;
    if let Some(set) = &loaded.set {
        findings.extend(gateway::check(set));
    }
    (loaded.set, findings)
}

/// Contacts every server, as a start would, and says what a start would say.
async fn connect(set: ResourceSet) -> Vec<Finding> {
    let settings = match program() {
        Ok(supervisor) => Settings::alone(supervisor),
        Err(reason) => return vec![Finding::error("no-program", reason)],
    };
    let gateway = match Gateway::start(&set, settings) {
        Ok(gateway) => gateway,
        Err(findings) => return findings,
    };
    let end = Instant::now() + CONNECT_WAIT;
    while !gateway.report().settled && Instant::now() < end {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    gateway.refresh();
    let report = gateway.report();
    gateway.close().await;
    report_findings(&report)
}

/// What a report says about servers that are down, that speak only one era, and tools that are not shown.
pub(crate) fn report_findings(report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in &report.servers {
        let about = |text: String| format!("server `{}`: {text}", server.id);
        match (&server.modern, &server.legacy) {
            (EraReport::NotSpoken { reason }, EraReport::Ready { version, .. }) => findings.push(
                Finding::note(
                    "legacy-only",
                    about(format!("speaks {version} only ({reason})")),
                )
                .help("modern clients are served as well: Marque says everything in the server's era; a call that waits for a user's answer then stays with one process"),
            ),
            (EraReport::Ready { version, .. }, EraReport::NotSpoken { reason }) => findings.push(
                Finding::note(
                    "modern-only",
                    about(format!("speaks {version} only ({reason})")),
                )
                .help("legacy clients are served as well: Marque says everything in the server's era"),
            ),
            (EraReport::NotSpoken { reason }, EraReport::NotSpoken { reason: other }) => {
                findings.push(Finding::error(
                    "not-mcp",
                    about(format!("speaks no MCP: {reason}; {other}")),
                ));
            }
            _ => {}
        }
        for era in [&server.modern, &server.legacy] {
            match era {
                EraReport::Down { reason, .. } => {
                    findings.push(Finding::error("server-down", reason.clone()))
                }
                EraReport::Starting => findings.push(Finding::error(
                    "server-silent",
                    about("has not answered yet".to_owned()),
                )),
                EraReport::Ready { problems, .. } => {
                    findings.extend(
                        problems
                            .iter()
                            .map(|text| Finding::warning("left-out", about(text.clone()))),
                    );
                }
                EraReport::NotSpoken { .. } => {}
            }
        }
    }
    for toolset in &report.toolsets {
        findings.extend(toolset.problems.iter().map(|text| {
            Finding::warning("not-shown", format!("toolset `{}`: {text}", toolset.name))
        }));
    }
    findings.dedup_by(|one, other| one.message == other.message);
    findings
}

/// This program's own file, which supervises child processes.
pub(crate) fn program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find the program's own file: {error}"))
}

fn print_text(findings: &[Finding]) {
    for finding in findings {
        anstream::println!("{}", colored(finding));
    }
    anstream::eprintln!("{}", summary(findings));
}

fn print_json(findings: &[Finding]) {
    let count = |severity| of(findings, severity);
    let report = json!({
        "findings": findings,
        "errors": count(Severity::Error),
        "warnings": count(Severity::Warning),
        "notes": count(Severity::Note),
    });
    anstream::println!("{report:#}");
}

/// Colors the word for the severity; where there is no terminal, the colors are taken out again.
fn colored(finding: &Finding) -> String {
    let (word, style) = match finding.severity {
        Severity::Error => ("error[", "\x1b[1;31m"),
        Severity::Warning => ("warning[", "\x1b[1;33m"),
        Severity::Note => ("note[", "\x1b[1;36m"),
    };
    finding
        .to_string()
        .replacen(word, &format!("{style}{word}"), 1)
        .replacen("]: ", "]\x1b[0m: ", 1)
}

fn of(findings: &[Finding], severity: Severity) -> usize {
    let same = |finding: &&Finding| finding.severity == severity;
    findings.iter().filter(same).count()
}

fn summary(findings: &[Finding]) -> String {
    let words = [
        (Severity::Error, "error"),
        (Severity::Warning, "warning"),
        (Severity::Note, "note"),
    ];
    let counts: Vec<String> = words
        .into_iter()
        .filter_map(|(severity, word)| match of(findings, severity) {
            0 => None,
            1 => Some(format!("1 {word}")),
            count => Some(format!("{count} {word}s")),
        })
        .collect();
    if counts.is_empty() {
        return "nothing wrong".to_owned();
    }
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_in_words() {
        assert_eq!(summary(&[]), "nothing wrong");
        let findings = [
            Finding::note("a", "a"),
            Finding::error("b", "b"),
            Finding::error("c", "c"),
        ];
        assert_eq!(summary(&findings), "2 errors, 1 note");
    }

    #[test]
    fn only_the_severity_is_colored() {
        let colored = colored(&Finding::error("bad-name", "error[x]: odd"));
        assert_eq!(colored, "\x1b[1;31merror[bad-name]\x1b[0m: error[x]: odd");
    }
}
