//! The files as resources, page by page.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{folder::Folder, uri};
use crate::{call::Call, outcome::Stop, wire::Fault};

/// How many resources one page of the list holds.
const PAGE_MAX: usize = 100;

/// Answers `resources/list`.
///
/// The cursor is the URI of the last resource of the page before: it stays right when files come and
/// go between two pages.
pub(super) async fn list(folder: &Folder, call: &Call) -> Result<Value, Stop> {
    let after = match call.params.get("cursor") {
        None => String::new(),
        Some(cursor) => read_cursor(cursor)?,
    };
    let entries = folder.entries().await;
    let start = entries.partition_point(|entry| entry.path <= after);
    let page = &entries[start..entries.len().min(start + PAGE_MAX)];
    let resources: Vec<Value> = page
        .iter()
        .map(|entry| {
            json!({
                "uri": uri::from_path(&entry.path),
                "name": entry.path,
                "mimeType": mime_type(&entry.path),
                "size": entry.bytes,
            })
        })
        .collect();
    let mut result = json!({"resources": resources});
    if start + page.len() < entries.len()
        && let Some(last) = page.last()
    {
        result["nextCursor"] = uri::from_path(&last.path).into();
    }
    Ok(result)
}

fn read_cursor(cursor: &Value) -> Result<String, Stop> {
    let path = cursor.as_str().and_then(uri::to_path);
    path.ok_or_else(|| Fault::invalid_params("params.cursor is not one of this server's").into())
}

/// Describes the resources that no list names.
pub(super) fn templates() -> Value {
    json!([{
        "uriTemplate": TEMPLATE,
        "name": "file",
        "title": "A file of the folder",
        "description": "Any file of the folder by its path.",
    }])
}

/// `+` lets the path keep its slashes (RFC 6570 §3.2.3).
pub(super) const TEMPLATE: &str = "docs:///{+path}";

/// Answers `resources/read`.
pub(super) async fn read(folder: &Folder, call: &Call) -> Result<Value, Stop> {
    let uri = call.text("uri");
    let content = contents(folder, uri).await;
    let content = content.ok_or_else(|| call.unknown_resource(uri))?;
    Ok(json!({"contents": [content]}))
}

/// Reads a file as the contents of a resource: text where it is text, Base64 otherwise.
pub(super) async fn contents(folder: &Folder, uri: &str) -> Option<Value> {
    let path = uri::to_path(uri)?;
    let content = folder.read(&path).await.ok()?;
    let mime_type = mime_type(&path);
    Some(match String::from_utf8(content) {
        Ok(text) => json!({"uri": uri, "mimeType": mime_type, "text": text}),
        Err(bytes) => {
            let blob = BASE64_STANDARD.encode(bytes.as_bytes());
            json!({"uri": uri, "mimeType": mime_type, "blob": blob})
        }
    })
}

fn mime_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "json" => "application/json",
        "yaml" | "yml" => "application/yaml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "txt" | "" => "text/plain",
        _ => "application/octet-stream",
    }
}
