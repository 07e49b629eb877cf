//! What a model can do here: tell the time, convert it, find zones, find hours for a meeting.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{convert, meeting, zones};
use crate::{
    call::Call,
    outcome::Stop,
    server::{tool_arguments, tool_result},
};

/// The most zones that one answer names.
const ZONES_MAX: usize = 100;

/// Describes the tools.
pub(super) fn all() -> Value {
    json!([
        now_tool(),
        convert::describe(),
        zones_tool(),
        meeting::describe()
    ])
}

fn now_tool() -> Value {
    json!({
        "name": "now",
        "title": "Current time",
        "description": "Tells the current date and time in a time zone.",
        "inputSchema": {
            "type": "object",
            "properties": {"zone": zone_schema("The zone to tell the time in.")},
            "required": ["zone"],
            "additionalProperties": false,
        },
        "outputSchema": moment_schema(),
        // Not idempotent: the next answer is another one.
        "annotations": {"title": "Current time", "readOnlyHint": true, "openWorldHint": false},
    })
}

fn zones_tool() -> Value {
    json!({
        "name": "zones",
        "title": "Find time zones",
        "description": "Finds time zones by a part of their name, with their current offset; \
                        at most 100.",
        "inputSchema": {
            "type": "object",
            "properties": {"query": {
                "type": "string",
                "description": "A part of the name, such as a city or continent.",
            }},
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "zones": {"type": "array", "items": {
                    "type": "object",
                    "properties": {"zone": {"type": "string"}, "offset": {"type": "string"}},
                    "required": ["zone", "offset"],
                }},
                "total": {"type": "integer"},
            },
            "required": ["zones", "total"],
        },
        "annotations": annotations("Find time zones"),
    })
}

pub(super) fn annotations(title: &str) -> Value {
    json!({"title": title, "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false})
}

pub(super) fn zone_schema(description: &str) -> Value {
    json!({"type": "string", "description": description, "examples": ["Europe/Berlin"]})
}

pub(super) fn moment_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "zone": {"type": "string"},
            "time": {"type": "string", "format": "date-time"},
            "offset": {"type": "string"},
            "abbreviation": {"type": "string"},
            "weekday": {"type": "string"},
            "daylightSaving": {"type": "boolean"},
        },
        "required": ["zone", "time", "offset", "abbreviation", "weekday", "daylightSaving"],
    })
}

/// Answers `tools/call`.
pub(super) async fn call(call: &Call, now: Timestamp) -> Result<Value, Stop> {
    match call.name() {
        "now" => tell(&tool_arguments(call)?, now),
        "convert" => convert::convert(tool_arguments(call)?, call, now).await,
        "zones" => search(&tool_arguments(call)?, now),
        "meeting_hours" => meeting::hours(&tool_arguments(call)?, now),
        name => Err(Stop::unknown("tool", name)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Now {
    zone: String,
}

fn tell(arguments: &Now, now: Timestamp) -> Result<Value, Stop> {
    let moment = now.to_zoned(zones::find(&arguments.zone)?);
    let text = format!("{} ({})", zones::local(&moment), moment.strftime("%A, %Z"));
    Ok(tool_result(text, zones::describe(&moment)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Zones {
    #[serde(default)]
    query: String,
}

fn search(arguments: &Zones, now: Timestamp) -> Result<Value, Stop> {
    let names = zones::search(&arguments.query);
    let total = names.len();
    if total == 0 {
        return Err(Stop::Tool(format!(
            "no time zone has {:?} in its name",
            arguments.query
        )));
    }
    let mut found = Vec::new();
    let mut lines = Vec::new();
    for name in names.into_iter().take(ZONES_MAX) {
        let offset = zones::offset(&zones::find(&name)?, now);
        lines.push(format!("{name} {offset}"));
        found.push(json!({"zone": name, "offset": offset}));
    }
    if total > ZONES_MAX {
        lines.push(format!(
            "… and {} more; narrow the query",
            total - ZONES_MAX
        ));
    }
    let structured = json!({"zones": found, "total": total});
    Ok(tool_result(lines.join("\n"), structured))
}
