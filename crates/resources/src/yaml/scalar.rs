//! Plain scalars by the core schema.

use std::borrow::Cow;

use crate::node::Content;

/// Reads a plain scalar by the core schema (YAML 1.2.2, 10.3.2).
pub(super) fn plain(text: Cow<'_, str>) -> Content {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Bool(true),
        "false" | "False" | "FALSE" => return Content::Bool(false),
        _ => {}
    }
    number(&text).map_or_else(|| Content::Text(text.into_owned()), Content::Number)
}

fn number(text: &str) -> Option<serde_json::Number> {
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex)
            .then(|| u64::from_str_radix(hex, 16).ok())?
            .map(Into::into);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal)
            .then(|| u64::from_str_radix(octal, 8).ok())?
            .map(Into::into);
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
    {
        return None;
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    serde_json::Number::from_f64(text.parse().ok()?)
}

fn digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}
