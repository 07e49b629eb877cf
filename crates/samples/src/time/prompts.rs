//! A prompt that plans a meeting, and completion of its zones.

use serde::Deserialize;
use serde_json::{Value, json};

use super::zones;
use crate::{
    call::Call,
    outcome::Stop,
    server::{completion, prompt_arguments},
    wire::Fault,
};

const PLAN_MEETING: &str = "plan_meeting";

/// Describes the prompts.
pub(super) fn all() -> Value {
    json!([{
        "name": PLAN_MEETING,
        "title": "Plan a meeting",
        "description": "Asks for a meeting time that suits people in several time zones.",
        "arguments": [
            {
                "name": "zones",
                "description": "Time zones with commas between them.",
                "required": true,
            },
            {"name": "topic", "description": "What the meeting is about.", "required": false},
        ],
    }])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanMeeting {
    zones: String,
    topic: Option<String>,
}

/// Answers `prompts/get`.
pub(super) fn fill(call: &Call) -> Result<Value, Stop> {
    if call.name() != PLAN_MEETING {
        return Err(Stop::unknown("prompt", call.name()));
    }
    let PlanMeeting { zones, topic } = prompt_arguments(call)?;
    let about = topic.map_or_else(String::new, |topic| format!(" about {topic}"));
    let text = format!(
        "Plan a meeting{about} for people in these time zones: {zones}. Use meeting_hours, propose \
         the two best times of the next working day, and say each in the local time of every zone."
    );
    Ok(json!({
        "description": "Plan for a meeting",
        "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
    }))
}

/// Answers `completion/complete`. In a list of zones the last one is completed.
pub(super) fn complete(call: &Call) -> Result<Value, Stop> {
    let reference = call.params.get("ref").unwrap_or(&Value::Null);
    if reference["type"] != "ref/prompt" || reference["name"] != PLAN_MEETING {
        return Err(Stop::unknown("reference", &reference.to_string()));
    }
    let argument = call.params.get("argument").unwrap_or(&Value::Null);
    let typed = argument["value"].as_str().unwrap_or_default();
    match argument["name"].as_str() {
        Some("zones") => {
            let (before, last) = typed
                .rsplit_once(',')
                .map_or(("", typed), |(before, last)| {
                    (&typed[..=before.len()], last)
                });
            let mut found = completion(last.trim(), zones::names().into_iter());
            let values = found["completion"]["values"].as_array_mut();
            for value in values.into_iter().flatten() {
                *value = format!("{before}{}", value.as_str().unwrap_or_default()).into();
            }
            Ok(found)
        }
        Some("topic") => Ok(completion("", std::iter::empty())),
        _ => Err(Fault::invalid_params("no such argument to complete").into()),
    }
}
