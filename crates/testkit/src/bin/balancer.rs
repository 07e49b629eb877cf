//! `balancer`: a dumb round robin before replicas, as a program.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use testkit::balancer;

/// Sends every HTTP request to the next target.
#[derive(Parser)]
struct Arguments {
    /// Listen here; the first line on stdout is the address.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The targets, in their order.
    #[arg(required = true)]
    targets: Vec<SocketAddr>,
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
    let running = balancer::serve(arguments.listen, arguments.targets).await?;
    announce(running.address());
    running.wait().await;
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the address on stdout is this program's interface"
)]
fn announce(address: SocketAddr) {
    println!("http://{address}");
}

#[expect(clippy::print_stderr, reason = "a program says why it ended")]
fn complain(error: &anyhow::Error) {
    eprintln!("balancer: {error:#}");
}
