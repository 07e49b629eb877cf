//! `marque schema`: what the documents look like, for editors.

use clap::{Args, builder::PossibleValuesParser};
use resources::Kind;

use crate::exit::Exit;

/// The arguments of `marque schema`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SchemaArgs {
    /// Which kind of document; without it, one schema for all kinds
    #[arg(value_parser = kinds(), ignore_case = true)]
    kind: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  marque schema > marque.schema.json
  marque schema Toolset

In an editor with YAML support, this first line of a file turns completion on:
  # yaml-language-server: $schema=marque.schema.json";

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(Kind::ALL.map(Kind::as_str))
}

/// Prints the schema.
pub(crate) fn run(args: &SchemaArgs) -> Exit {
    let asked = args.kind.as_deref();
    let kind = asked.and_then(|name| {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    });
    let schema = kind.map_or_else(
        resources::schema::combined_schema,
        resources::schema::schema,
    );
    anstream::println!("{schema:#}");
    Exit::Done
}
