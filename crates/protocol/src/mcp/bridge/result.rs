//! Complete results.

use std::borrow::Cow;

use crate::json::ObjectEdit;
use crate::mcp::{Method, Version, meta_key};

use super::task::RELATED;
use super::{for_version, strip_meta};

/// A modern complete result for a legacy client of `version`.
///
/// Cache hints, `resultType` and the server's name go; `structuredContent` that is no object is wrapped as
/// `{"result": …}`, as [`super::tool_to_legacy`] does with its schema; then [`for_version`].
/// `None` when `result` is not an object.
#[must_use]
pub fn result_to_legacy(method: Method, version: Version, result: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(result)?;
    for key in ["resultType", "ttlMs", "cacheScope"] {
        edit.remove(key);
    }
    strip_meta(&mut edit, &[meta_key::SERVER_INFO]);
    if method == Method::ToolsCall
        && let Some(value) = edit.value("structuredContent")
        && !value.starts_with('{')
    {
        edit.set("structuredContent", format!("{{\"result\":{value}}}"));
    }
    let result = edit.finish();
    let changed = match for_version(method, version, &result) {
        Cow::Owned(changed) => Some(changed),
        Cow::Borrowed(_) => None,
    };
    Some(changed.unwrap_or(result))
}

/// A legacy result for a modern client: it is complete, nobody may keep it, and what only legacy says of tasks goes.
///
/// `None` when `result` is not an object.
#[must_use]
pub fn result_to_modern(method: Method, result: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(result)?;
    edit.set("resultType", "\"complete\"");
    strip_meta(&mut edit, &[RELATED]);
    if has_cache_hints(method) {
        edit.set("ttlMs", "0");
        edit.set("cacheScope", "\"private\"");
    }
    Some(edit.finish())
}

/// Whether a complete result must say how long it may be kept (MCP 2026-07-28, server/utilities/caching).
const fn has_cache_hints(method: Method) -> bool {
    matches!(
        method,
        Method::Discover
            | Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::ResourcesRead
    )
}
