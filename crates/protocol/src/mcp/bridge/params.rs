//! The `params` of requests.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::json::{Member, ObjectEdit, members, quote, string};
use crate::mcp::{Version, meta_key};

use super::{Malformed, REQUEST_META, strip_meta};

/// Members of the retry of a modern request (MCP 2026-07-28, basic/patterns/mrtr).
const ANSWERS: &str = "inputResponses";
const STATE: &str = "requestState";

/// What the session of a legacy client stands for in each request to a modern server. All raw JSON.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// `clientInfo` of the handshake.
    pub client_info: &'a str,
    /// What the client can do, as [`super::capabilities_to_modern`] says it.
    pub capabilities: &'a str,
    /// The last level set, a JSON string.
    pub log_level: Option<&'a str>,
}

/// A legacy request's `params` for a modern server.
///
/// `_meta` gains the version, the client, its capabilities and the log level; its other members stay.
/// `task`, and answers and state that a legacy client has no business with, go.
/// `None` when `params` is not an object.
#[must_use]
pub fn params_to_modern(params: &str, standing: &Standing<'_>) -> Option<String> {
    let mut edit = ObjectEdit::new(params)?;
    for key in ["task", ANSWERS, STATE] {
        edit.remove(key);
    }
    let mut meta = edit
        .value("_meta")
        .and_then(ObjectEdit::new)
        .or_else(|| ObjectEdit::new("{}"))?;
    meta.set(meta_key::PROTOCOL_VERSION, quote(Version::NEWEST.as_str()));
    meta.set(meta_key::CLIENT_INFO, standing.client_info);
    meta.set(meta_key::CLIENT_CAPABILITIES, standing.capabilities);
    match standing.log_level {
        Some(level) => meta.set(meta_key::LOG_LEVEL, level),
        // Absent means: no log messages, please.
        None => meta.remove(meta_key::LOG_LEVEL),
    }
    edit.set("_meta", meta.finish());
    Some(edit.finish())
}

/// A modern request's `params` for a legacy server: the modern words of `_meta`, answers and state go.
///
/// `None` when `params` is not an object.
#[must_use]
pub fn params_to_legacy(params: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(params)?;
    edit.remove(ANSWERS);
    edit.remove(STATE);
    strip_meta(&mut edit, &REQUEST_META);
    Some(edit.finish())
}

/// The retry of a modern request: `answers` (key and raw answer) and `state` (raw JSON) replace what was there.
///
/// `None` when `params` is not an object.
#[must_use]
pub fn with_answers(
    params: &str,
    answers: &[(String, String)],
    state: Option<&str>,
) -> Option<String> {
    let mut edit = ObjectEdit::new(params)?;
    edit.set(ANSWERS, object(answers));
    match state {
        Some(state) => edit.set(STATE, state),
        None => edit.remove(STATE),
    }
    Some(edit.finish())
}

/// An object with these members, the values raw.
pub(super) fn object(members: &[(String, String)]) -> String {
    let mut out = String::from("{");
    for (key, value) in members {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&quote(key));
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

/// What a modern request brings for a conversation begun earlier.
#[derive(Debug, Clone, Default)]
pub struct Brought<'a> {
    /// Question key and raw answer; each key once.
    pub answers: Vec<(Cow<'a, str>, &'a str)>,
    /// `requestState`, decoded.
    pub state: Option<Cow<'a, str>>,
}

/// Reads the answers and the state that a modern request brings.
///
/// # Errors
/// When `params` is not an object, or one of the two has the wrong type: such a retry must not run as a fresh call.
pub fn brought(params: &str) -> Result<Brought<'_>, Malformed> {
    let wrong = |field, wrong| Malformed { field, wrong };
    let found = members(params).map_err(|_| wrong("params", "must be an object"))?;
    let mut brought = Brought::default();
    for member in found.iter().filter(|member| member.value != "null") {
        if member.key == STATE {
            let state = string(member.value).ok_or_else(|| wrong(STATE, "must be a string"))?;
            brought.state = Some(state);
        } else if member.key == ANSWERS {
            let answers = members(member.value).map_err(|_| wrong(ANSWERS, "must be an object"))?;
            brought.answers = last_of_each(answers);
        }
    }
    Ok(brought)
}

/// Key and value of each member; of doubled ones the last.
pub(super) fn last_of_each(members: Vec<Member<'_>>) -> Vec<(Cow<'_, str>, &str)> {
    let mut seen = HashMap::with_capacity(members.len());
    let mut found: Vec<(Cow<'_, str>, &str)> = Vec::with_capacity(members.len());
    for member in members {
        match seen.get(&member.key) {
            Some(&at) => {
                let (_, value): &mut (Cow<'_, str>, &str) = &mut found[at];
                *value = member.value;
            }
            None => {
                seen.insert(member.key.clone(), found.len());
                found.push((member.key, member.value));
            }
        }
    }
    found
}
