//! Content that an older legacy revision has no word for, in words that it has.

use std::borrow::Cow;

use memchr::memmem;

use crate::json::{ObjectEdit, change_elements, elements, quote, string};
use crate::mcp::{Method, Version};

/// What `resource_link` says of a resource (MCP 2025-06-18, server/tools, "Resource Links").
const LINK: [&str; 7] = [
    "uri",
    "name",
    "title",
    "description",
    "mimeType",
    "size",
    "icons",
];

/// Who speaks in a sampling (MCP 2025-11-25, schema, `Role`).
const ROLES: [&str; 2] = ["user", "assistant"];

/// The result of a tool or a prompt in words of the legacy revision `version`.
///
/// - `resource_link` before 2025-06-18 becomes text with its name, URI and description.
/// - `audio` in 2024-11-05 becomes an embedded resource with the same data.
/// - `structuredContent` before 2025-06-18 becomes text too when there is no other content.
///
/// URIs that clients see under another name must have it already: they may become part of a text.
#[must_use]
pub fn for_version(method: Method, version: Version, result: &str) -> Cow<'_, str> {
    if version >= Version::V2025_06_18 || !may_change(result.as_bytes()) {
        return Cow::Borrowed(result);
    }
    let changed = match method {
        Method::ToolsCall => tool_result(version, result),
        Method::PromptsGet => prompt_result(version, result),
        _ => None,
    };
    changed.map_or(Cow::Borrowed(result), Cow::Owned)
}

/// The params of `sampling/createMessage` in words of the legacy revision `version` of the client.
///
/// - A message of several blocks before 2025-11-25 becomes several messages of the same role.
/// - `audio` in 2024-11-05 becomes text that says what was there: a sampling has no embedded resources.
#[must_use]
pub fn sampling_for_version(version: Version, params: &str) -> Cow<'_, str> {
    if version >= Version::V2025_11_25 {
        return Cow::Borrowed(params);
    }
    let changed = ObjectEdit::new(params).and_then(|mut edit| {
        let messages = change_elements(edit.value("messages")?, |_, raw| {
            sampling_message(version, raw)
        });
        edit.set("messages", messages?);
        Some(edit.finish())
    });
    changed.map_or(Cow::Borrowed(params), Cow::Owned)
}

/// The message, or several with a comma between them, when something changes.
fn sampling_message(version: Version, message: &str) -> Option<String> {
    let mut first = ObjectEdit::new(message)?;
    let content = first.value("content")?;
    let told = |block| match version {
        Version::V2024_11_05 => audio_as_text(block),
        _ => None,
    };
    if !content.starts_with('[') {
        first.set("content", told(content)?);
        return Some(first.finish());
    }
    let role = first.value("role")?;
    if !ROLES.contains(&string(role)?.as_ref()) {
        return None;
    }
    let blocks = elements(content).ok()?;
    let mut blocks = blocks.into_iter().map(|came| {
        let said = told(came);
        said.map_or(Cow::Borrowed(came), Cow::Owned)
    });
    first.set("content", blocks.next()?);
    // The first stands for all in what else the message says.
    let mut messages = first.finish();
    for block in blocks {
        messages.push_str(&format!(",{{\"role\":{role},\"content\":{block}}}"));
    }
    Some(messages)
}

/// Most results have none of these words. An escape may hide one.
fn may_change(result: &[u8]) -> bool {
    ["resource_link", "structuredContent", "audio", "\\u00"]
        .iter()
        .any(|word| memmem::find(result, word.as_bytes()).is_some())
}

fn tool_result(version: Version, result: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(result)?;
    let content = edit.value("content").unwrap_or("[]");
    if let Some(changed) = blocks(version, content) {
        edit.set("content", changed);
    } else if let Some(value) = edit.value("structuredContent")
        && elements(content).is_ok_and(|blocks| blocks.is_empty())
    {
        let text = quote(value);
        edit.set(
            "content",
            format!("[{{\"type\":\"text\",\"text\":{text}}}]"),
        );
    }
    edit.changed()
}

fn prompt_result(version: Version, result: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(result)?;
    let messages = change_elements(edit.value("messages")?, |_, message| {
        let mut edit = ObjectEdit::new(message)?;
        let content = edit.value("content")?;
        let changed = if content.starts_with('[') {
            blocks(version, content)?
        } else {
            block(version, 0, content)?
        };
        edit.set("content", changed);
        Some(edit.finish())
    });
    edit.set("messages", messages?);
    Some(edit.finish())
}

fn blocks(version: Version, content: &str) -> Option<String> {
    change_elements(content, |at, raw| block(version, at, raw))
}

fn block(version: Version, at: usize, block: &str) -> Option<String> {
    if !may_change(block.as_bytes()) {
        return None;
    }
    let edit = ObjectEdit::new(block)?;
    match string(edit.value("type")?)?.as_ref() {
        "resource_link" => Some(link_as_text(edit)),
        "audio" if version == Version::V2024_11_05 => Some(audio_as_resource(edit, at)),
        _ => None,
    }
}

fn link_as_text(mut block: ObjectEdit<'_>) -> String {
    let say = |key: &str| block.value(key).and_then(string);
    let uri = say("uri").unwrap_or_default();
    let mut text = match say("title").or_else(|| say("name")) {
        Some(name) => format!("{name}: {uri}"),
        None => uri.into_owned(),
    };
    if let Some(kind) = say("mimeType") {
        text.push_str(&format!(" ({kind})"));
    }
    if let Some(description) = say("description") {
        text.push('\n');
        text.push_str(&description);
    }
    for key in LINK {
        block.remove(key);
    }
    block.set("type", "\"text\"");
    block.set("text", quote(&text));
    block.finish()
}

fn audio_as_text(block: &str) -> Option<String> {
    let mut edit = ObjectEdit::new(block)?;
    if string(edit.value("type")?)? != "audio" {
        return None;
    }
    let kind = edit.value("mimeType").and_then(string).unwrap_or_default();
    let length = edit.value("data").map_or(0, str::len);
    let text =
        format!("[audio {kind}, {length} bytes in base64: left out for a client of 2024-11-05]");
    edit.remove("mimeType");
    edit.remove("data");
    edit.set("type", "\"text\"");
    edit.set("text", quote(&text));
    Some(edit.finish())
}

/// MCP 2024-11-05 knows binary data in embedded resources; the URI only tells blocks apart.
fn audio_as_resource(mut block: ObjectEdit<'_>, at: usize) -> String {
    let kind = block.value("mimeType").unwrap_or("\"audio/*\"");
    let data = block.value("data").unwrap_or("\"\"");
    let resource = format!("{{\"uri\":\"audio:{at}\",\"mimeType\":{kind},\"blob\":{data}}}");
    block.remove("mimeType");
    block.remove("data");
    block.set("type", "\"resource\"");
    block.set("resource", resource);
    block.finish()
}
