//! Automation of the project: `cargo xtask …`.
//!
//! Start reading at [`tidy`], which holds the rules of the house; [`bench`] measures, [`fuzz`] feeds the decoders,
//! [`judges`] asks others.
// The answers of a command line go to its standard output; nothing here runs in a server.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints its answers"
)]

mod bench;
mod fuzz;
mod judges;
mod limits;
mod module_tree;
mod simulate;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Hold the rules of the house: crate table, module circles, unfinished work, documents.
    Tidy,
    /// Write the documents that are made from the code: docs/reference/limits.md.
    Generate,
    /// Play the gateway in simulated worlds, one for each seed.
    Simulate(simulate::Options),
    /// Run every fuzz target for a short while.
    Fuzz(fuzz::Options),
    /// Run the official conformance suites and sessions of real clients, and write docs/conformance.md.
    Judges(judges::Options),
    /// Measure against nginx and a minimal hop, and write docs/performance.md.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Tidy => tidy::run(),
        Task::Generate => limits::write(),
        Task::Simulate(options) => simulate::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Judges(options) => judges::run(&options),
        Task::Bench(options) => bench::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
