//! MCP requests as a client of either era says them.

use super::request::{Request, post};

/// A request of the handshake eras: `params` is raw JSON; `id` is raw JSON too (`7`, `"a"`).
///
/// # Panics
/// When `url` is not `http://host:port/…`.
#[must_use]
pub fn legacy(url: &str, id: impl std::fmt::Display, method: &str, params: &str) -> Request {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
    post(url, body).expect("the test's URL is complete")
}

/// The same without an id.
///
/// # Panics
/// As [`legacy`].
#[must_use]
pub fn notification(url: &str, method: &str, params: &str) -> Request {
    let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
    post(url, body).expect("the test's URL is complete")
}

/// A request of revision 2026-07-28 with its header lines and `_meta`, and no client capabilities.
///
/// `params` is a raw JSON object. `Mcp-Name` is left to the caller.
///
/// # Panics
/// As [`legacy`].
#[must_use]
pub fn modern(url: &str, id: impl std::fmt::Display, method: &str, params: &str) -> Request {
    modern_with(url, id, method, params, "{}")
}

/// [`modern`] with client capabilities (a raw JSON object).
///
/// # Panics
/// As [`legacy`].
#[must_use]
pub fn modern_with(
    url: &str,
    id: impl std::fmt::Display,
    method: &str,
    params: &str,
    capabilities: &str,
) -> Request {
    let meta = format!(r#"{{"io.modelcontextprotocol/clientCapabilities":{capabilities}}}"#);
    modern_meta(url, id, method, params, &meta)
}

/// [`modern`] with members of `_meta` (a raw JSON object) beside or instead of the usual ones.
///
/// # Panics
/// As [`legacy`], and when `meta` is not a JSON object.
#[must_use]
pub fn modern_meta(
    url: &str,
    id: impl std::fmt::Display,
    method: &str,
    params: &str,
    meta: &str,
) -> Request {
    let mut members = serde_json::json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "testkit", "version": "1"},
    });
    let more: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(meta).expect("the test's _meta is an object");
    for (name, value) in more {
        members[name] = value;
    }
    let rest = params.trim().trim_start_matches('{');
    let comma = if rest.trim() == "}" { "" } else { "," };
    let params = format!(r#"{{"_meta":{members}{comma}{rest}"#);
    legacy(url, id, method, &params)
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", method)
}
