//! Reading a resource.

use std::path::PathBuf;

use clap::Args;
use http::HeaderMap;
use serde_json::{Value, json};

use super::{Connection, Format, client::Client, exit_codes, failure::Failure, show};
use crate::exit::Exit;

/// The arguments of `read`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(super) connection: Connection,

    /// The URI of the resource
    uri: String,

    /// Save the contents to this file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

const EXAMPLES: &str = concat!(
    "\
Examples:
  marque resources read http://127.0.0.1:8484/mcp/default docs:///handbook.md
  marque resources read http://127.0.0.1:8484/mcp/default docs:///logo.png --output logo.png",
    exit_codes!()
);

/// Reads the resource and shows its contents.
pub(super) async fn read(client: &Client, args: &ReadArgs) -> Result<Exit, Failure> {
    let params = json!({"uri": args.uri});
    let result = client
        .request("resources/read", params, HeaderMap::new())
        .await?;
    let embedded = |contents: &Value| json!({"type": "resource", "resource": contents});
    let contents = result["contents"].as_array().into_iter().flatten();
    let content: Vec<Value> = contents.map(embedded).collect();
    let content = Value::from(content);
    match (&args.output, args.format) {
        (Some(path), _) => show::save(&content, path)?,
        (None, Format::Json) => anstream::println!("{result:#}"),
        (None, Format::Table) => show::contents(&content),
    }
    Ok(Exit::Done)
}
