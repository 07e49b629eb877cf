//! Errors.

use crate::json::{ObjectEdit, elements, members, quote, string};
use crate::json_rpc::{ErrorObject, code};
use crate::mcp::Method;

use super::question_to_modern;

/// Legacy (2025-11-25 only): the user must visit URLs first.
const URL_ELICITATION_REQUIRED: i64 = -32042;
/// How a server may say that a resource is not there. `-32602` alone may mean any wrong parameter.
const ABSENT: [&str; 5] = [
    "not found",
    "no such",
    "does not exist",
    "doesn't exist",
    "unknown resource",
];
/// The most capabilities that the text of an error names; further ones are left out.
const NAMED_CAPABILITIES_MAX: usize = 16;

/// A legacy server's error for a modern client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModernError {
    /// As it came.
    Same,
    /// The same message and data under another code.
    Code(i32),
    /// No error but questions: raw entries of `inputRequests`. The call is sent again when they are answered.
    Questions(Vec<String>),
}

/// A modern server's error for a legacy client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyError {
    /// As it came.
    Same,
    /// The same message and data under another code.
    Code(i32),
    /// Another error, without data.
    Text {
        /// The code.
        code: i32,
        /// What to say.
        message: String,
    },
    /// No error but the raw result of a tool that failed.
    ToolResult(String),
}

/// A legacy server's error for a modern client.
///
/// Codes that 2026-07-28 keeps for itself (-32020 to -32099) or forbids (-32002) never pass;
/// its other codes of servers' own (-32000 to -32019) mean nothing to a client and do (schema, "MCP error codes").
#[must_use]
pub fn error_to_modern(method: Method, error: &ErrorObject<'_>) -> ModernError {
    match error.code {
        URL_ELICITATION_REQUIRED if may_ask(method) => match url_questions(error) {
            Some(questions) => ModernError::Questions(questions),
            None => ModernError::Code(code::INTERNAL_ERROR),
        },
        // What a method names (a resource, a template) is not there: a wrong parameter.
        from if from == i64::from(code::RESOURCE_NOT_FOUND) => ModernError::Code(match method {
            Method::ResourcesRead | Method::Complete | Method::Subscribe | Method::Unsubscribe => {
                code::INVALID_PARAMS
            }
            _ => code::INTERNAL_ERROR,
        }),
        -32099..=-32020 => ModernError::Code(code::INTERNAL_ERROR),
        _ => ModernError::Same,
    }
}

/// Whether a modern server may ask back on this method (MCP 2026-07-28, basic/patterns/mrtr).
const fn may_ask(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead
    )
}

/// The URLs in `data.elicitations` as questions; `None` when there are none or one is broken.
fn url_questions(error: &ErrorObject<'_>) -> Option<Vec<String>> {
    let data = ObjectEdit::new(error.data?.get())?;
    let question = |raw| {
        let mut edit = ObjectEdit::new(raw)?;
        string(edit.value("url")?)?;
        edit.set("mode", "\"url\"");
        question_to_modern("elicitation/create", &edit.finish())
    };
    let raw = elements(data.value("elicitations")?).ok()?;
    let questions: Vec<String> = raw.into_iter().map(question).collect::<Option<_>>()?;
    (!questions.is_empty()).then_some(questions)
}

/// A modern server's error for a legacy client.
///
/// What only the gateway and the server had to settle between them (-32020, -32022) is no matter of the client.
#[must_use]
pub fn error_to_legacy(method: Method, error: &ErrorObject<'_>) -> LegacyError {
    let is = |code: i32| error.code == i64::from(code);
    if is(code::MISSING_CAPABILITY) {
        return missing_capability(method, error);
    }
    if is(code::HEADER_MISMATCH) || is(code::UNSUPPORTED_VERSION) {
        return LegacyError::Text {
            code: code::INTERNAL_ERROR,
            message: format!(
                "the server does not take what the gateway sends: {}",
                error.message
            ),
        };
    }
    if error.code == URL_ELICITATION_REQUIRED {
        // A client would look for URLs that a modern server does not give.
        return LegacyError::Code(code::INTERNAL_ERROR);
    }
    if is(code::INVALID_PARAMS) && method == Method::ResourcesRead && says_absent(error) {
        return LegacyError::Code(code::RESOURCE_NOT_FOUND);
    }
    LegacyError::Same
}

fn says_absent(error: &ErrorObject<'_>) -> bool {
    let message = error.message.to_ascii_lowercase();
    ABSENT.iter().any(|word| message.contains(word))
}

fn missing_capability(method: Method, error: &ErrorObject<'_>) -> LegacyError {
    let names = required_capabilities(error);
    let message = if names.is_empty() {
        "the client cannot do what the server needs for this".to_owned()
    } else {
        format!(
            "the server needs a client that can do this: {}",
            names.join(", ")
        )
    };
    if method != Method::ToolsCall {
        return LegacyError::Text {
            code: code::INVALID_REQUEST,
            message,
        };
    }
    // A legacy tool says so in its result, where a model sees it.
    let text = quote(&message);
    LegacyError::ToolResult(format!(
        "{{\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"isError\":true}}"
    ))
}

/// `elicitation.url`, `sampling` and the like, from `data.requiredCapabilities`.
fn required_capabilities(error: &ErrorObject<'_>) -> Vec<String> {
    let Some(required) = error
        .data
        .and_then(|data| ObjectEdit::new(data.get()))
        .and_then(|data| data.value("requiredCapabilities"))
    else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for member in members(required).unwrap_or_default() {
        let parts = members(member.value).unwrap_or_default();
        if parts.is_empty() {
            names.push(member.key.clone().into_owned());
        }
        for part in parts {
            names.push(format!("{}.{}", member.key, part.key));
        }
        if names.len() > NAMED_CAPABILITIES_MAX {
            break;
        }
    }
    names.truncate(NAMED_CAPABILITIES_MAX);
    names
}
