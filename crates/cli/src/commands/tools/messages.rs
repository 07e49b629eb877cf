//! The messages in the body of an answer: one JSON value, or a stream of events.

use std::{collections::VecDeque, time::Duration};

use protocol::sse::Decoder;
use serde_json::Value;
use transport::outbound::Incoming;

use super::{failure::Failure, text};

/// The largest answer that is not a stream.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much of an answer that is no message is shown.
const EXCERPT_CHARS_MAX: usize = 200;

/// The messages of an answer, as they come.
pub(super) struct Messages {
    server: String,
    body: Body,
    ready: VecDeque<Value>,
    /// The id of the last event, from which a stream can be resumed.
    pub(super) last_event: Option<String>,
    /// How long the server wants a client to wait before that.
    pub(super) retry: Option<Duration>,
}

enum Body {
    Events {
        body: Incoming,
        decoder: Decoder,
    },
    Json(Incoming),
    /// Neither; kept to be shown.
    Other(Incoming),
    Ended,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages")
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}

impl Messages {
    /// Reads a body of this content type.
    pub(super) fn new(kind: &str, body: Incoming, server: &str) -> Self {
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let body = match kind.as_str() {
            "text/event-stream" => Body::Events {
                body,
                decoder: Decoder::new(),
            },
            "application/json" => Body::Json(body),
            _ => Body::Other(body),
        };
        Self {
            server: server.to_owned(),
            body,
            ready: VecDeque::new(),
            last_event: None,
            retry: None,
        }
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Failure> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            match std::mem::replace(&mut self.body, Body::Ended) {
                Body::Ended => return Ok(None),
                Body::Json(body) => self.read_json(&body.collect(BODY_BYTES_MAX).await?)?,
                Body::Other(body) => drop(body),
                Body::Events { body, decoder } => self.read_events(body, decoder).await?,
            }
        }
    }

    /// What the body says where it is no message, shortened.
    pub(super) async fn excerpt(&mut self) -> String {
        let Body::Other(body) = std::mem::replace(&mut self.body, Body::Ended) else {
            return String::new();
        };
        let bytes = body.collect(BODY_BYTES_MAX).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        text::shorten(&text::one_line(&text), EXCERPT_CHARS_MAX)
    }

    async fn read_events(
        &mut self,
        mut body: Incoming,
        mut decoder: Decoder,
    ) -> Result<(), Failure> {
        let Some(chunk) = body.chunk().await.transpose()? else {
            return Ok(());
        };
        let pushed = decoder.push(&chunk);
        pushed.map_err(|error| self.broken(&error.to_string()))?;
        while let Some(event) = decoder.next_event() {
            if event.id.is_some() {
                self.last_event.clone_from(&event.id);
            }
            if let Some(millis) = event.retry_ms {
                self.retry = Some(Duration::from_millis(millis));
            }
            if event.is_message() {
                self.read_json(&event.data)?;
            }
        }
        self.body = Body::Events { body, decoder };
        Ok(())
    }

    /// Takes one message, or a batch of them, which 2025-03-26 has.
    fn read_json(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.trim_ascii().is_empty() {
            return Ok(());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Array(batch)) => self.ready.extend(batch),
            Ok(message) => self.ready.push_back(message),
            Err(error) => return Err(self.broken(&format!("answer is not JSON: {error}"))),
        }
        Ok(())
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::Server(format!("{}: {what}", self.server))
    }
}
