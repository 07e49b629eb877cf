//! Calling a tool.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Connection, Format, client::Client, exit_codes, failure::Failure, show, text, typing};
use crate::exit::Exit;

/// The arguments of `call`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(super) connection: Connection,

    /// The tool
    name: String,

    /// Arguments as key=value; numbers, booleans and JSON are read as the tool's schema says, and
    /// a list grows by naming it again
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,

    /// All arguments as a JSON object, or @FILE to read it from there, @- from stdin
    #[arg(long, value_name = "JSON")]
    args: Option<String>,

    /// Save an image, sound or other data of the result to this file; text where there is no such
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// How to print: `table` shows the text, or else the data; `json` everything the server sent
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

const EXAMPLES: &str = concat!(
    "\
Examples:
  marque tools call http://127.0.0.1:8484/mcp/default now zone=Europe/Berlin
  marque tools call http://127.0.0.1:8484/mcp/default meeting_hours zones=UTC zones=Asia/Tokyo
  marque tools call https://example.com/mcp draw --args @picture.json --output picture.png
  marque tools call https://example.com/mcp status -H 'Authorization: Bearer env:TOKEN' --format json",
    exit_codes!()
);

impl CallArgs {
    /// Reads what is given with `--args`, before a server is bothered.
    ///
    /// # Errors
    /// [`Failure::Usage`] where it cannot be read, or is not a JSON object.
    pub(super) fn given(&self) -> Result<Map<String, Value>, Failure> {
        let Some(args) = &self.args else {
            return Ok(Map::new());
        };
        let text = match args.strip_prefix('@') {
            None => Ok(args.to_owned()),
            Some("-") => std::io::read_to_string(std::io::stdin()),
            Some(path) => std::fs::read_to_string(path),
        };
        let text =
            text.map_err(|error| Failure::Usage(format!("cannot read --args {args}: {error}")))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::Usage(format!("--args is not a JSON object: {error}")))
    }
}

/// Calls the tool and shows its result.
pub(super) async fn call(
    client: &Client,
    args: &CallArgs,
    given: Map<String, Value>,
) -> Result<Exit, Failure> {
    let tool = find(client, &args.name).await?;
    let arguments = typing::arguments(&tool["inputSchema"], given, &args.pairs)?;
    let result = match ask(client, &tool, &arguments).await {
        // MCP 2026-07-28, basic/transports/streamable-http, "Client Behavior": the tool has changed
        // since it was listed, so list and call it once more.
        Err(Failure::HeaderMismatch(_)) => {
            let tool = find(client, &args.name).await?;
            ask(client, &tool, &arguments).await
        }
        result => result,
    }?;
    client.console.clear();
    match args.format {
        Format::Json => anstream::println!("{result:#}"),
        Format::Table => show::tool_result(&result),
    }
    if let Some(path) = &args.output {
        show::save(&result["content"], path)?;
    }
    let failed = result["isError"] == true;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

async fn ask(client: &Client, tool: &Value, arguments: &Value) -> Result<Value, Failure> {
    let headers = client.argument_headers(tool, arguments);
    let params = json!({
        "name": tool["name"], "arguments": arguments, "_meta": {"progressToken": "call"},
    });
    client.request("tools/call", params, headers).await
}

async fn find(client: &Client, name: &str) -> Result<Value, Failure> {
    let tools = client.tools().await?;
    let names = || tools.iter().filter_map(|tool| tool["name"].as_str());
    if let Some(tool) = tools.iter().find(|tool| tool["name"] == name) {
        return Ok(tool.clone());
    }
    let hint = match typing::nearest(name, names()) {
        Some(nearest) => format!("did you mean {:?}?", text::one_line(nearest)),
        None => format!(
            "it has {}",
            text::one_line(&names().collect::<Vec<_>>().join(", "))
        ),
    };
    let server = client.server();
    Err(Failure::Usage(format!(
        "{server} has no tool {name:?}; {hint}"
    )))
}
