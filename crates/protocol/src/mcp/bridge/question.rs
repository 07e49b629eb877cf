//! Questions of servers to clients: requests in the legacy era, entries of `inputRequests` in the modern one.

use std::borrow::Cow;

use crate::json::{ObjectEdit, change_elements, quote, string};

use super::params::object;
use super::task::RELATED;
use super::{REQUEST_META, strip_meta, tool_to_legacy, tool_to_modern};

/// Asks the user.
const ELICIT: &str = "elicitation/create";
/// Everything that a server may ask (MCP 2026-07-28, basic/patterns/mrtr).
const METHODS: [&str; 3] = [ELICIT, "sampling/createMessage", "roots/list"];

/// One question of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question<'a> {
    /// What it asks for.
    pub method: Cow<'a, str>,
    /// Raw object; `{}` when none came.
    pub params: &'a str,
}

/// A legacy server's question as an entry of `inputRequests`, without what only legacy knows.
///
/// `None` when `params` is not an object or a client is never asked this.
#[must_use]
pub fn question_to_modern(method: &str, params: &str) -> Option<String> {
    if !METHODS.contains(&method) {
        return None;
    }
    let mut edit = ObjectEdit::new(params)?;
    edit.remove("elicitationId");
    edit.remove("task");
    strip_meta(&mut edit, &["progressToken", RELATED]);
    change_tools(&mut edit, tool_to_modern);
    let params = edit.finish();
    Some(if params == "{}" {
        format!("{{\"method\":\"{method}\"}}")
    } else {
        format!("{{\"method\":\"{method}\",\"params\":{params}}}")
    })
}

/// An entry of `inputRequests` as the params of a legacy request; a URL elicitation gets `elicitation_id`.
///
/// `None` when the params are not an object or a client is never asked this.
#[must_use]
pub fn question_to_legacy(question: &Question<'_>, elicitation_id: &str) -> Option<String> {
    if !METHODS.contains(&question.method.as_ref()) {
        return None;
    }
    let mut edit = ObjectEdit::new(question.params)?;
    strip_meta(&mut edit, &REQUEST_META);
    change_tools(&mut edit, tool_to_legacy);
    if question.method == ELICIT {
        let mode = edit.value("mode").and_then(string);
        if mode.as_deref() == Some("url") {
            edit.set("elicitationId", quote(elicitation_id));
        }
    }
    Some(edit.finish())
}

/// The tools that a model may use for a sampling are tools like those of lists.
fn change_tools(question: &mut ObjectEdit<'_>, change: fn(&str) -> Cow<'_, str>) {
    let tool = |_, raw: &str| match change(raw) {
        Cow::Owned(changed) => Some(changed),
        Cow::Borrowed(_) => None,
    };
    let tools = question.value("tools").unwrap_or("[]");
    if let Some(tools) = change_elements(tools, tool) {
        question.set("tools", tools);
    }
}

/// A legacy client's answer (raw result) as a value of `inputResponses`.
#[must_use]
pub fn answer_to_modern(answer: &str) -> Option<String> {
    ObjectEdit::new(answer).map(ObjectEdit::finish)
}

/// A value of `inputResponses` as the result of a legacy request.
#[must_use]
pub fn answer_to_legacy(answer: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(answer)?;
    edit.remove("resultType");
    Some(edit.finish())
}

/// An `input_required` result from questions (key, raw request) and a state (plain text).
#[must_use]
pub fn input_required(questions: &[(String, String)], state: Option<&str>) -> String {
    let mut out = String::from(r#"{"resultType":"input_required""#);
    if !questions.is_empty() {
        out.push_str(",\"inputRequests\":");
        out.push_str(&object(questions));
    }
    if let Some(state) = state {
        out.push_str(",\"requestState\":");
        out.push_str(&quote(state));
    }
    out.push('}');
    out
}
