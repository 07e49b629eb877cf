//! Says a time of one zone in another; asks the user for the other where it is not given.

use jiff::{Timestamp, Zoned, civil::DateTime, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    tools::{annotations, moment_schema, zone_schema},
    zones,
};
use crate::{
    call::{Answer, Call},
    outcome::Stop,
    server::tool_result,
};

/// Describes the tool.
pub(super) fn describe() -> Value {
    json!({
        "name": "convert",
        "title": "Convert a time",
        "description": "Says a time of one time zone in another. Without a target zone the user \
                        is asked for one, or UTC is taken where nobody can be asked.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "time": {
                    "type": "string",
                    "description": "HH:MM for today, or YYYY-MM-DDTHH:MM.",
                    "examples": ["09:30", "2026-03-29T02:30"],
                },
                "from": zone_schema("The zone in which the time is given."),
                "to": zone_schema("The zone in which it is wanted."),
            },
            "required": ["time", "from"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "from": moment_schema(),
                "to": moment_schema(),
                "note": {
                    "type": "string",
                    "description": "Present where the clocks change, so that the time does not \
                                    exist or exists twice.",
                },
            },
            "required": ["from", "to"],
        },
        "annotations": annotations("Convert a time"),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Convert {
    time: String,
    from: String,
    to: Option<String>,
}

/// Converts a time.
pub(super) async fn convert(
    arguments: Convert,
    call: &Call,
    now: Timestamp,
) -> Result<Value, Stop> {
    let from = zones::find(&arguments.from)?;
    // Read before anybody is asked, so that nobody answers for nothing.
    let (given, note) = read_time(&arguments.time, &from, now)?;
    let to = match arguments.to {
        Some(to) => to,
        None => ask_zone(call).await?,
    };
    let wanted = given.timestamp().to_zoned(zones::find(&to)?);
    let mut structured = json!({"from": zones::describe(&given), "to": zones::describe(&wanted)});
    let mut text = format!(
        "{} in {} is {} in {}",
        zones::local(&given),
        zones::name(given.time_zone()),
        zones::local(&wanted),
        zones::name(wanted.time_zone()),
    );
    if let Some(note) = note {
        text = format!("{text} ({note})");
        structured["note"] = note.into();
    }
    Ok(tool_result(text, structured))
}

async fn ask_zone(call: &Call) -> Result<String, Stop> {
    let form = json!({
        "type": "object",
        "properties": {"zone": {
            "type": "string",
            "title": "Time zone",
            "description": "An IANA name such as Asia/Tokyo.",
            "default": "UTC",
        }},
        "required": ["zone"],
    });
    let answer = call.ask(
        "zone",
        "Which time zone shall the time be converted to?",
        &form,
    );
    Ok(match answer.await? {
        Answer::Given(content) => content["zone"].as_str().unwrap_or("UTC").to_owned(),
        Answer::Declined | Answer::CannotAsk => "UTC".to_owned(),
    })
}

type Note = &'static str;

fn read_time(time: &str, zone: &TimeZone, now: Timestamp) -> Result<(Zoned, Option<Note>), Stop> {
    let today = now.to_zoned(zone.clone()).date();
    let civil = match time.parse::<jiff::civil::Time>() {
        Ok(clock) if !time.contains('-') => today.to_datetime(clock),
        _ => time.parse::<DateTime>().map_err(|_| {
            Stop::Tool(format!(
                "argument time: {time:?} is neither HH:MM nor YYYY-MM-DDTHH:MM"
            ))
        })?,
    };
    let ambiguous = zone.to_ambiguous_zoned(civil);
    let offset = ambiguous.offset();
    let note = match offset {
        jiff::tz::AmbiguousOffset::Unambiguous { .. } => None,
        jiff::tz::AmbiguousOffset::Gap { .. } => {
            Some("the clocks skip this time, so the moment after the change is meant")
        }
        jiff::tz::AmbiguousOffset::Fold { .. } => {
            Some("the clocks show this time twice; the first is meant")
        }
    };
    let moment = ambiguous.compatible();
    let moment = moment.map_err(|error| Stop::Tool(format!("argument time: {error}")))?;
    Ok((moment, note))
}
