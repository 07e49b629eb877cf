//! Tables with a column per kind of server, and the table of the client suite.

use super::clients::Session;
use super::conformance::TASKS;
use super::cross::{Judged, Server, UNAVOIDABLE};
use super::pairs::COLUMNS;
use super::report::{bullets, line};
use super::scenarios::Played;

/// What the suites say in every pair of eras, and below it what was wrong.
pub(super) fn cross(judged: &[Judged]) -> String {
    let mut text = String::from(
        "| suite, as the client | server of 2025-11-25 | server of 2026-07-28 |\n|---|---|---|\n",
    );
    let mut rows: Vec<String> = Vec::new();
    for one in judged {
        let row = row(one);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    for name in &rows {
        let [legacy, modern] = [Server::Legacy, Server::Modern].map(|server| {
            let one = judged
                .iter()
                .find(|one| one.server == server && row(one) == *name);
            one.map_or_else(|| "–".to_owned(), cell)
        });
        line(&mut text, &format!("| {name} | {legacy} | {modern} |"));
    }
    let unavoidable = UNAVOIDABLE.each_ref().map(|one| one.to_string());
    bullets(
        &mut text,
        "What nobody can pass between a client of 2026-07-28 and a server of 2025-11-25:",
        &unavoidable,
    );
    let wrong: Vec<String> = judged
        .iter()
        .flat_map(|one| one.wrong.iter().map(move |wrong| named(one, wrong)))
        .collect();
    bullets(&mut text, "Wrong:", &wrong);
    let warnings: Vec<String> = judged
        .iter()
        .flat_map(|one| {
            one.outcome
                .warnings
                .iter()
                .map(move |told| named(one, told))
        })
        .collect();
    bullets(&mut text, "Recommendations not followed:", &warnings);
    text
}

fn row(one: &Judged) -> String {
    let what = one.outcome.what.as_str();
    let era = if what.contains("2026-07-28") || what == TASKS {
        "2026-07-28"
    } else {
        "2025-11-25"
    };
    format!("{era}: {} {what}", one.outcome.version)
}

fn cell(one: &Judged) -> String {
    let (passed, failed) = (one.outcome.passed, one.outcome.failures());
    let wrong = one.wrong.len();
    match (failed, wrong) {
        (0, 0) => format!("{passed} passed, 0 failed"),
        (_, 0) => format!("{passed} passed, {failed} failed as nobody can pass"),
        _ => format!("{passed} passed, {failed} failed, {wrong} wrong"),
    }
}

fn named(one: &Judged, told: &str) -> String {
    let server = match one.server {
        Server::Legacy => "2025-11-25",
        Server::Modern => "2026-07-28",
    };
    format!("{}, server of {server}: {told}", row(one))
}

/// What the client suite says, scenario by scenario.
pub(super) fn scenarios(played: &[Played]) -> String {
    let mut text =
        String::from("| client | revision | scenario | passed | failed |\n|---|---|---|--:|--:|\n");
    for one in played {
        let Played {
            client,
            revision,
            outcome,
        } = one;
        let (what, passed, failed) = (&outcome.what, outcome.passed, outcome.failures());
        line(
            &mut text,
            &format!("| {client} | {revision} | {what} | {passed} | {failed} |"),
        );
    }
    let told = |one: &Played, told: String| format!("{} {}, {told}", one.client, one.revision);
    let failed: Vec<String> = played
        .iter()
        .flat_map(|one| {
            one.outcome
                .failed
                .iter()
                .map(|bad| told(one, bad.to_string()))
        })
        .collect();
    bullets(&mut text, "Failed checks:", &failed);
    let warnings: Vec<String> = played
        .iter()
        .flat_map(|one| {
            one.outcome
                .warnings
                .iter()
                .map(|warned| told(one, warned.clone()))
        })
        .collect();
    bullets(&mut text, "Recommendations not followed:", &warnings);
    text
}

/// How many steps of each pair went as they should, and below it what did not.
pub(super) fn pairs(columns: &[Vec<Session>]) -> String {
    let titles: Vec<&str> = COLUMNS.iter().map(|column| column.title).collect();
    let mut text = format!("| client | speaks | {} |\n|---|---|", titles.join(" | "));
    line(&mut text, &":-:|".repeat(COLUMNS.len()));
    let clients = columns.first().map_or(&[][..], Vec::as_slice);
    for (number, client) in clients.iter().enumerate() {
        let cells: Vec<String> = columns
            .iter()
            .filter_map(|sessions| sessions.get(number))
            .map(steps)
            .collect();
        line(
            &mut text,
            &format!(
                "| {} | {} | {} |",
                client.client,
                client.revision,
                cells.join(" | ")
            ),
        );
    }
    let mut failed = Vec::new();
    for (column, sessions) in COLUMNS.iter().zip(columns) {
        for session in sessions {
            failed.extend(
                session
                    .steps
                    .iter()
                    .filter(|(_, step)| !step.ok)
                    .map(|(name, step)| {
                        format!(
                            "{} {} with {}, {name}: {}",
                            session.client, session.revision, column.title, step.detail
                        )
                    }),
            );
        }
    }
    bullets(&mut text, "Failed steps:", &failed);
    text
}

fn steps(session: &Session) -> String {
    let all = session.expected.len();
    let mark = if session.failures() == 0 {
        "✓"
    } else {
        "✗"
    };
    format!("{mark} {} of {all}", all - session.failures())
}
