//! Results on the user's terminal: text as it is, data as JSON, everything else described.

use std::{borrow::Cow, io::IsTerminal as _, path::PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{failure::Failure, text};

/// Shows the result of a tool: its text, or its data where there is no text or the text says the
/// same in JSON.
pub(super) fn tool_result(result: &Value) {
    let structured = result.get("structuredContent");
    let same = |text: &str| {
        let read = serde_json::from_str::<Value>(text).ok();
        read.as_ref() == structured
    };
    let texts: Vec<&str> = blocks(&result["content"])
        .filter_map(|block| block["text"].as_str())
        .collect();
    if let Some(structured) = structured
        && texts.iter().all(|text| same(text))
    {
        print(&format!("{structured:#}"));
        let others = blocks(&result["content"]).filter(|block| block["text"].is_null());
        others.for_each(block);
        return;
    }
    content(&result["content"]);
}

/// Shows blocks of content, resources as one line.
pub(super) fn content(content: &Value) {
    blocks(content).for_each(block);
}

/// Shows the contents of resources.
pub(super) fn contents(content: &Value) {
    for resource in blocks(content) {
        match resource["resource"]["text"].as_str() {
            Some(text) => print(text),
            None => block(resource),
        }
    }
}

fn block(block: &Value) {
    match block["text"].as_str() {
        Some(text) if block["type"] == "text" => print(text),
        _ => anstream::println!("{}", described(block)),
    }
}

/// Describes what is not text, on one line.
fn described(block: &Value) -> String {
    let field = |value: &Value| value.as_str().map(text::one_line).unwrap_or_default();
    let kind = field(&block["type"]);
    let data = decoded(block).map(|data| text::bytes(data.len()));
    let (mime_type, name) = match kind.as_str() {
        "resource" => {
            let resource = &block["resource"];
            (field(&resource["mimeType"]), field(&resource["uri"]))
        }
        "resource_link" => (field(&block["mimeType"]), field(&block["uri"])),
        _ => (field(&block["mimeType"]), String::new()),
    };
    let size = data.unwrap_or_default();
    let parts = [kind, name, mime_type, size];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("[{}]", parts.join(", "))
}

fn decoded(block: &Value) -> Option<Cow<'_, [u8]>> {
    let resource = &block["resource"];
    let data = block["data"].as_str().or_else(|| resource["blob"].as_str());
    if let Some(data) = data {
        return BASE64_STANDARD.decode(data).ok().map(Cow::Owned);
    }
    resource["text"]
        .as_str()
        .map(|text| Cow::Borrowed(text.as_bytes()))
}

/// Saves the first block that holds data, or else all text.
pub(super) fn save(content: &Value, path: &PathBuf) -> Result<(), Failure> {
    if let Some(data) = blocks(content).find_map(decoded) {
        super::save(path, &data)?;
        anstream::eprintln!("saved {} to {}", text::bytes(data.len()), path.display());
        return Ok(());
    }
    let texts: Vec<&str> = blocks(content)
        .filter_map(|block| block["text"].as_str())
        .collect();
    if texts.is_empty() {
        return Err(Failure::Server(
            "the result holds nothing to save".to_owned(),
        ));
    }
    super::save(path, texts.join("\n").as_bytes())
}

fn blocks(content: &Value) -> impl Iterator<Item = &Value> {
    content.as_array().into_iter().flatten()
}

/// Prints text of a server: into a pipe as it is, onto a terminal without what could steer it.
fn print(text: &str) {
    let text = if std::io::stdout().is_terminal() {
        Cow::Owned(text::plain(text))
    } else {
        Cow::Borrowed(text)
    };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    anstream::print!("{text}{end}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_text_is_described() {
        let cases = [
            (
                json!({"type": "image", "mimeType": "image/png", "data": "AAAA"}),
                "[image, image/png, 3 bytes]",
            ),
            (
                json!({"type": "resource", "resource": {"uri": "docs:///a.md", "mimeType": "text/markdown", "text": "ab"}}),
                "[resource, docs:///a.md, text/markdown, 2 bytes]",
            ),
            (
                json!({"type": "resource_link", "uri": "docs:///a.md"}),
                "[resource_link, docs:///a.md]",
            ),
            (json!({"type": "hologram"}), "[hologram]"),
        ];
        for (block, expected) in cases {
            assert_eq!(described(&block), expected);
        }
    }
}
