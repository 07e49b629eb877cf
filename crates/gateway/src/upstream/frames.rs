//! Messages of one exchange, one after the other.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use protocol::json_rpc::{Message, Shape};
use protocol::sse;
use transport::outbound::Incoming;

use super::Answer;
use super::duplex::CallFrames;
use super::http::{Head, HttpLink};
use crate::failure::UpstreamFailure;

/// How often in a row a broken stream is picked up again without anything new on it.
const RESUMES_MAX: u32 = 20;
/// The shortest wait before picking a stream up, whatever the server asks for.
const RESUME_WAIT_MIN: Duration = Duration::from_millis(200);
/// How long to wait before picking a stream up when the server names no time.
const RESUME_WAIT_DEFAULT: Duration = Duration::from_secs(1);
/// The longest wait a server may ask for.
const RESUME_WAIT_MAX: Duration = Duration::from_secs(60);

/// Messages of one exchange. Dropping it ends the exchange as its era says.
#[derive(Debug)]
pub(crate) enum Frames {
    /// From an event stream over HTTP.
    Events(Box<EventFrames>),
    /// From a connection that many exchanges share.
    Call(CallFrames),
    /// One message, arriving as a JSON body.
    Body(Option<Box<BodyFrame>>),
    /// One message that is here.
    Whole(Option<Bytes>),
    /// What a call is answered with, whose head has not come yet.
    Coming(Box<Coming>),
    /// Messages that were read ahead, and those that follow.
    Ahead(Box<(VecDeque<Result<Bytes, UpstreamFailure>>, Self)>),
}

/// A call whose answer has not begun.
pub(crate) struct Coming {
    pub(crate) server: Arc<str>,
    /// Our number for the call.
    pub(crate) number: u64,
    pub(crate) answer: Pin<Box<dyn Future<Output = Result<Answer, UpstreamFailure>> + Send>>,
}

impl std::fmt::Debug for Coming {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Coming")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// The longest message that is put together from a body, in bytes.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One message, arriving as a JSON body.
#[derive(Debug)]
pub(crate) struct BodyFrame {
    server: Arc<str>,
    body: Incoming,
    taken: BytesMut,
}

impl BodyFrame {
    /// Nothing is lost when this is dropped while it waits.
    async fn whole(&mut self) -> Result<Bytes, UpstreamFailure> {
        let failed = |reason: String| UpstreamFailure::NoAnswer {
            server: self.server.clone(),
            reason,
        };
        while let Some(chunk) = self.body.chunk().await {
            let chunk = chunk.map_err(|failure| failed(failure.to_string()))?;
            if self.taken.is_empty() && self.body.is_end_stream() {
                return Ok(chunk);
            }
            self.taken.extend_from_slice(&chunk);
            if self.taken.len() > BODY_BYTES_MAX {
                return Err(failed(format!(
                    "the answer is longer than {BODY_BYTES_MAX} bytes"
                )));
            }
        }
        Ok(self.taken.split().freeze())
    }
}

impl Frames {
    /// The next message, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, UpstreamFailure>> {
        match self {
            Self::Events(frames) => frames.next().await,
            Self::Call(frames) => frames.next().await,
            Self::Body(slot) => {
                let whole = slot.as_mut()?.whole().await;
                *slot = None;
                Some(whole)
            }
            Self::Whole(message) => message.take().map(Ok),
            Self::Coming(coming) => {
                let answer = coming.answer.as_mut().await;
                let frames =
                    answer.and_then(|answer| Self::of(&coming.server, coming.number, answer));
                match frames {
                    Ok(frames) => {
                        *self = frames;
                        Box::pin(self.next()).await
                    }
                    Err(failure) => {
                        *self = Self::Whole(None);
                        Some(Err(failure))
                    }
                }
            }
            Self::Ahead(ahead) => match ahead.0.pop_front() {
                Some(message) => Some(message),
                None => Box::pin(ahead.1.next()).await,
            },
        }
    }

    /// Whether the server waits for the client now, so that its silence means nothing.
    pub(crate) fn rest(&mut self, resting: bool) {
        match self {
            Self::Events(frames) => {
                if let Some(body) = &mut frames.body {
                    body.rest(resting);
                }
            }
            Self::Ahead(ahead) => ahead.1.rest(resting),
            Self::Call(_) | Self::Body(_) | Self::Coming(_) | Self::Whole(_) => {}
        }
    }

