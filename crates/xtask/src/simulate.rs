//! Plays the gateway between simulated clients and servers, seed after seed.
//!
//! The world is a test program of the gateway (`crates/gateway/tests/simulate`): one thread, a network in memory, paused
//! time. A seed that fails is told as a story, and can be played again.

use clap::Args;

use crate::workspace;

/// Which seeds, and how many.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only this one, with its whole story.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Build with optimizations: worth it from some thousand seeds on.
    #[arg(long)]
    release: bool,
}

/// Plays the seeds; fails when anything does not hold in any of them.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut command = workspace::program(env!("CARGO"));
    command
        .args(["test", "--quiet", "--locked", "--package", "gateway"])
        .args(["--test", "simulate"])
        .args(options.release.then_some("--release"))
        .args(["--", "--nocapture"])
        .current_dir(workspace::root());
    match options.seed {
        Some(seed) => command
            .env("SIMULATE_SEED", seed.to_string())
            .env("SIMULATE_TELL", "yes"),
        None => command
            .env("SIMULATE_FIRST", options.first.to_string())
            .env("SIMULATE_SEEDS", options.seeds.to_string()),
    };
    workspace::watch(&mut command)
}
