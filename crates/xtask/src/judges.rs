//! What others think of us: the official conformance suites, and sessions of real clients.
//!
//! Everything foreign is pinned under `judges/` and installed below `.judges/`, which git does not see.
//! Start reading at [`run`].

mod clients;
mod conformance;
mod install;
mod process;
mod report;
mod stage;

use anyhow::bail;

use install::Tools;
use stage::{Stage, Subject};

/// What to judge.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run only one half.
    #[arg(long)]
    only: Option<Half>,
    /// Judge the fixture server alone: what is the most that can be reached?
    #[arg(long, conflicts_with = "url")]
    direct: bool,
    /// Judge this endpoint, and leave the documents as they are.
    #[arg(long)]
    url: Option<String>,
    /// Put a debug build of Marque in front of the fixture instead of a release build.
    #[arg(long)]
    debug: bool,
    /// Keep the suites' result files and all logs below .judges, as is done when something fails.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Half {
    /// The official suites.
    Conformance,
    /// The sessions of real clients.
    Clients,
}

/// Installs, runs, prints, writes `docs/conformance.md`; fails if any check or step failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let tools = install::all()?;
    let subject = match &options.url {
        Some(url) => Subject::Given(url.clone()),
        None if options.direct => Subject::Fixture,
        None => Subject::Marque {
            release: !options.debug,
        },
    };
    let mut stage = Stage::set(subject)?;
    let mut failures = 0;
    if options.only != Some(Half::Clients) {
        failures += judge_conformance(&tools, &mut stage)?;
    }
    if options.only != Some(Half::Conformance) {
        failures += judge_clients(&tools, &mut stage)?;
    }
    stage.end(options.keep || failures > 0)?;
    if failures > 0 {
        bail!("{failures} failed, see above");
    }
    Ok(())
}

fn judge_conformance(tools: &Tools, stage: &mut Stage) -> anyhow::Result<usize> {
    let url = stage.conformance_url()?;
    let outcomes = conformance::run(tools, &url, &stage.folder)?;
    let section = report::suites(&outcomes);
    println!("\n{section}");
    stage.write(report::Section::Suites, &section)?;
    Ok(outcomes.iter().map(conformance::Outcome::failures).sum())
}

fn judge_clients(tools: &Tools, stage: &mut Stage) -> anyhow::Result<usize> {
    let sessions = clients::run(tools, stage)?;
    let section = report::matrix(&sessions);
    println!("\n{section}");
    stage.write(report::Section::Clients, &section)?;
    Ok(sessions.iter().map(clients::Session::failures).sum())
}
