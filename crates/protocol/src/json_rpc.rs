//! The JSON-RPC 2.0 envelope, with ids, params and results kept as the bytes they came as.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{depth_allowed, span_of};

/// The longest id that is accepted, in bytes of JSON.
pub const ID_BYTES_MAX: usize = 512;
/// The most messages in one batch (MCP 2025-03-26 only).
pub const BATCH_MAX: usize = 64;

/// JSON-RPC error codes, and those of MCP.
pub mod code {
    /// The text is not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The JSON is not a message.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method, or one that is not offered.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// Parameters are missing or wrong.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Something behind us failed.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// Legacy: no such resource.
    pub const RESOURCE_NOT_FOUND: i32 = -32002;
    /// Modern: a header says something else than the body.
    pub const HEADER_MISMATCH: i32 = -32020;
    /// Modern: the client did not declare what this request needs.
    pub const MISSING_CAPABILITY: i32 = -32021;
    /// Modern: no such protocol version.
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}

/// A request id, as the raw JSON it came as.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Id(Bytes);

impl Id {
    /// An id of our own making.
    #[must_use]
    pub fn number(number: u64) -> Self {
        Self(number.to_string().into())
    }

    /// The id as JSON.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// The id from raw JSON, when it is a string or an integer (MCP: never null, never a fraction).
    #[must_use]
    pub fn from_raw(raw: &str) -> Option<Self> {
        id_allowed(raw).then(|| Self(Bytes::copy_from_slice(raw.as_bytes())))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&String::from_utf8_lossy(&self.0))
    }
}

fn id_allowed(raw: &str) -> bool {
    if raw.len() > ID_BYTES_MAX {
        return false;
    }
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    raw.starts_with('"') || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What kind of message this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// Wants an answer.
    Request(Id),
    /// Wants none.
    Notification,
    /// Answers a request of the other side with a result.
    Result(Id),
    /// Answers a request of the other side with an error. The id is absent when it could not be read.
    Error(Option<Id>),
}

/// One message: its bytes, and where its parts lie in them.
#[derive(Debug, Clone)]
pub struct Message {
    /// All of it, as it came.
    pub bytes: Bytes,
    /// What kind of message it is.
    pub shape: Shape,
    /// The method; empty for answers.
    pub method: Box<str>,
    id: Option<Range<usize>>,
    /// `params`, `result` or `error`.
    body: Option<Range<usize>>,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or nested too deep.
    #[error("the body is not JSON: {0}")]
    Json(String),
    /// JSON, but not JSON-RPC. The id is given when it could be read.
    #[error("{reason}")]
    Message {
        /// What is wrong.
        reason: &'static str,
        /// The id to echo.
        id: Option<Id>,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// `"id": null` is present and wrong; an absent id is a notification.
fn present<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some)
}

