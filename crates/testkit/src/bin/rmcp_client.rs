//! `rmcp-client`: the scripted session of the client matrix, or one call, as a program.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use testkit::session::{self, Plan};

/// Plays the session of the client matrix with the official Rust SDK.
#[derive(Parser)]
struct Arguments {
    /// The MCP endpoint.
    url: String,
    /// Speak revision 2026-07-28 instead of 2025-11-25.
    #[arg(long)]
    modern: bool,
    /// Call only this tool, without arguments, and print its text.
    #[arg(long)]
    call: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(tool) = arguments.call {
        print(&session::call_once(&arguments.url, &tool).await?);
        return Ok(());
    }
    session::play(&arguments.url, arguments.modern, plan()?).await
}

/// What to play, from the variables that `judges/README.md` names.
fn plan() -> anyhow::Result<Plan> {
    let told = |name: &str| std::env::var(name).ok();
    let second = told("JUDGE_SECOND").map(|text| serde_json::from_str(&text));
    let steps = told("JUDGE_STEPS").map(|text| text.split(',').map(str::to_owned).collect());
    Ok(Plan {
        second: second.transpose().context("JUDGE_SECOND")?,
        steps,
        reload: told("JUDGE_RELOAD"),
    })
}

#[expect(clippy::print_stdout, reason = "the text is this program's answer")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a program says why it ended")]
fn complain(error: &anyhow::Error) {
    eprintln!("rmcp-client: {error:#}");
}
