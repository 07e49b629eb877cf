//! What clients declare that they can do.

use crate::json::{ObjectEdit, members, quote, string};

use super::params::last_of_each;
use super::{Question, TASKS_EXTENSION};

/// Members are sorted down to this depth: `extensions`, one of them, its settings, one of these.
const SORTED_DEPTH: usize = 4;

/// A legacy client's capabilities as said to a modern server.
///
/// What the gateway does not carry goes: tasks, and notices that roots have changed.
/// Members are sorted, so that one meaning has one text. What is not an object is no capability: `{}`.
#[must_use]
pub fn capabilities_to_modern(legacy: &str) -> String {
    said_on(legacy)
}

/// A modern client's capabilities as said to a legacy server, by the same rules.
#[must_use]
pub fn capabilities_to_legacy(modern: &str) -> String {
    said_on(modern)
}

/// Whether a client with these capabilities may be asked this, the manner of the question included.
///
/// `elicitation` without a mode means forms (MCP 2025-11-25, client/elicitation, "Capabilities");
/// URLs, and tools in a sampling, are declared each for itself.
#[must_use]
pub fn may_be_asked(capabilities: &str, question: &Question<'_>) -> bool {
    let (Some(declared), Some(params)) = (
        ObjectEdit::new(capabilities),
        ObjectEdit::new(question.params),
    ) else {
        return false;
    };
    let can = |name| declared.value(name).and_then(ObjectEdit::new);
    match question.method.as_ref() {
        "roots/list" => can("roots").is_some(),
        "sampling/createMessage" => can("sampling").is_some_and(|sampling| {
            let with_tools = ["tools", "toolChoice"]
                .iter()
                .any(|key| params.value(key).is_some());
            !with_tools || sampling.value("tools").is_some()
        }),
        "elicitation/create" => can("elicitation").is_some_and(|modes| {
            let mode = params.value("mode").and_then(string);
            match mode.as_deref() {
                Some("url") => modes.value("url").is_some(),
                _ => modes.value("form").is_some() || modes.value("url").is_none(),
            }
        }),
        _ => false,
    }
}

fn said_on(capabilities: &str) -> String {
    if !capabilities.trim_start().starts_with('{') {
        return "{}".to_owned();
    }
    sorted(capabilities, SORTED_DEPTH, "").unwrap_or_else(|| "{}".to_owned())
}

/// The object with its members sorted, or `None` when it is not one.
fn sorted(object: &str, depth: usize, parent: &str) -> Option<String> {
    let mut members = last_of_each(members(object).ok()?);
    members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut out = String::from("{");
    for (key, value) in members {
        // "Tasks" is another thing in each era, and roots are asked for anew each time.
        let gone = match parent {
            "" => key == "tasks",
            "roots" => key == "listChanged",
            "extensions" => key == TASKS_EXTENSION,
            _ => false,
        };
        if gone {
            continue;
        }
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&quote(&key));
        out.push(':');
        let place = if depth == SORTED_DEPTH {
            key.as_ref()
        } else {
            "-"
        };
        match (depth > 1)
            .then(|| sorted(value, depth - 1, place))
            .flatten()
        {
            Some(value) => out.push_str(&value),
            None => out.push_str(value),
        }
    }
    out.push('}');
    Some(out)
}
