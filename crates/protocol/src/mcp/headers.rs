//! The headers that mirror the body (MCP 2026-07-28, basic/transports/streamable-http, "Standard headers" and "Custom headers").

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// `MCP-Protocol-Version`.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// `Mcp-Session-Id` (legacy).
pub const SESSION_ID: &str = "mcp-session-id";
/// `Last-Event-ID` (legacy).
pub const LAST_EVENT_ID: &str = "last-event-id";
/// `Mcp-Method`.
pub const METHOD: &str = "mcp-method";
/// `Mcp-Name`.
pub const NAME: &str = "mcp-name";
/// What the headers of annotated arguments start with.
pub const PARAM_PREFIX: &str = "mcp-param-";
/// The longest encoded value, in bytes.
pub const VALUE_BYTES_MAX: usize = 8 * 1024;
/// The most annotated arguments of one tool.
pub const PARAMS_MAX: usize = 32;

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// `text` as a header value: plain when printable ASCII, else between the base64 marks.
#[must_use]
pub fn encode(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    let trimmed = text.trim_matches([' ', '\t']) == text;
    let marked = text.starts_with(OPEN) && text.ends_with(CLOSE);
    if plain && trimmed && !marked {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{OPEN}{}{CLOSE}", STANDARD.encode(text)))
}

/// The text behind a header value, or `None` when it holds a byte or an encoding that may not stand there.
#[must_use]
pub fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !text.bytes().all(|byte| matches!(byte, 0x20..=0x7e | b'\t')) {
        return None;
    }
    match text
        .strip_prefix(OPEN)
        .and_then(|rest| rest.strip_suffix(CLOSE))
    {
        None => Some(Cow::Borrowed(text)),
        Some(inner) => String::from_utf8(STANDARD.decode(inner).ok()?)
            .ok()
            .map(Cow::Owned),
    }
}

/// One argument that is mirrored into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// The whole header name in lower case, `mcp-param-…`.
    pub header: String,
    /// Where the argument is: keys from `arguments` down.
    pub path: Vec<String>,
    /// How it is written.
    pub kind: ParamKind,
}

/// The JSON type of a mirrored argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamKind {
    /// Compared as text.
    String,
    /// Compared as a number within ±(2^53−1).
    Integer,
    /// `true` or `false`.
    Boolean,
}

