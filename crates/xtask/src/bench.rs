//! Measures Marque beside nginx and a minimal hop, and writes docs/performance.md.
//!
//! What is measured stands in [`plan`]; how the programs are found, started and asked in [`tools`], [`stage`] and
//! [`load`]; how it is told in [`report`].
//! One CPU carries the hop under test, the other the backend and the load, and every repeat visits all hops before the
//! next repeat starts, so that a slow drift of the machine falls on all of them alike.

mod load;
mod plan;
mod report;
mod stage;
mod tools;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use load::{Measured, Sample};
use plan::{Era, Scenario, Target};
use report::Machine;
use stage::Stage;
use tools::Tools;

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A short run: two repeats, and docs/performance.md stays as it is.
    #[arg(long)]
    quick: bool,
    /// How often each scenario visits each hop.
    #[arg(long)]
    repeats: Option<usize>,
    /// Only these scenarios (see the first column of the output), and docs/performance.md stays as it is.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The sources of the measuring tools.
    #[arg(long, default_value = "../shared/bench")]
    tools: PathBuf,
    /// A folder of measuring tools built before.
    #[arg(long)]
    tools_built: Option<PathBuf>,
    /// A marque built before; otherwise one is built for release.
    #[arg(long)]
    marque: Option<PathBuf>,
}

/// All measurements by scenario, hop and era.
pub(crate) type Results = BTreeMap<(&'static str, &'static str, Era), Measured>;

/// Builds, starts, measures, tells.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let tools = Tools::find(options)?;
    let pace = Pace::of(options);
    let machine = Machine::look(&tools)?;
    let mut stage = Stage::set(&tools)?;
    let mut results = Results::new();
    for scenario in plan::SCENARIOS {
        if options.only.is_empty() || options.only.iter().any(|name| name == scenario.name) {
            measure(&tools, &mut stage, &pace, scenario, &mut results)?;
        }
    }
    if options.quick || !options.only.is_empty() {
        return Ok(());
    }
    report::write(&results, &machine, pace.repeats)
}

/// How long and how often.
pub(crate) struct Pace {
    repeats: usize,
    warmup: &'static str,
    duration: &'static str,
}

impl Pace {
    fn of(options: &Options) -> Self {
        // Many short visits: a burst of other work then spoils few of them, and the median forgets those.
        let (repeats, warmup, duration) = if options.quick {
            (2, "0.3", "1.2")
        } else {
            (9, "0.3", "1.2")
        };
        Self {
            repeats: options.repeats.unwrap_or(repeats),
            warmup,
            duration,
        }
    }
}

fn measure(
    tools: &Tools,
    stage: &mut Stage,
    pace: &Pace,
    scenario: &'static Scenario,
    results: &mut Results,
) -> anyhow::Result<()> {
    println!("== {}: {}", scenario.name, scenario.title);
    let mut samples: BTreeMap<(usize, Era), Vec<Sample>> = BTreeMap::new();
    for _ in 0..scenario.repeats(pace.repeats) {
        for (place, target) in scenario.targets.iter().enumerate() {
            for era in scenario.eras {
                let sample = visit(tools, stage, pace, scenario, target, *era)?;
                samples.entry((place, *era)).or_default().push(sample);
            }
        }
    }
    for ((place, era), samples) in samples {
        let target = scenario.targets[place].name;
        let measured = Measured::median(&samples);
        println!("{target:16} {:7} {measured}", era.word());
        results.insert((scenario.name, target, era), measured);
    }
    Ok(())
}

fn visit(
    tools: &Tools,
    stage: &mut Stage,
    pace: &Pace,
    scenario: &Scenario,
    target: &Target,
    era: Era,
) -> anyhow::Result<Sample> {
    stage.check()?;
    if scenario.load == "startup" {
        return stage.start_once(tools, target, era);
    }
    if scenario.fresh {
        // What an earlier run left allocated must not count as memory of this one.
        stage.end(target);
    }
    match stage.place(tools, target) {
        Ok(place) => load::run(tools, pace, scenario, target, era, &place),
        // The other hops are measured all the same, and the report says what failed.
        Err(error) => Ok(Sample::failed(format!("{error:#}"))),
    }
}
