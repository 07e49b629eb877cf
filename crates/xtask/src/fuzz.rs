//! Runs every fuzz target for a short while.
//!
//! The targets are ordinary programs with the fuzzing engine linked in, built by the stable compiler with the
//! coverage instrumentation that the engine reads; nothing needs to be installed.
//! Found inputs are kept in `fuzz/artifacts`, and the corpus grows in `fuzz/corpus`; both stay out of the repository,
//! while `fuzz/seeds` belongs to it.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;

use crate::workspace;

/// What makes the compiler leave the counters that the engine looks at.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";
/// The longest input the engine tries, in bytes.
const INPUT_BYTES_MAX: u32 = 64 * 1024;
/// Memory at which the engine says that a target grew without bound, in MiB.
const MEMORY_MIB_MAX: u32 = 1024;
/// Seconds after which one input counts as a hang.
const INPUT_SECONDS_MAX: u32 = 10;

/// How long, and which.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Only these targets.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Builds the targets and runs them one after the other; fails when any of them does.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = workspace::root().join("fuzz");
    let programs = build(&folder, &options.only)?;
    let mut failed = Vec::new();
    for (name, program) in &programs {
        println!("== fuzz {name}, {} s", options.seconds);
        if let Err(error) = feed(&folder, name, Path::new(program), options.seconds) {
            println!("{error:#}");
            failed.push(name.as_str());
        }
    }
    if !failed.is_empty() {
        bail!(
            "failed: {}; the inputs lie in fuzz/artifacts",
            failed.join(", ")
        );
    }
    Ok(())
}

/// Builds the named targets, or all, and yields their names and programs.
fn build(folder: &Path, only: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let host = workspace::output_of(workspace::program("rustc").args(["--print", "host-tuple"]))?;
    let told = workspace::output_of(
        workspace::program(env!("CARGO"))
            .args(["build", "--release", "--locked"])
            .args(if only.is_empty() {
                vec!["--bins"]
            } else {
                Vec::new()
            })
            .args(only.iter().flat_map(|name| ["--bin", name.as_str()]))
            // Naming the target keeps the instrumentation away from build scripts.
            .args(["--target", host.trim()])
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .env("RUSTFLAGS", INSTRUMENTATION),
    )?;
    let mut programs: Vec<(String, String)> = told.lines().filter_map(program_of).collect();
    programs.sort();
    if programs.is_empty() {
        bail!("cargo built no fuzz target");
    }
    Ok(programs)
}

/// The name and file of a built program, of one line that cargo tells.
fn program_of(line: &str) -> Option<(String, String)> {
    let told: serde_json::Value = serde_json::from_str(line).ok()?;
    let name = told.pointer("/target/name")?.as_str()?;
    let program = told.get("executable")?.as_str()?;
    Some((name.to_owned(), program.to_owned()))
}

fn feed(folder: &Path, name: &str, program: &Path, seconds: u32) -> anyhow::Result<()> {
    let corpus = folder.join("corpus").join(name);
    let artifacts = folder.join("artifacts").join(name);
    for made in [&corpus, &artifacts] {
        std::fs::create_dir_all(made).with_context(|| made.display().to_string())?;
    }
    let mut command = workspace::program(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-verbosity=0", "-print_final_stats=1"])
        .env("RUST_BACKTRACE", "0")
        .arg(&corpus);
    let seeds = folder.join("seeds").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    workspace::watch(&mut command)
}
