//! `rmcp-client`: the scripted session of the client matrix, or one call, as a program.

use std::process::ExitCode;

use clap::Parser;
use testkit::session;

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
    let second = std::env::var("JUDGE_SECOND").ok();
    session::play(&arguments.url, arguments.modern, second.as_deref()).await
}

#[expect(clippy::print_stdout, reason = "the text is this program's answer")]
fn print(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a program says why it ended")]
fn complain(error: &anyhow::Error) {
    eprintln!("rmcp-client: {error:#}");
}
