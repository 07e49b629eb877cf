//! The zones themselves, from the time zone database inside the program.

use std::sync::LazyLock;

use jiff::{
    Timestamp, Zoned,
    tz::{TimeZone, TimeZoneDatabase},
};
use serde_json::{Value, json};

use crate::{call::Call, outcome::Stop};

const ZONES_URI: &str = "time://zones";

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// Lists the names of all zones, in alphabetical order.
pub(super) fn names() -> Vec<String> {
    let names = DATABASE.available().map(|name| name.as_str().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Lists the names that contain a text; spaces may stand for underscores.
pub(super) fn search(query: &str) -> Vec<String> {
    let query = query.to_lowercase().replace(' ', "_");
    let mut names = names();
    names.retain(|name| name.to_lowercase().contains(&query));
    names
}

/// Finds a zone by its name, upper and lower case alike.
///
/// # Errors
/// [`Stop::Tool`] with the names that come close.
pub(super) fn find(name: &str) -> Result<TimeZone, Stop> {
    DATABASE.get(name).map_err(|_| {
        let last = name.rsplit('/').next().unwrap_or(name);
        let close = match last {
            "" => Vec::new(),
            last => search(last),
        };
        let hint = match close.as_slice() {
            [] => "use the tool zones to find one".to_owned(),
            close => format!("did you mean {}?", close[..close.len().min(3)].join(", ")),
        };
        Stop::Tool(format!("unknown time zone {name:?}: {hint}"))
    })
}

/// Says a moment in a zone, for people and programs.
pub(super) fn describe(moment: &Zoned) -> Value {
    json!({
        "zone": name(moment.time_zone()),
        "time": local(moment),
        "offset": moment.strftime("%:z").to_string(),
        "abbreviation": moment.strftime("%Z").to_string(),
        "weekday": moment.strftime("%A").to_string(),
        "daylightSaving": moment.time_zone().to_offset_info(moment.timestamp()).dst().is_dst(),
    })
}

/// Says when it is, in RFC 3339.
pub(super) fn local(moment: &Zoned) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// The name of a zone.
pub(super) fn name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// Says the offset of a zone at a moment, such as `+05:30`.
pub(super) fn offset(zone: &TimeZone, at: Timestamp) -> String {
    at.to_zoned(zone.clone()).strftime("%:z").to_string()
}

/// Describes the one resource.
pub(super) fn resources() -> Value {
    json!([{
        "uri": ZONES_URI,
        "name": "zones",
        "title": "All time zones",
        "description": "The names of all time zones, one to a line.",
        "mimeType": "text/plain",
    }])
}

/// Answers `resources/read`.
pub(super) fn read(call: &Call) -> Result<Value, Stop> {
    let uri = call.text("uri");
    if uri != ZONES_URI {
        return Err(call.unknown_resource(uri));
    }
    let text = names().join("\n");
    Ok(json!({"contents": [{"uri": uri, "mimeType": "text/plain", "text": text}]}))
}
