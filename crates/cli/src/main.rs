//! The `marque` program: arguments and wiring.
//!
//! Invariants: this is the only place that knows every other crate; what a command prints for
//! programs goes to stdout, everything else to stderr; a closed pipe ends the program quietly.
//!
//! Start reading at `Command`, then the module of the command in `commands`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Exit;

mod commands;

mod exit;
mod state;
mod telemetry;

/// An MCP gateway: many MCP servers behind one governed endpoint.
#[derive(Debug, Parser)]
#[command(name = "marque", version, propagate_version = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  marque up examples/quickstart            serve the folder on http://127.0.0.1:8484
  marque up ~/.cursor/mcp.json             serve what an editor is configured with
  marque check examples/quickstart         say what is wrong with it, without serving
  marque tools list http://127.0.0.1:8484/mcp/default
  marque tools call http://127.0.0.1:8484/mcp/default now zone=Europe/Berlin";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve MCP servers behind one endpoint
    Up(Box<commands::up::UpArgs>),
    /// Say what is wrong with a configuration, without serving it
    Check(commands::check::CheckArgs),
    /// Make, list and revoke API keys, by which callers prove who they are
    #[command(subcommand)]
    Keys(commands::keys::KeysCommand),
    /// List and call the tools of an MCP server
    #[command(subcommand)]
    Tools(commands::tools::ToolsCommand),
    /// List and fill in the prompts of an MCP server
    #[command(subcommand)]
    Prompts(commands::tools::PromptsCommand),
    /// List and read the resources of an MCP server
    #[command(subcommand)]
    Resources(commands::tools::ResourcesCommand),
    /// Print the JSON Schema of a kind, for completion in editors
    Schema(commands::schema::SchemaArgs),
    /// Run one of the example MCP servers on stdin and stdout
    #[command(subcommand)]
    Sample(commands::sample::SampleCommand),
    /// Print a script that completes commands in a shell
    Completions(commands::completions::CompletionsArgs),
}

fn main() -> ExitCode {
    // Before anything else: the supervisor of child processes must stay a single small process.
    if let Some(code) = commands::supervise::run_if_asked() {
        return code;
    }
    run(Arguments::parse().command).into()
}

fn run(command: Command) -> Exit {
    match command {
        Command::Schema(args) => commands::schema::run(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Up(args) => block_on(commands::up::run(*args)),
        Command::Check(args) => block_on(commands::check::run(args)),
        Command::Keys(command) => block_on(commands::keys::run(command)),
        Command::Tools(command) => block_on(commands::tools::tools(command)),
        Command::Prompts(command) => block_on(commands::tools::prompts(command)),
        Command::Resources(command) => block_on(commands::tools::resources(command)),
        Command::Sample(command) => block_on(commands::sample::run(command)),
    }
}

fn block_on(work: impl Future<Output = Exit>) -> Exit {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Exit::internal(&format!("cannot start threads: {error}")),
    };
    let exit = runtime.block_on(work);
    // A thread that still waits for a key on stdin must not keep the program alive.
    runtime.shutdown_background();
    exit
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