impl Message {
    /// Reads one message. Duplicate members of the envelope are refused.
    ///
    /// # Errors
    /// [`Malformed`] with the id to echo, when there was one.
    pub fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        if !depth_allowed(&bytes) {
            return Err(Malformed::Json("nested too deep".to_owned()));
        }
        let array = bytes.trim_ascii_start().first() == Some(&b'[');
        let wire: Wire<'_> = match serde_json::from_slice(&bytes) {
            // The parser would take an array of the members' values for an object.
            Ok(wire) if !array => wire,
            Ok(_) => return Err(malformed(&bytes, &serde::de::Error::custom("an array"))),
            Err(error) => return Err(malformed(&bytes, &error)),
        };
        let id = wire.id.and_then(|raw| Id::from_raw(raw.get()));
        let wrong = |reason| Malformed::Message {
            reason,
            id: id.clone(),
        };
        if wire.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
            return Err(wrong("`jsonrpc` must be \"2.0\""));
        }
        if wire.id.is_some() && id.is_none() && wire.error.is_none() {
            return Err(wrong("`id` must be a string or an integer"));
        }
        let (shape, body) = match (&wire.method, id.clone()) {
            (Some(_), _) if wire.result.is_some() || wire.error.is_some() => {
                return Err(wrong(
                    "a message has either `method` or `result` or `error`",
                ));
            }
            (Some(_), Some(id)) => (Shape::Request(id), wire.params),
            (Some(_), None) => (Shape::Notification, wire.params),
            (None, Some(id)) if wire.result.is_some() && wire.error.is_none() => {
                (Shape::Result(id), wire.result)
            }
            (None, id) if wire.error.is_some() && wire.result.is_none() => {
                (Shape::Error(id), wire.error)
            }
            (None, _) => {
                return Err(wrong(
                    "a message needs `method`, or `id` with `result` or `error`",
                ));
            }
        };
        let span = |raw: &RawValue| span_of(&bytes, raw.get());
        let (id, body) = (wire.id.map(span), body.map(span));
        let method = wire
            .method
            .map(|method| Box::from(method.as_ref()))
            .unwrap_or_default();
        Ok(Self {
            shape,
            method,
            id,
            body,
            bytes,
        })
    }

    /// Where the id lies, if there is one.
    #[must_use]
    pub fn id_span(&self) -> Option<Range<usize>> {
        self.id.clone()
    }

    /// The id of a request or an answer.
    #[must_use]
    pub fn id(&self) -> Option<&Id> {
        match &self.shape {
            Shape::Request(id) | Shape::Result(id) | Shape::Error(Some(id)) => Some(id),
            Shape::Notification | Shape::Error(None) => None,
        }
    }

    /// `params`, `result` or `error` as it came; an absent `params` reads as `{}`.
    #[must_use]
    pub fn body(&self) -> &str {
        let bytes = self
            .body
            .clone()
            .map_or(&b"{}"[..], |span| &self.bytes[span]);
        std::str::from_utf8(bytes).expect("serde_json has checked the text")
    }

    /// The part of the message at `span`, which was taken from this very message.
    ///
    /// # Panics
    /// When the span leaves the message or cuts a character: a bug of the caller.
    #[must_use]
    pub fn part(&self, span: &Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[span.clone()]).expect("a part of checked text")
    }

    /// Where [`Message::body`] lies, if it came.
    #[must_use]
    pub fn body_span(&self) -> Option<Range<usize>> {
        self.body.clone()
    }
}

/// A text that is JSON but no message must still get its id back.
fn malformed(bytes: &[u8], error: &serde_json::Error) -> Malformed {
    #[derive(Deserialize)]
    struct OnlyId {
        #[serde(default)]
        id: serde_json::Value,
    }
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Err(_) => Malformed::Json(error.to_string()),
        Ok(serde_json::Value::Array(_)) => Malformed::Message {
            reason: "batches are not part of this protocol version",
            id: None,
        },
        Ok(value) => {
            let id = OnlyId::deserialize(value)
                .ok()
                .and_then(|only| Id::from_raw(&only.id.to_string()));
            Malformed::Message {
                reason: "not a JSON-RPC message: a member is doubled or has the wrong type",
                id,
            }
        }
    }
}

/// The messages of a batch, or `None` when the text is not an array.
///
/// # Errors
/// When the array is empty, too long or broken.
pub fn batch(bytes: &Bytes) -> Option<Result<Vec<Bytes>, Malformed>> {
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        return None;
    }
    if !depth_allowed(bytes) {
        return Some(Err(Malformed::Json("nested too deep".to_owned())));
    }
    let parts: Vec<&RawValue> = match serde_json::from_slice(bytes) {
        Ok(parts) => parts,
        Err(error) => return Some(Err(Malformed::Json(error.to_string()))),
    };
    if parts.is_empty() || parts.len() > BATCH_MAX {
        return Some(Err(Malformed::Message {
            reason: "a batch holds 1 to 64 messages",
            id: None,
        }));
    }
    Some(Ok(parts
        .into_iter()
        .map(|part| bytes.slice(span_of(bytes, part.get())))
        .collect()))
}

/// A result message around a raw result.
#[must_use]
pub fn result(id: &Id, result: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(result.len() + id.raw().len() + 40);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.raw());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(result);
    out.push(b'}');
    out.into()
}

