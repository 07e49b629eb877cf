//! What others think of us: the official conformance suites, and sessions of real clients.
//!
//! Everything foreign is pinned under `judges/` and installed below `.judges/`, which git does not see.
//! Start reading at [`run`].

mod cast;
mod clients;
mod conformance;
mod cross;
mod front;
mod install;
mod kind;
mod pairs;
mod process;
mod report;
mod scenarios;
mod stage;
mod tables;

use std::path::PathBuf;

use anyhow::bail;

use install::Tools;
use kind::Kind;
use report::Section;
use stage::{Program, Stage, Subject};

/// What to judge.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Options {
    /// Run only these parts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Judge the fixture server alone: what is the most that can be reached?
    #[arg(long, conflicts_with = "url")]
    direct: bool,
    /// Judge this endpoint, and leave the documents as they are.
    #[arg(long)]
    url: Option<String>,
    /// Put three processes of Marque behind a balancer that sends every request to the next one.
    #[arg(long, conflicts_with_all = ["url", "direct"])]
    replicas: bool,
    /// Put a debug build of Marque in front of the fixture instead of a release build.
    #[arg(long)]
    debug: bool,
    /// A Marque built before, instead of a release build.
    #[arg(long, conflicts_with = "debug")]
    marque: Option<PathBuf>,
    /// Keep the suites' result files and all logs below .judges, as is done when something fails.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Part {
    /// The official suites before a server of every era.
    Conformance,
    /// The official suites in every pair of eras.
    Cross,
    /// The official client suite.
    Scenarios,
    /// The sessions of real clients, over every transport.
    Clients,
    /// The sessions of real clients with every kind of server.
    Pairs,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Conformance,
        Self::Cross,
        Self::Scenarios,
        Self::Clients,
        Self::Pairs,
    ];

    /// Whether it says anything about this subject.
    fn fits(self, options: &Options) -> bool {
        let alone = options.direct || options.url.is_some();
        match self {
            Self::Conformance => !options.replicas,
            Self::Clients => true,
            Self::Cross | Self::Pairs => !alone,
            // Marque is a client there, and every process one of its own.
            Self::Scenarios => !alone && !options.replicas,
        }
    }
}

/// Installs, runs, prints, writes `docs/conformance.md`; fails if any check or step failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let parts: Vec<Part> = Part::ALL
        .into_iter()
        .filter(|part| options.only.is_empty() || options.only.contains(part))
        .filter(|part| part.fits(options))
        .collect();
    if parts.is_empty() {
        bail!("none of these parts says anything about this subject");
    }
    let tools = install::all()?;
    let stage = Stage::set(match &options.url {
        Some(url) => Subject::Given(url.clone()),
        None if options.direct => Subject::Fixture,
        None => Subject::Marque {
            program: match &options.marque {
                Some(path) => Program::Given(path.clone()),
                None if options.debug => Program::Debug,
                None => Program::Release,
            },
            replicas: options.replicas,
        },
    })?;
    let mut failures = 0;
    let mut broken = None;
    for part in parts {
        match judge(part, &tools, &stage) {
            Ok(failed) => failures += failed,
            // The other parts still say what they have to say.
            Err(error) => {
                eprintln!("{part:?} broke off: {error:#}");
                broken = Some(error);
            }
        }
    }
    stage.end(options.keep || failures > 0 || broken.is_some())?;
    match broken {
        Some(error) => Err(error),
        None if failures > 0 => bail!("{failures} failed, see above"),
        None => Ok(()),
    }
}

/// Judges one part, tells of it, and yields how much failed.
fn judge(part: Part, tools: &Tools, stage: &Stage) -> anyhow::Result<usize> {
    let (section, told, failures) = match part {
        Part::Conformance => {
            let outcomes = suites(tools, stage)?;
            let failures = outcomes.iter().map(conformance::Outcome::failures).sum();
            (Section::Suites, report::suites(&outcomes), failures)
        }
        Part::Cross => {
            let judged = cross::run(tools, stage)?;
            let failures = judged.iter().map(|judged| judged.wrong.len()).sum();
            (Section::Cross, tables::cross(&judged), failures)
        }
        Part::Scenarios => {
            let played = scenarios::run(tools, stage)?;
            let failures = played.iter().map(|played| played.outcome.failures()).sum();
            (Section::Scenarios, tables::scenarios(&played), failures)
        }
        Part::Clients => {
            let sessions = clients::run(tools, stage)?;
            let failures = sessions.iter().map(clients::Session::failures).sum();
            (Section::Clients, report::matrix(&sessions), failures)
        }
        Part::Pairs => {
            let columns = pairs::run(tools, stage)?;
            let failures = columns.iter().flatten().map(clients::Session::failures);
            let failures = failures.sum();
            (Section::Pairs, tables::pairs(&columns), failures)
        }
    };
    println!("\n{told}");
    stage.write(section, &told)?;
    Ok(failures)
}

fn suites(tools: &Tools, stage: &Stage) -> anyhow::Result<Vec<conformance::Outcome>> {
    let name = "conformance";
    let endpoint = stage.endpoint(name, Kind::AllEras, conformance::passthrough)?;
    let mut outcomes = Vec::new();
    for plan in &conformance::PLANS {
        let parts = conformance::run(tools, plan, &endpoint.url, &stage.folder, name)?;
        outcomes.extend(parts);
    }
    Ok(outcomes)
}
