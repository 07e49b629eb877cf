//! An MCP client for people: `marque tools`, `marque prompts` and `marque resources`.

use std::{path::PathBuf, pin::pin};

use clap::{Args, Subcommand, ValueEnum};
use resources::Duration;
use tokio::signal::ctrl_c;
use url::Url;

use crate::exit::Exit;

mod call;
mod list;
mod prompts;
mod resource;

mod typing;

mod client;

mod connect;
mod reply;
mod speech;

mod door;
mod failure;
mod header;
mod messages;

mod console;
mod form;

mod show;
mod text;

use client::Client;
use console::Console;
use door::Door;
use failure::Failure;
use header::Header;

/// What to do with tools.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolsCommand {
    /// List the tools of an MCP server
    List(list::ListArgs),
    /// Call a tool of an MCP server
    Call(call::CallArgs),
}

/// What to do with prompts.
#[derive(Debug, Subcommand)]
pub(crate) enum PromptsCommand {
    /// List the prompts of an MCP server
    List(list::ListArgs),
    /// Fill in a prompt of an MCP server
    Get(prompts::GetArgs),
}

/// What to do with resources.
#[derive(Debug, Subcommand)]
pub(crate) enum ResourcesCommand {
    /// List the resources of an MCP server
    List(list::ListArgs),
    /// Read a resource of an MCP server
    Read(resource::ReadArgs),
}

/// The exit codes, for the help of every command here.
macro_rules! exit_codes {
    () => {
        "\n\nExit codes: 0 done, 1 the tool reported an error, 2 wrong arguments or no such tool,
3 the server refuses this caller (401, 403), 4 the server or its protocol failed,
5 the server cannot be reached or did not answer in time, 130 interrupted."
    };
}
use exit_codes;

/// How to reach a server, and how to speak with it.
#[derive(Debug, Args)]
struct Connection {
    /// The URL of the MCP server
    #[arg(value_parser = read_url)]
    url: Url,

    /// How to speak: `modern` is 2026-07-28, `legacy` everything before, `auto` finds out
    #[arg(long, value_name = "ERA", default_value = "auto")]
    era: EraChoice,

    /// A header for every request, as 'Name: value'; `env:NAME` in the value is read from the environment
    #[arg(long = "header", short = 'H', value_name = "HEADER", value_parser = Header::read)]
    headers: Vec<Header>,

    /// The longest time that the server may be silent
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: Duration,

    /// The least severe messages of the server to show: error, warning, info or debug
    #[arg(long, value_name = "LEVEL", default_value = "warning", value_parser = LOG_LEVELS)]
    server_log: String,
}

const LOG_LEVELS: [&str; 8] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
];

/// Which era to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EraChoice {
    /// What the server speaks, the modern era first.
    Auto,
    /// Revision 2026-07-28.
    Modern,
    /// Revisions up to 2025-11-25.
    Legacy,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// What the server sent, as JSON.
    Json,
}

fn read_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(format!(
            "expected a URL such as http://127.0.0.1:8484/mcp/default, not {text:?}"
        )),
    }
}

/// Runs `marque tools`.
pub(crate) async fn tools(command: ToolsCommand) -> Exit {
    match command {
        ToolsCommand::List(args) => {
            let work = async |client: &Client| list::tools(client, &args).await;
            with_client(&args.connection, work).await
        }
        ToolsCommand::Call(args) => {
            let given = match args.given() {
                Ok(given) => given,
                Err(failure) => return report(&failure),
            };
            let work = async |client: &Client| call::call(client, &args, given).await;
            with_client(&args.connection, work).await
        }
    }
}

/// Runs `marque prompts`.
pub(crate) async fn prompts(command: PromptsCommand) -> Exit {
    match command {
        PromptsCommand::List(args) => {
            let work = async |client: &Client| list::prompts(client, &args).await;
            with_client(&args.connection, work).await
        }
        PromptsCommand::Get(args) => {
            let work = async |client: &Client| prompts::fill(client, &args).await;
            with_client(&args.connection, work).await
        }
    }
}

/// Runs `marque resources`.
pub(crate) async fn resources(command: ResourcesCommand) -> Exit {
    match command {
        ResourcesCommand::List(args) => {
            let work = async |client: &Client| list::resources(client, &args).await;
            with_client(&args.connection, work).await
        }
        ResourcesCommand::Read(args) => {
            let work = async |client: &Client| resource::read(client, &args).await;
            with_client(&args.connection, work).await
        }
    }
}

async fn with_client(
    connection: &Connection,
    work: impl AsyncFnOnce(&Client) -> Result<Exit, Failure>,
) -> Exit {
    let mut interrupted = pin!(ctrl_c());
    let done = tokio::select! {
        client = connect(connection) => client,
        _ = &mut interrupted => return Exit::Interrupted,
    };
    let client = match done {
        Ok(client) => client,
        Err(failure) => return report(&failure),
    };
    // Dropping the work closes its streams, which cancels it for a modern server.
    let done = tokio::select! {
        done = work(&client) => done,
        _ = &mut interrupted => {
            client.cancel().await;
            Ok(Exit::Interrupted)
        }
    };
    client.close().await;
    done.unwrap_or_else(|failure| report(&failure))
}

async fn connect(connection: &Connection) -> Result<Client, Failure> {
    let headers = header::all(&connection.headers)?;
    let door = Door::new(&connection.url, headers, connection.timeout.as_std())?;
    let console = Console::new(&connection.server_log);
    Client::connect(door, connection.era, console).await
}

fn report(failure: &Failure) -> Exit {
    anstream::eprintln!(
        "\x1b[1;31merror\x1b[0m: {}",
        text::plain(&failure.to_string())
    );
    failure.exit()
}

/// Writes a file, or says why not.
fn save(path: &PathBuf, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes)
        .map_err(|error| Failure::Usage(format!("cannot write {}: {error}", path.display())))
}
