//! What a server says to a request.

use http::StatusCode;
use serde_json::Value;

use super::{failure::Failure, text};

/// The codes that only a modern server says (MCP 2026-07-28, basic, "Error Codes").
const MODERN_CODES: std::ops::RangeInclusive<i64> = -32022..=-32020;
const HEADER_MISMATCH: i64 = -32020;
const INVALID_PARAMS: i64 = -32602;
/// Up to 2025-11-25.
const RESOURCE_NOT_FOUND: i64 = -32002;
/// How much of the details of an error is shown.
const DATA_CHARS_MAX: usize = 500;

/// What a server says to a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// The result.
    Result(Value),
    /// The JSON-RPC error.
    Error { code: i64, error: Value },
    /// Something that is no answer in the protocol.
    Other { status: StatusCode, text: String },
}

impl Reply {
    /// Reads a response.
    pub(super) fn read(mut message: Value) -> Self {
        let error = message["error"].take();
        if error.is_null() {
            return Self::Result(message["result"].take());
        }
        let code = error["code"].as_i64().unwrap_or_default();
        Self::Error { code, error }
    }

    /// Whether only a modern server says this.
    pub(super) fn is_modern_error(&self) -> bool {
        matches!(self, Self::Error { code, .. } if MODERN_CODES.contains(code))
    }

    /// The result, or why there is none.
    pub(super) fn result(self, server: &str) -> Result<Value, Failure> {
        let (code, error) = match self {
            Self::Result(result) => return Ok(result),
            Self::Other { status, text } => {
                let text = if text.is_empty() {
                    text
                } else {
                    format!(": {text}")
                };
                return Err(Failure::Server(format!("{server}: {status}{text}")));
            }
            Self::Error { code, error } => (code, error),
        };
        let message = error["message"].as_str().unwrap_or("no message");
        let data = match error.get("data") {
            None => String::new(),
            Some(data) => format!(" {}", text::shorten(&data.to_string(), DATA_CHARS_MAX)),
        };
        let text = format!("{server}: {message} ({code}){data}");
        Err(match code {
            INVALID_PARAMS | RESOURCE_NOT_FOUND => Failure::Usage(text),
            HEADER_MISMATCH => Failure::HeaderMismatch(text),
            _ => Failure::Server(text),
        })
    }
}