    /// The answer to call `number` as messages, whatever its form; an error with a status of its own is a message like others.
    pub(crate) fn of(
        server: &Arc<str>,
        number: u64,
        answer: Answer,
    ) -> Result<Self, UpstreamFailure> {
        let (status, body) = match answer {
            Answer::Frames(frames) => return Ok(frames),
            Answer::Json(body) => return Ok(Self::body(server.clone(), body)),
            Answer::Accepted => {
                return Err(UpstreamFailure::Garbage {
                    server: server.clone(),
                    reason: "202 to a request".to_owned(),
                });
            }
            Answer::Failed { status, body } => (status, body),
        };
        let error = Message::parse(body.clone())
            .ok()
            .filter(|message| matches!(message.shape, Shape::Error(_)));
        match error {
            Some(error) => {
                let error = error.body();
                let whole = format!("{{\"jsonrpc\":\"2.0\",\"id\":{number},\"error\":{error}}}");
                Ok(Self::Whole(Some(whole.into())))
            }
            None => Err(UpstreamFailure::Status {
                server: server.clone(),
                status,
                body: String::from_utf8_lossy(&body).trim().to_owned(),
            }),
        }
    }

    /// One message, arriving as a JSON body.
    pub(crate) fn body(server: Arc<str>, body: Incoming) -> Self {
        Self::Body(Some(Box::new(BodyFrame {
            server,
            body,
            taken: BytesMut::new(),
        })))
    }

    /// Reads the end of a stream whose answer is here, for a bounded time: a connection read to its end can be used again.
    pub(crate) async fn finish(&mut self, wait: Duration) {
        if let Self::Events(frames) = self
            && let Some(body) = &mut frames.body
        {
            drop(
                tokio::time::timeout(wait, async {
                    while let Some(Ok(_)) = body.chunk().await {}
                })
                .await,
            );
        }
    }
}

/// An event stream over HTTP, picked up again when it breaks and the server allows it.
#[derive(Debug)]
pub(crate) struct EventFrames {
    link: Arc<HttpLink>,
    head: Head,
    body: Option<Incoming>,
    /// The stream broke and may be picked up again; the text says how it broke.
    broken: Option<String>,
    decoder: sse::Decoder,
    ready: VecDeque<Bytes>,
    last_event: Option<String>,
    retry: Option<Duration>,
    resumes: u32,
}

impl EventFrames {
    pub(crate) fn new(link: Arc<HttpLink>, head: Head, body: Incoming) -> Self {
        Self {
            link,
            head,
            body: Some(body),
            broken: None,
            decoder: sse::Decoder::new(),
            ready: VecDeque::new(),
            last_event: None,
            retry: None,
            resumes: 0,
        }
    }

    /// Nothing is lost when this is dropped while it waits.
    async fn next(&mut self) -> Option<Result<Bytes, UpstreamFailure>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            if let Some(body) = &mut self.body {
                match body.chunk().await {
                    Some(Ok(chunk)) => {
                        if let Err(failure) = self.take(&chunk) {
                            self.body = None;
                            return Some(Err(failure));
                        }
                    }
                    Some(Err(failure)) => self.broke(failure.to_string()),
                    None => self.broke("the stream ended without an answer".to_owned()),
                }
                continue;
            }
            self.broken.as_ref()?;
            let resumed = self.resume().await;
            let reason = self.broken.take().filter(|_| !resumed);
            if let Some(reason) = reason {
                return Some(Err(UpstreamFailure::NoAnswer {
                    server: self.link.server(),
                    reason,
                }));
            }
        }
    }

    fn broke(&mut self, reason: String) {
        self.body = None;
        self.broken = Some(reason);
    }

    fn take(&mut self, chunk: &[u8]) -> Result<(), UpstreamFailure> {
        let too_long = |error: sse::TooLong| UpstreamFailure::Garbage {
            server: self.link.server(),
            reason: error.to_string(),
        };
        self.decoder.push(chunk).map_err(too_long)?;
        while let Some(event) = self.decoder.next_event() {
            if let Some(wait) = event.retry_ms {
                self.retry = Some(Duration::from_millis(wait).min(RESUME_WAIT_MAX));
            }
            if event.is_message() {
                self.ready.push_back(event.data.into());
            }
            if event.id.as_ref().is_some_and(|id| !id.is_empty()) && event.id != self.last_event {
                self.last_event = event.id;
                // A server may close its stream as often as it likes, for clients that poll (MCP 2025-11-25, basic/transports).
                self.resumes = 0;
            }
        }
        Ok(())
    }

    /// Picks the stream up where it ended (MCP 2025-11-25, basic/transports, "Resumability and Redelivery").
    async fn resume(&mut self) -> bool {
        let Some(last_event) = self.last_event.clone().filter(|_| self.head.is_legacy()) else {
            return false;
        };
        while self.resumes < RESUMES_MAX {
            self.resumes += 1;
            tokio::time::sleep(
                self.retry
                    .unwrap_or(RESUME_WAIT_DEFAULT)
                    .max(RESUME_WAIT_MIN),
            )
            .await;
            match self.link.open_events(&self.head, Some(&last_event)).await {
                Ok(body) => {
                    self.body = Some(body);
                    self.decoder = sse::Decoder::new();
                    return true;
                }
                // The session or the stream is gone: it will not come back by asking.
                Err(UpstreamFailure::Status { status, .. })
                    if (400..500).contains(&status) && !matches!(status, 408 | 429) =>
                {
                    return false;
                }
                Err(_) => {}
            }
        }
        false
    }
}