/// Why a tool's `x-mcp-header` annotations make the whole tool invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`x-mcp-header` of argument `{argument}` {reason}")]
pub struct InvalidAnnotation {
    /// The argument, as a dotted path.
    pub argument: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// The mirrored arguments of a tool.
///
/// # Errors
/// When an annotation breaks a rule: clients must then drop the tool ("Custom headers", validity).
pub fn params(input_schema: &Value) -> Result<Vec<Param>, InvalidAnnotation> {
    let mut found = Vec::new();
    walk(input_schema, &mut Vec::new(), true, &mut found)?;
    for (at, param) in found.iter().enumerate() {
        if found[..at].iter().any(|other| other.header == param.header) {
            return Err(InvalidAnnotation {
                argument: param.path.join("."),
                reason: "is used twice",
            });
        }
    }
    if found.len() > PARAMS_MAX {
        return Err(InvalidAnnotation {
            argument: String::new(),
            reason: "is used more than 32 times",
        });
    }
    Ok(found)
}

/// Walks every subschema; `reachable` says whether only `properties` led here.
fn walk(
    schema: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    found: &mut Vec<Param>,
) -> Result<(), InvalidAnnotation> {
    match schema {
        Value::Object(members) => {
            if let Some(name) = members.get("x-mcp-header") {
                found.push(annotated(name, members.get("type"), path, reachable)?);
            }
            for (key, inner) in members {
                match (key.as_str(), inner) {
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties {
                            path.push(name.clone());
                            walk(property, path, reachable, found)?;
                            path.pop();
                        }
                    }
                    // Data, not schemas.
                    ("default" | "const" | "enum" | "examples" | "x-mcp-header", _) => {}
                    _ => walk(inner, path, false, found)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| walk(item, path, false, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn annotated(
    name: &Value,
    kind: Option<&Value>,
    path: &[String],
    reachable: bool,
) -> Result<Param, InvalidAnnotation> {
    let wrong = |reason| InvalidAnnotation {
        argument: path.join("."),
        reason,
    };
    let name = name.as_str().ok_or_else(|| wrong("is not a string"))?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(wrong("is not a header token"));
    }
    if !reachable || path.is_empty() {
        return Err(wrong("is not reachable through `properties` alone"));
    }
    let kind = match kind.and_then(Value::as_str) {
        Some("string") => ParamKind::String,
        Some("integer") => ParamKind::Integer,
        Some("boolean") => ParamKind::Boolean,
        _ => {
            return Err(wrong(
                "stands on a type other than string, integer or boolean",
            ));
        }
    };
    let header = format!("{PARAM_PREFIX}{}", name.to_ascii_lowercase());
    Ok(Param {
        header,
        path: path.to_vec(),
        kind,
    })
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Param {
    /// The text that mirrors this argument in `arguments`, or `None` when it is absent or null.
    #[must_use]
    pub fn text(&self, arguments: &Value) -> Option<String> {
        let value = self
            .path
            .iter()
            .try_fold(arguments, |value, key| value.get(key))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Whether a header text says the same as the body's text.
    #[must_use]
    pub fn agrees(&self, header: &str, body: &str) -> bool {
        match self.kind {
            ParamKind::String | ParamKind::Boolean => header == body,
            ParamKind::Integer => {
                header == body
                    || matches!((whole(header), whole(body)), (Some(a), Some(b)) if a == b)
            }
        }
    }
}

/// An integer within ±(2^53−1), also when written `4.0` or `4e0`.
fn whole(text: &str) -> Option<i64> {
    const LIMIT: i64 = (1 << 53) - 1;
    if let Ok(number) = text.parse::<i64>() {
        return (-LIMIT..=LIMIT).contains(&number).then_some(number);
    }
    let number = text.parse::<f64>().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "checked to be whole and in range"
    )]
    (number.fract() == 0.0 && number.abs() <= LIMIT as f64).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_survive_the_header() {
        for text in [
            "plain",
            "with space",
            " edge ",
            "é",
            "line\nbreak",
            "=?base64?x?=",
            "",
        ] {
            let encoded = encode(text);
            assert!(encoded.bytes().all(|byte| matches!(byte, 0x20..=0x7e)));
            assert_eq!(decode(encoded.as_bytes()).as_deref(), Some(text));
        }
        assert_eq!(encode("plain"), "plain");
        assert_eq!(decode(b"=?base64?%%%?="), None);
        assert_eq!(decode("é".as_bytes()), None);
        assert_eq!(
            decode(b"=?BASE64?eA==?=").as_deref(),
            Some("=?BASE64?eA==?=")
        );
    }

    #[test]
    fn annotations_are_found_under_properties_only() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
        }});
        let found = params(&schema).unwrap();
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .any(|param| param.header == "mcp-param-region" && param.path == ["region"])
        );
        assert_eq!(
            found[1].text(&json!({"deep": {"n": 7}})).as_deref(),
            Some("7")
        );
    }

    #[test]
    fn broken_annotations_are_refused() {
        let bad = [
            json!({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": ""}}}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A B"}}}),
            json!({"properties": {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}}),
            json!({"anyOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}]}),
        ];
        for schema in bad {
            assert!(params(&schema).is_err(), "{schema}");
        }
    }

    #[test]
    fn integers_are_compared_as_numbers() {
        let param = Param {
            header: String::new(),
            path: vec![],
            kind: ParamKind::Integer,
        };
        assert!(param.agrees("42", "42.0"));
        assert!(!param.agrees("42", "43"));
        assert!(!param.agrees("9007199254740993", "9007199254740992.0"));
    }
}
