//! Finds the hours of a day at which people in several zones are at work.

use jiff::{SignedDuration, Timestamp, Zoned, civil::Date, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{tools::annotations, zones};
use crate::{outcome::Stop, server::tool_result};

/// The most zones that one meeting may span.
const ZONES_MAX: usize = 20;
/// Hours are looked at in steps of this length.
const STEP_MINUTES: i32 = 30;
const STEPS_PER_DAY: i32 = 24 * 60 / STEP_MINUTES;

/// Describes the tool.
pub(super) fn describe() -> Value {
    json!({
        "name": "meeting_hours",
        "title": "Find meeting hours",
        "description": "Finds when it is working time (9 to 17 o'clock, unless told otherwise) in \
                        several time zones at once. Where there is no such time, the times with \
                        the most zones at work are given.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "zones": {
                    "type": "array",
                    "items": {"type": "string"},
                    "minItems": 1,
                    "maxItems": ZONES_MAX,
                    "examples": [["Europe/Berlin", "America/New_York"]],
                },
                "date": {
                    "type": "string",
                    "format": "date",
                    "description": "The day in UTC; today without it.",
                },
                "startHour": {"type": "integer", "minimum": 0, "maximum": 23, "default": 9},
                "endHour": {"type": "integer", "minimum": 1, "maximum": 24, "default": 17},
            },
            "required": ["zones"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "windows": {"type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "start": {"type": "string", "format": "date-time"},
                        "end": {"type": "string", "format": "date-time"},
                        "local": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["start", "end", "local"],
                }},
                "zonesAtWork": {"type": "integer"},
                "everybody": {"type": "boolean"},
            },
            "required": ["windows", "zonesAtWork", "everybody"],
        },
        "annotations": annotations("Find meeting hours"),
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MeetingHours {
    zones: Vec<String>,
    date: Option<String>,
    #[serde(default = "nine")]
    start_hour: i8,
    #[serde(default = "seventeen")]
    end_hour: i8,
}

fn nine() -> i8 {
    9
}

fn seventeen() -> i8 {
    17
}

/// Finds the hours.
pub(super) fn hours(arguments: &MeetingHours, now: Timestamp) -> Result<Value, Stop> {
    let (start_hour, end_hour) = (arguments.start_hour, arguments.end_hour);
    if !(0 <= start_hour && start_hour < end_hour && end_hour <= 24) {
        return Err(Stop::Tool(format!(
            "arguments startHour and endHour: {start_hour} to {end_hour} is no part of a day"
        )));
    }
    if arguments.zones.is_empty() || arguments.zones.len() > ZONES_MAX {
        return Err(Stop::Tool(format!(
            "argument zones: 1 to {ZONES_MAX} are needed"
        )));
    }
    let zones = arguments.zones.iter().map(|zone| zones::find(zone));
    let zones = zones.collect::<Result<Vec<TimeZone>, Stop>>()?;
    let midnight = read_date(arguments.date.as_deref(), now)?;
    let day = Day::look(&zones, &midnight, start_hour..end_hour);
    Ok(day.report())
}

fn read_date(date: Option<&str>, now: Timestamp) -> Result<Zoned, Stop> {
    let date: Date = match date {
        None => now.to_zoned(TimeZone::UTC).date(),
        Some(date) => date
            .parse()
            .map_err(|_| Stop::Tool(format!("argument date: {date:?} is not YYYY-MM-DD")))?,
    };
    let midnight = date.to_zoned(TimeZone::UTC);
    midnight.map_err(|error| Stop::Tool(format!("argument date: {error}")))
}

struct Window {
    start: Zoned,
    end: Zoned,
}

struct Day<'zones> {
    zones: &'zones [TimeZone],
    windows: Vec<Window>,
    at_work: usize,
}

impl<'zones> Day<'zones> {
    fn look(zones: &'zones [TimeZone], midnight: &Zoned, hours: std::ops::Range<i8>) -> Self {
        let at_work = |moment: &Zoned| {
            let local =
                |zone: &&TimeZone| hours.contains(&moment.with_time_zone((*zone).clone()).hour());
            zones.iter().filter(local).count()
        };
        let steps: Vec<(Zoned, usize)> = (0..STEPS_PER_DAY)
            .map(|step| {
                let moment = midnight
                    .saturating_add(SignedDuration::from_mins((step * STEP_MINUTES).into()));
                let count = at_work(&moment);
                (moment, count)
            })
            .collect();
        let best = steps.iter().map(|(_, count)| *count).max().unwrap_or(0);
        let mut windows: Vec<Window> = Vec::new();
        for (start, _) in steps
            .into_iter()
            .filter(|(_, count)| *count == best && best > 0)
        {
            let end = start.saturating_add(SignedDuration::from_mins(STEP_MINUTES.into()));
            match windows.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => windows.push(Window { start, end }),
            }
        }
        Self {
            zones,
            windows,
            at_work: best,
        }
    }

    fn report(&self) -> Value {
        let everybody = self.at_work == self.zones.len();
        let total = self.zones.len();
        let mut lines = Vec::new();
        if !everybody {
            let at_work = self.at_work;
            lines.push(format!(
                "no time suits all; at these, {at_work} of {total} zones are at work:"
            ));
        }
        let mut windows = Vec::new();
        for window in &self.windows {
            let local = self.local(window);
            let (start, end) = (zones::local(&window.start), zones::local(&window.end));
            lines.push(format!("{start} to {end}: {}", local.join("; ")));
            windows.push(json!({"start": start, "end": end, "local": local}));
        }
        let structured =
            json!({"windows": windows, "zonesAtWork": self.at_work, "everybody": everybody});
        tool_result(lines.join("\n"), structured)
    }

    fn local(&self, window: &Window) -> Vec<String> {
        let say = |zone: &TimeZone| {
            let clock = |moment: &Zoned| {
                let local = moment.with_time_zone(zone.clone());
                local.strftime("%a %H:%M").to_string()
            };
            format!(
                "{} {} – {}",
                zones::name(zone),
                clock(&window.start),
                clock(&window.end)
            )
        };
        self.zones.iter().map(say).collect()
    }
}
