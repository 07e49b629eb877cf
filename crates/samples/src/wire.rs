//! JSON-RPC 2.0 as MCP uses it on a byte stream: one message per line, no newline inside.

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line that is read; a longer one is skipped and refused.
pub(crate) const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most messages in one batch, which only 2025-03-26 has.
pub(crate) const BATCH_MAX: usize = 64;

/// A message from the client.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Wants an answer with the same id.
    Request(Request),
    /// Wants no answer.
    Notification {
        /// What happened.
        method: String,
        /// The details.
        params: Map<String, Value>,
    },
    /// Answers a question of ours.
    Response {
        /// The id that we gave the question.
        id: Value,
        /// Its `result`, or nothing where the client sent an error.
        result: Option<Value>,
    },
    /// Is no JSON-RPC 2.0 message.
    Malformed {
        /// The id, if there was one to be read.
        id: Option<Value>,
        /// What is wrong.
        fault: Fault,
    },
}

/// A request: method, parameters and the id to answer with.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Value,
    pub(crate) method: String,
    pub(crate) params: Map<String, Value>,
}

/// A JSON-RPC error.
#[derive(Debug)]
pub(crate) struct Fault {
    code: i32,
    message: String,
    data: Option<Value>,
}

impl Fault {
    pub(crate) fn parse(message: impl Into<String>) -> Self {
        Self::new(-32700, message)
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(-32600, message)
    }

    pub(crate) fn method_not_found(method: &str) -> Self {
        Self::new(-32601, format!("method not found: {method}"))
    }

    pub(crate) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(-32602, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(-32603, message)
    }

    /// Makes an error with any code; prefer the named ones.
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    pub(crate) fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// Says it as a response. The id is left out only where the request's own could not be read.
    pub(crate) fn response(self, id: Option<&Value>) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if let Some(data) = self.data {
            error["data"] = data;
        }
        match id {
            Some(id) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
            None => json!({"jsonrpc": "2.0", "error": error}),
        }
    }
}

/// Says a result as a response.
pub(crate) fn response(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// Says a notification.
pub(crate) fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// Reads the next line without its newline, or nothing at the end of the stream.
///
/// # Errors
/// The outer error is the stream's, the inner one says that the line was too long.
pub(crate) async fn read_line(
    input: &mut (impl AsyncBufRead + Unpin),
) -> std::io::Result<Option<Result<Vec<u8>, Fault>>> {
    let mut line = Vec::new();
    (&mut *input)
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .await?;
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(Ok(line)));
    }
    if (line.len() as u64) < LINE_BYTES_MAX {
        return Ok((!line.is_empty()).then_some(Ok(line)));
    }
    skip_line(input).await?;
    let message = format!("message longer than {LINE_BYTES_MAX} bytes");
    Ok(Some(Err(Fault::invalid_request(message))))
}

async fn skip_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<()> {
    loop {
        let chunk = input.fill_buf().await?;
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let read = newline.map_or(chunk.len(), |at| at + 1);
        let ended = newline.is_some() || chunk.is_empty();
        input.consume(read);
        if ended {
            return Ok(());
        }
    }
}

/// Reads one message.
pub(crate) fn read_message(message: Value) -> Incoming {
    let Value::Object(mut fields) = message else {
        let fault = Fault::invalid_request("a message is a JSON object");
        return Incoming::Malformed { id: None, fault };
    };
    let id = fields.remove("id");
    let id = id.filter(|id| id.is_string() || id.is_number());
    if fields.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        let fault = Fault::invalid_request("field jsonrpc must be \"2.0\"");
        return Incoming::Malformed { id, fault };
    }
    match (fields.remove("method"), id) {
        (Some(Value::String(method)), id) => read_call(method, id, fields.remove("params")),
        (None, Some(id)) => Incoming::Response {
            id,
            result: fields.remove("result"),
        },
        (_, id) => Incoming::Malformed {
            id,
            fault: Fault::invalid_request("field method must be a string"),
        },
    }
}

fn read_call(method: String, id: Option<Value>, params: Option<Value>) -> Incoming {
    let params = match params {
        None => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => {
            let fault = Fault::invalid_params("field params must be an object");
            return Incoming::Malformed { id, fault };
        }
    };
    match id {
        Some(id) => Incoming::Request(Request { id, method, params }),
        None => Incoming::Notification { method, params },
    }
}
