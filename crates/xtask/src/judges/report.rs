//! Tables for the terminal and for `docs/conformance.md`.

use std::fmt::Write as _;

use anyhow::Context;

use super::clients::{STEPS, Session};
use super::conformance::Outcome;
use crate::workspace;

const FILE: &str = "docs/conformance.md";

/// A part of the document that is written here and nowhere else.
#[derive(Clone, Copy)]
pub(super) enum Section {
    /// The suites' table.
    Suites,
    /// The suites in every pair of eras.
    Cross,
    /// The client suite.
    Scenarios,
    /// The clients' matrix.
    Clients,
    /// The clients with every kind of server.
    Pairs,
}

impl Section {
    fn name(self) -> &'static str {
        match self {
            Self::Suites => "suites",
            Self::Cross => "pairs of eras",
            Self::Scenarios => "client suite",
            Self::Clients => "clients",
            Self::Pairs => "clients and servers",
        }
    }
}

/// The table of the suites, with every failed check and warning below it.
pub(super) fn suites(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| suite | run | scenarios | passed | failed | skipped |\n|---|---|--:|--:|--:|--:|\n",
    );
    for outcome in outcomes {
        let Outcome {
            version,
            what,
            scenarios,
            passed,
            skipped,
            ..
        } = outcome;
        let failed = outcome.failures();
        line(
            &mut text,
            &format!("| {version} | {what} | {scenarios} | {passed} | {failed} | {skipped} |"),
        );
    }
    for (heading, list) in [
        (
            "Failed checks:",
            outcomes
                .iter()
                .flat_map(|one| one.failed.iter().map(ToString::to_string))
                .collect::<Vec<_>>(),
        ),
        (
            "Recommendations not followed:",
            outcomes
                .iter()
                .flat_map(|one| one.warnings.clone())
                .collect(),
        ),
    ] {
        bullets(&mut text, heading, &list);
    }
    text
}

/// The matrix of the clients, with every failed step below it.
pub(super) fn matrix(sessions: &[Session]) -> String {
    let mut text = String::from("| client | revision |");
    for step in STEPS {
        write!(text, " {step} |").expect("a string takes everything");
    }
    text.push_str("\n|---|---|");
    text.push_str(&":-:|".repeat(STEPS.len()));
    text.push('\n');
    let mut failed = Vec::new();
    for session in sessions {
        write!(text, "| {} | {} |", session.client, session.revision)
            .expect("a string takes everything");
        for step in STEPS {
            write!(text, " {} |", mark(session, step)).expect("a string takes everything");
        }
        text.push('\n');
        let broken = session.steps.iter().filter(|(_, step)| !step.ok);
        failed.extend(broken.map(|(name, step)| {
            format!(
                "{} {}, {name}: {}",
                session.client, session.revision, step.detail
            )
        }));
    }
    bullets(&mut text, "Failed steps:", &failed);
    text
}

fn mark(session: &Session, step: &str) -> &'static str {
    match session.steps.get(step) {
        Some(done) if done.ok => "✓",
        Some(_) => "✗",
        None if session.expected.contains(&step) => "✗",
        None => "–",
    }
}

/// Replaces the section in the document; `subject` says who was judged if it is not Marque alone.
pub(super) fn write(section: Section, subject: &str, text: &str) -> anyhow::Result<()> {
    let name = format!("{}{subject}", section.name());
    let file = workspace::root().join(FILE);
    let document = std::fs::read_to_string(&file).with_context(|| FILE.to_owned())?;
    let document =
        replace(&document, &name, text).with_context(|| format!("{FILE} has no section {name}"))?;
    Ok(std::fs::write(&file, document)?)
}

/// The document with `text` between the two marks of the section.
fn replace(document: &str, name: &str, text: &str) -> Option<String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let end = "<!-- end -->";
    let from = document.find(&begin)? + begin.len();
    let to = from + document[from..].find(end)?;
    let (before, after) = (&document[..from], &document[to..]);
    Some(format!("{before}\n{}\n\n{after}", text.trim_end()))
}

pub(super) fn bullets(text: &mut String, heading: &str, list: &[String]) {
    if list.is_empty() {
        return;
    }
    line(text, &format!("\n{heading}\n"));
    for told in list {
        line(text, &format!("- {}", one_line(told)));
    }
}

/// Without line breaks, bars and the address of the endpoint, which differs from run to run.
fn one_line(told: &str) -> String {
    let words = told.split_whitespace().map(|word| {
        if word.contains("127.0.0.1:") {
            "(address)"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ").replace('|', "/")
}

pub(super) fn line(text: &mut String, told: &str) {
    text.push_str(told);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::{one_line, replace};

    #[test]
    fn only_the_section_is_replaced() {
        let document = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n";
        let expected = "a\n<!-- generated: x -->\n\nnew\n\n<!-- end -->\nb\n";
        assert_eq!(replace(document, "x", "new\n").as_deref(), Some(expected));
        assert_eq!(replace(expected, "x", "new\n").as_deref(), Some(expected));
        assert_eq!(replace(document, "y", "new"), None);
    }

    #[test]
    fn reasons_fit_on_one_line() {
        assert_eq!(
            one_line("a\n b | http://127.0.0.1:5/mcp c"),
            "a b / (address) c"
        );
    }
}
