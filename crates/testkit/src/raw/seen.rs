//! A request as it arrived.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// One request the server saw: head and body, byte for byte.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Position among all requests of this server, from 0.
    pub number: usize,
    /// Which connection carried it, from 0: equal numbers mean that the connection was reused.
    pub connection: usize,
    /// HTTP method as sent.
    pub method: Arc<str>,
    /// Request target as sent (path and query).
    pub target: Arc<str>,
    /// Header lines in order, names as spelled, duplicates kept, values trimmed of white space around them.
    pub headers: Arc<[(String, String)]>,
    /// The body with the transfer coding removed.
    pub body: Bytes,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<String>,
}

impl Seen {
    /// The first header line of that name, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).first().copied()
    }

    /// All header lines of that name, whatever their case, in order.
    #[must_use]
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let same = |line: &&(String, String)| line.0.eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .filter(same)
            .map(|line| line.1.as_str())
            .collect()
    }

    /// The JSON-RPC method of the body, if it is one message with a method.
    #[must_use]
    pub fn rpc_method(&self) -> Option<String> {
        self.envelope()?.method
    }

    /// The JSON-RPC id of the body exactly as spelled (`"a"` with its quotes, `1`, `1.0`).
    #[must_use]
    pub fn rpc_id(&self) -> Option<String> {
        Some(self.envelope()?.id?.get().to_owned())
    }

    /// The body as a value; `Null` when it is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text, with wrong bytes replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A JSON-RPC answer to this request with `result` verbatim.
    #[must_use]
    pub fn result(&self, result: &str) -> String {
        let id = self.rpc_id().unwrap_or_else(|| "null".to_owned());
        format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
    }

    /// A JSON-RPC error answer to this request.
    #[must_use]
    pub fn error(&self, code: i64, message: &str) -> String {
        let id = self.rpc_id().unwrap_or_else(|| "null".to_owned());
        let message = serde_json::Value::from(message);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
    }

    fn envelope(&self) -> Option<Envelope<'_>> {
        serde_json::from_slice(&self.body).ok()
    }
}