/// An error message. `data` is raw JSON. MCP knows no null id: one that could not be read is left out.
#[must_use]
pub fn error(id: Option<&Id>, code: i32, message: &str, data: Option<&str>) -> Bytes {
    let id = id.map_or_else(String::new, |id| {
        format!("\"id\":{},", String::from_utf8_lossy(id.raw()))
    });
    let data = data
        .map(|data| format!(",\"data\":{data}"))
        .unwrap_or_default();
    let message = crate::json::quote(message);
    format!("{{\"jsonrpc\":\"2.0\",{id}\"error\":{{\"code\":{code},\"message\":{message}{data}}}}}")
        .into()
}

/// A notification around raw params.
#[must_use]
pub fn notification(method: &str, params: &str) -> Bytes {
    format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{params}}}").into()
}

/// A request around raw params.
#[must_use]
pub fn request(id: &Id, method: &str, params: &str) -> Bytes {
    let id = String::from_utf8_lossy(id.raw());
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}")
        .into()
}

/// The error object of an answer.
#[derive(Debug, Clone, Deserialize)]
pub struct ErrorObject<'a> {
    /// The code.
    pub code: i64,
    /// The text.
    #[serde(borrow, default)]
    pub message: Cow<'a, str>,
    /// Whatever else was said, raw.
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Message, Malformed> {
        Message::parse(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn shapes_are_told_apart() {
        let request = parse(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#).unwrap();
        assert_eq!(
            request.shape,
            Shape::Request(Id::from_raw("\"a\"").unwrap())
        );
        assert_eq!(request.body(), "{}");
        assert_eq!(
            parse(r#"{"jsonrpc":"2.0","method":"x"}"#).unwrap().shape,
            Shape::Notification
        );
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":1,"result":null}"#)
                .unwrap()
                .shape,
            Shape::Result(_)
        ));
        assert!(matches!(
            parse(r#"{"jsonrpc":"2.0","id":null,"error":{}}"#)
                .unwrap()
                .shape,
            Shape::Error(None)
        ));
    }

    #[test]
    fn wrong_messages_are_refused_with_their_id() {
        let id = |text| match parse(text) {
            Err(Malformed::Message { id, .. }) => {
                id.map(|id| String::from_utf8_lossy(id.raw()).into_owned())
            }
            other => unreachable!("{text}: {other:?}"),
        };
        assert_eq!(
            id(r#"{"jsonrpc":"1.0","id":7,"method":"x"}"#).as_deref(),
            Some("7")
        );
        assert_eq!(
            id(r#"{"jsonrpc":"2.0","id":7,"method":1}"#).as_deref(),
            Some("7")
        );
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":7}"#).as_deref(), Some("7"));
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#), None);
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#), None);
        assert_eq!(
            id(r#"{"jsonrpc":"2.0","id":7,"method":"x","method":"y"}"#).as_deref(),
            Some("7")
        );
        assert!(matches!(parse("{"), Err(Malformed::Json(_))));
        assert!(matches!(parse("[]"), Err(Malformed::Message { .. })));
    }

    #[test]
    fn ids_keep_their_type_and_spelling() {
        for raw in [
            "0",
            "-1",
            "123456789012345678901234567890",
            "\"1\"",
            "\"\\u0041\"",
        ] {
            assert_eq!(Id::from_raw(raw).unwrap().raw(), raw.as_bytes());
        }
        for raw in ["null", "1.0", "1e3", "{}", "true", "-", ""] {
            assert_eq!(Id::from_raw(raw), None);
        }
    }

    #[test]
    fn batches_are_split_into_their_bytes() {
        let bytes = Bytes::from_static(b" [ {\"a\": 1}, 2 ]");
        let parts = batch(&bytes).unwrap().unwrap();
        assert_eq!(parts, ["{\"a\": 1}", "2"].map(Bytes::from));
        assert!(batch(&Bytes::from_static(b"{}")).is_none());
        assert!(batch(&Bytes::from_static(b"[]")).unwrap().is_err());
    }
}
