//! Filling in a prompt.

use clap::Args;
use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::{Connection, Format, client::Client, exit_codes, failure::Failure, show};
use crate::exit::Exit;

/// The arguments of `get`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(super) connection: Connection,

    /// The prompt
    name: String,

    /// Arguments as key=value
    #[arg(value_name = "KEY=VALUE")]
    pairs: Vec<String>,

    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

const EXAMPLES: &str = concat!(
    "\
Examples:
  marque prompts get http://127.0.0.1:8484/mcp/default plan_meeting zones=UTC,Asia/Tokyo",
    exit_codes!()
);

/// Fills in the prompt and shows its messages.
pub(super) async fn fill(client: &Client, args: &GetArgs) -> Result<Exit, Failure> {
    let mut arguments = Map::new();
    for pair in &args.pairs {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("{pair:?} is not key=value")))?;
        // The arguments of prompts are texts, whatever they look like.
        arguments.insert(key.to_owned(), value.into());
    }
    let params = json!({"name": args.name, "arguments": arguments});
    let result = client
        .request("prompts/get", params, HeaderMap::new())
        .await?;
    match args.format {
        Format::Json => anstream::println!("{result:#}"),
        Format::Table => {
            for message in result["messages"].as_array().into_iter().flatten() {
                let role = message["role"].as_str().unwrap_or_default();
                anstream::println!("\x1b[1m{}\x1b[0m", super::text::one_line(role));
                show::content(&Value::from(vec![message["content"].clone()]));
            }
        }
    }
    Ok(Exit::Done)
}
