//! `fixture-server`: the fixture as a program.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use testkit::fixture::{Eras, Options, serve_http, serve_sse, serve_stdio};

/// An MCP server of every era with the contents that the conformance suites ask for.
#[derive(Parser)]
struct Arguments {
    /// Serve HTTP here; the first line on stdout is the URL.
    #[arg(long, default_value = "127.0.0.1:0", conflicts_with = "stdio")]
    listen: SocketAddr,
    /// Serve one client on standard input and output instead.
    #[arg(long)]
    stdio: bool,
    /// Serve HTTP+SSE, the transport of 2024-11-05, and speak that revision only.
    #[arg(long, conflicts_with_all = ["stdio", "only", "plain"])]
    sse: bool,
    /// Speak only these revisions.
    #[arg(long)]
    only: Option<Only>,
    /// In the handshake revisions, keep no sessions and answer in JSON: nothing is asked or told.
    #[arg(long, conflicts_with = "stdio")]
    plain: bool,
    /// Put this before every tool and prompt name and into every URI.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Offer this many tools more.
    #[arg(long, default_value_t = 0)]
    tools: usize,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Only {
    Legacy,
    Modern,
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
    let eras = match arguments.only {
        Some(Only::Legacy) => Eras::Legacy,
        Some(Only::Modern) => Eras::Modern,
        None if arguments.sse => Eras::First,
        None => Eras::All,
    };
    let options = Options {
        eras,
        prefix: arguments.prefix,
        more_tools: arguments.tools,
        plain: arguments.plain,
    };
    if arguments.stdio {
        return serve_stdio(options).await;
    }
    let running = if arguments.sse {
        serve_sse(arguments.listen, options).await?
    } else {
        serve_http(arguments.listen, options).await?
    };
    announce(&running.url());
    running.wait().await;
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the URL on stdout is this program's interface"
)]
fn announce(url: &str) {
    println!("{url}");
}

#[expect(clippy::print_stderr, reason = "a program says why it ended")]
fn complain(error: &anyhow::Error) {
    eprintln!("fixture-server: {error:#}");
}
