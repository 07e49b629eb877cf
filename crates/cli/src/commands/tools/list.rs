//! Lists, as wide as the terminal.

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use super::{Connection, Format, client::Client, exit_codes, failure::Failure, text, typing};
use crate::exit::Exit;

/// The most columns that the arguments of a tool take from its description.
const ARGUMENTS_COLUMNS_MAX: usize = 30;
/// The fewest columns that a description is cut to, however narrow the terminal.
const DESCRIPTION_COLUMNS_MIN: usize = 20;
/// What a table puts between two columns.
const GAP_COLUMNS: usize = 2;

/// The arguments of `list`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(super) connection: Connection,

    /// Show everything that the server says, not only what fits on a line
    #[arg(long)]
    long: bool,

    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

const EXAMPLES: &str = concat!(
    "\
Examples:
  marque tools list http://127.0.0.1:8484/mcp/default
  marque tools list https://example.com/mcp -H 'Authorization: Bearer env:TOKEN' --long
  marque tools list http://127.0.0.1:8484/mcp/default --format json | jq '.[].name'",
    exit_codes!()
);

/// Lists tools.
pub(super) async fn tools(client: &Client, args: &ListArgs) -> Result<Exit, Failure> {
    let tools = client.tools().await?;
    let row = |tool: &Value| {
        let arguments = typing::summary(&tool["inputSchema"]);
        [name(tool), arguments, description(tool)]
    };
    let details = |tool: &Value| typing::describe(&tool["inputSchema"]);
    print(
        &tools,
        args,
        ["TOOL", "ARGUMENTS", "DESCRIPTION"],
        row,
        details,
    );
    Ok(Exit::Done)
}

/// Lists prompts.
pub(super) async fn prompts(client: &Client, args: &ListArgs) -> Result<Exit, Failure> {
    let prompts = client.list("prompts/list", "prompts").await?;
    let row = |prompt: &Value| {
        let named = |one: &Value| {
            let optional = if one["required"] == true { "" } else { "?" };
            format!("{}{optional}", name(one))
        };
        let arguments = prompt["arguments"].as_array().into_iter().flatten();
        let arguments: Vec<String> = arguments.map(named).collect();
        [name(prompt), arguments.join(" "), description(prompt)]
    };
    let details = |prompt: &Value| {
        let arguments = prompt["arguments"].as_array().into_iter().flatten();
        arguments
            .map(|one| format!("  {}  {}", name(one), description(one)))
            .collect()
    };
    print(
        &prompts,
        args,
        ["PROMPT", "ARGUMENTS", "DESCRIPTION"],
        row,
        details,
    );
    Ok(Exit::Done)
}

/// Lists resources, and the templates of further ones.
pub(super) async fn resources(client: &Client, args: &ListArgs) -> Result<Exit, Failure> {
    let mut resources = client.list("resources/list", "resources").await?;
    resources.extend(
        client
            .list("resources/templates/list", "resourceTemplates")
            .await?,
    );
    let row = |resource: &Value| {
        let uri = resource["uri"]
            .as_str()
            .or_else(|| resource["uriTemplate"].as_str());
        let kind = resource["mimeType"].as_str().unwrap_or_default();
        let about = match description(resource) {
            about if about.is_empty() => name(resource),
            about => about,
        };
        [
            text::one_line(uri.unwrap_or_default()),
            text::one_line(kind),
            about,
        ]
    };
    print(
        &resources,
        args,
        ["RESOURCE", "TYPE", "DESCRIPTION"],
        row,
        |_| Vec::new(),
    );
    Ok(Exit::Done)
}

fn name(item: &Value) -> String {
    text::one_line(item["name"].as_str().unwrap_or_default())
}

fn description(item: &Value) -> String {
    let description = item["description"]
        .as_str()
        .or_else(|| item["title"].as_str());
    text::one_line(description.unwrap_or_default())
}

fn print(
    items: &[Value],
    args: &ListArgs,
    heads: [&str; 3],
    row: impl Fn(&Value) -> [String; 3],
    details: impl Fn(&Value) -> Vec<String>,
) {
    if args.format == Format::Json {
        anstream::println!("{:#}", Value::from(items));
    } else if args.long {
        for item in items {
            let [name, middle, description] = row(item);
            let middle = if details(item).is_empty() {
                middle
            } else {
                String::new()
            };
            anstream::println!("\x1b[1m{name}\x1b[0m  {middle}");
            for line in description.lines().map(str::to_owned).chain(details(item)) {
                anstream::println!("  {line}");
            }
            anstream::println!();
        }
    } else if items.is_empty() {
        anstream::eprintln!("nothing to list");
    } else {
        let rows: Vec<[String; 3]> = items.iter().map(row).collect();
        let columns = Table::new().width().map(usize::from);
        anstream::println!("{}", table(heads, &rows, columns));
    }
}

/// Draws a table without lines; the last column, and if need be the middle one, gives way.
fn table(heads: [&str; 3], rows: &[[String; 3]], columns: Option<usize>) -> String {
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| row[column].width());
        cells.max().unwrap_or(0).max(heads[column].width())
    };
    let middle_max = match columns {
        Some(_) => widest(1).min(ARGUMENTS_COLUMNS_MAX),
        None => widest(1),
    };
    let taken = widest(0) + GAP_COLUMNS + middle_max + GAP_COLUMNS;
    let last_max = columns.map_or(usize::MAX, |columns| {
        columns.saturating_sub(taken).max(DESCRIPTION_COLUMNS_MIN)
    });
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(heads);
    for [first, middle, last] in rows {
        table.add_row([
            first.clone(),
            text::shorten(middle, middle_max),
            text::shorten(last, last_max),
        ]);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if index < 2 { 2 } else { 0 }));
    }
    let drawn = table.to_string();
    let lines: Vec<&str> = drawn.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[String; 3]> {
        let row = |name: &str, arguments: &str, description: &str| {
            [
                name.to_owned(),
                arguments.to_owned(),
                description.to_owned(),
            ]
        };
        vec![
            row(
                "now",
                "zone",
                "Tells the current date and time in a time zone.",
            ),
            row(
                "meeting_hours",
                "zones date? startHour? endHour? and a few more of them",
                "Finds when it is working time in several time zones at once.",
            ),
            row(
                "計算",
                "",
                "二つの数を足し合わせて結果を返すとても便利な道具です。",
            ),
        ]
    }

    #[test]
    fn a_table_fits_its_terminal() {
        for columns in [72, 80, 120, 200] {
            let drawn = table(["TOOL", "ARGUMENTS", "DESCRIPTION"], &rows(), Some(columns));
            assert_eq!(drawn.lines().count(), 4, "{drawn}");
            for line in drawn.lines() {
                assert!(line.width() <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn nothing_is_cut_where_there_is_no_terminal() {
        let drawn = table(["TOOL", "ARGUMENTS", "DESCRIPTION"], &rows(), None);
        assert!(!drawn.contains('…'), "{drawn}");
        assert!(drawn.starts_with("TOOL           ARGUMENTS"), "{drawn}");
    }
}
