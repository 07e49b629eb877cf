//! The official suites in every pair of eras: what client and server each speak is pinned.

use std::fmt;

use super::conformance::{self, Failed, LEGACY, MODERN, OLDER, Outcome, Plan, TASKS};
use super::install::Tools;
use super::kind::Kind;
use super::process::two_at_a_time;
use super::stage::Stage;

/// A failure that lies in the revisions, not in who stands between.
pub(super) struct Unavoidable {
    scenario: &'static str,
    check: &'static str,
    /// Why nobody could pass it.
    reason: &'static str,
}

impl fmt::Display for Unavoidable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            check,
            reason,
        } = self;
        write!(f, "{scenario} / {check}: {reason}")
    }
}

/// All of them, between a client of 2026-07-28 and a server of 2025-11-25.
pub(super) const UNAVOIDABLE: [Unavoidable; 3] = [
    Unavoidable {
        scenario: "server-stateless",
        check: "sep-2575-server-rejects-undeclared-capability",
        reason: "before 2026-07-28 there is no error code for a capability that the client lacks: the server says it in words, as any tool that failed",
    },
    Unavoidable {
        scenario: "server-stateless",
        check: "sep-2575-missing-capability-http-400",
        reason: "follows from the former: the status belongs to the code",
    },
    Unavoidable {
        scenario: "input-required-result-basic-elicitation",
        check: "sep-2322-elicitation-incomplete",
        reason: "the suite expects the key `user_name`; a pushed question has no key, so Marque chooses one",
    },
];

/// What came of a run in one pair of eras.
pub(super) struct Judged {
    /// The server's era.
    pub(super) server: Server,
    /// What the suite said.
    pub(super) outcome: Outcome,
    /// Failures that were not to be, and passes that were not to be.
    pub(super) wrong: Vec<String>,
}

/// What the server speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Server {
    Legacy,
    Modern,
}

impl Server {
    fn kind(self) -> Kind {
        match self {
            Self::Legacy => Kind::PinnedLegacy,
            Self::Modern => Kind::PinnedModern,
        }
    }
}

struct Cell {
    name: &'static str,
    server: Server,
    plans: &'static [Plan],
}

const CELLS: [Cell; 4] = [
    Cell {
        name: "cross-legacy-legacy",
        server: Server::Legacy,
        plans: &[OLDER, LEGACY],
    },
    Cell {
        name: "cross-legacy-modern",
        server: Server::Modern,
        plans: &[OLDER, LEGACY],
    },
    Cell {
        name: "cross-modern-legacy",
        server: Server::Legacy,
        plans: &[MODERN],
    },
    Cell {
        name: "cross-modern-modern",
        server: Server::Modern,
        plans: &[MODERN],
    },
];

/// Runs all cells, two at a time.
pub(super) fn run(tools: &Tools, stage: &Stage) -> anyhow::Result<Vec<Judged>> {
    let cells = two_at_a_time(CELLS.iter().collect(), |cell| run_cell(tools, stage, cell))?;
    Ok(cells.into_iter().flatten().collect())
}

fn run_cell(tools: &Tools, stage: &Stage, cell: &Cell) -> anyhow::Result<Vec<Judged>> {
    let endpoint = stage.endpoint(cell.name, cell.server.kind(), conformance::passthrough)?;
    let mut judged = Vec::new();
    for plan in cell.plans {
        let outcomes = conformance::run(tools, plan, &endpoint.url, &stage.folder, cell.name)?;
        let bridged = plan.is_modern() && cell.server == Server::Legacy;
        // An old server has no tasks of the extension; the revision does not score them.
        let outcomes = outcomes
            .into_iter()
            .filter(|outcome| !(bridged && outcome.what == TASKS));
        judged.extend(outcomes.map(|outcome| Judged {
            server: cell.server,
            wrong: wrong(&outcome.failed, if bridged { &UNAVOIDABLE } else { &[] }),
            outcome,
        }));
    }
    Ok(judged)
}

/// Failures that are not among the unavoidable ones, and those of them that did not come.
fn wrong(failed: &[Failed], unavoidable: &[Unavoidable]) -> Vec<String> {
    let is = |one: &Unavoidable, failed: &Failed| {
        one.scenario == failed.scenario && one.check == failed.check
    };
    let mut wrong: Vec<String> = failed
        .iter()
        .filter(|failed| !unavoidable.iter().any(|one| is(one, failed)))
        .map(Failed::to_string)
        .collect();
    for one in unavoidable {
        if !failed.iter().any(|failed| is(one, failed)) {
            let Unavoidable {
                scenario, check, ..
            } = one;
            wrong.push(format!(
                "{scenario} / {check}: passed, though it is listed as unavoidable"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{Failed, UNAVOIDABLE, wrong};

    fn failed(scenario: &str, check: &str) -> Failed {
        Failed {
            scenario: scenario.to_owned(),
            check: check.to_owned(),
            reason: "so".to_owned(),
        }
    }

    #[test]
    fn exactly_the_unavoidable_failures_are_right() {
        let mut all: Vec<_> = UNAVOIDABLE
            .iter()
            .map(|one| failed(one.scenario, one.check))
            .collect();
        assert_eq!(wrong(&all, &UNAVOIDABLE), Vec::<String>::new());
        assert_eq!(wrong(&all, &[]).len(), 3);
        all.push(failed("ping", "ping"));
        assert_eq!(wrong(&all, &UNAVOIDABLE), ["ping / ping: so"]);
        all.remove(0);
        assert_eq!(wrong(&all, &UNAVOIDABLE).len(), 2);
    }
}
