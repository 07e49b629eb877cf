//! One server over Streamable HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use protocol::mcp::{Era, Version, headers};
use transport::outbound::{Failure, Incoming, Target};

use super::Answer;
use super::frames::{EventFrames, Frames};
use crate::failure::UpstreamFailure;

/// The longest error body that is read, in bytes.
const ERROR_BYTES_MAX: usize = 256 * 1024;
/// Headers of ours on a usual request; only a hint for the size of the map.
const OWN_HEADERS: usize = 9;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The MCP headers of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// The revision spoken; absent before a legacy handshake.
    pub(crate) version: Option<Version>,
    /// The legacy session.
    pub(crate) session: Option<HeaderValue>,
    /// Modern: the method.
    pub(crate) method: Option<HeaderValue>,
    /// Modern: the name or URI.
    pub(crate) name: Option<HeaderValue>,
    /// Modern: mirrored arguments.
    pub(crate) params: Vec<(HeaderName, HeaderValue)>,
}

impl Head {
    /// Whether this is part of a legacy conversation.
    pub(crate) fn is_legacy(&self) -> bool {
        self.version
            .is_none_or(|version| version.era() == Era::Legacy)
    }

    fn write(&self, headers: &mut HeaderMap) {
        if let Some(version) = self
            .version
            .filter(|version| *version > Version::V2025_03_26)
        {
            headers.insert(VERSION, HeaderValue::from_static(version.as_str()));
        }
        let named = [
            (SESSION, &self.session),
            (METHOD, &self.method),
            (NAME, &self.name),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        for (name, value) in &self.params {
            headers.insert(name.clone(), value.clone());
        }
    }
}

const VERSION: HeaderName = HeaderName::from_static(headers::PROTOCOL_VERSION);
const SESSION: HeaderName = HeaderName::from_static(headers::SESSION_ID);
const METHOD: HeaderName = HeaderName::from_static(headers::METHOD);
const NAME: HeaderName = HeaderName::from_static(headers::NAME);

/// The way to one server over HTTP. Cheap to share; the connections are pooled behind it.
#[derive(Debug)]
pub(crate) struct HttpLink {
    server: Arc<str>,
    target: Arc<Target>,
    path: Uri,
    fixed: HeaderMap,
}

impl HttpLink {
    /// `fixed` are the configured headers, credentials included; they cannot replace ours.
    pub(crate) fn new(server: Arc<str>, target: Arc<Target>, path: Uri, fixed: HeaderMap) -> Self {
        Self {
            server,
            target,
            path,
            fixed,
        }
    }

    /// Whom this leads to.
    pub(crate) fn server(&self) -> Arc<str> {
        self.server.clone()
    }

    /// The same server under another path, as the transport of 2024-11-05 asks.
    pub(crate) fn at(&self, path: Uri) -> Self {
        Self {
            server: self.server.clone(),
            target: self.target.clone(),
            path,
            fixed: self.fixed.clone(),
        }
    }

    /// Sends one message and waits for the head of the answer.
    pub(crate) async fn post(
        self: &Arc<Self>,
        head: Head,
        message: Bytes,
    ) -> Result<Answer, UpstreamFailure> {
        let (_, answer) = self.post_with_session(head, message).await?;
        Ok(answer)
    }

    /// As [`Self::post`], and gives the session the server opened.
    pub(crate) async fn post_with_session(
        self: &Arc<Self>,
        head: Head,
        message: Bytes,
    ) -> Result<(Option<HeaderValue>, Answer), UpstreamFailure> {
        let mut request = self.request(Method::POST, &head, message);
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        request.headers_mut().insert(ACCEPT, BOTH);
        let response = self
            .target
            .send(request)
            .await
            .map_err(|failure| self.failed(&failure))?;
        let session = response.headers().get(SESSION).cloned();
        Ok((session, self.answer(head, response).await?))
    }

    /// As [`Self::post`], for a request whose answer is a stream that may rest for long.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        head: Head,
        message: Bytes,
    ) -> Result<Answer, UpstreamFailure> {
        let mut request = self.request(Method::POST, &head, message);
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        request.headers_mut().insert(ACCEPT, BOTH);
        let response = self
            .target
            .open_stream(request)
            .await
            .map_err(|failure| self.failed(&failure))?;
        self.answer(head, response).await
    }

    async fn answer(
        self: &Arc<Self>,
        head: Head,
        response: Response<Incoming>,
    ) -> Result<Answer, UpstreamFailure> {
        let status = response.status();
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        if status == StatusCode::ACCEPTED || status == StatusCode::NO_CONTENT {
            return Ok(Answer::Accepted);
        }
        if !status.is_success() {
            let body = response
                .into_body()
                .collect(ERROR_BYTES_MAX)
                .await
                .unwrap_or_default();
            return Ok(Answer::Failed {
                status: status.as_u16(),
                body,
            });
        }
        if is_kind(kind, b"text/event-stream") {
            let frames = EventFrames::new(self.clone(), head, response.into_body());
            return Ok(Answer::Frames(Frames::Events(Box::new(frames))));
        }
        if is_kind(kind, b"application/json") {
            return Ok(Answer::Json(response.into_body()));
        }
        let kind = String::from_utf8_lossy(kind).into_owned();
        Err(self.garbage(format!(
            "content type `{kind}`; expected application/json or text/event-stream"
        )))
    }

    /// Opens the event stream of a legacy session, from `last_event` on.
    pub(crate) async fn open_events(
        &self,
        head: &Head,
        last_event: Option<&str>,
    ) -> Result<Incoming, UpstreamFailure> {
        let mut request = self.request(Method::GET, head, Bytes::new());
        request.headers_mut().insert(ACCEPT, EVENTS);
        if let Some(value) = last_event.and_then(|id| HeaderValue::from_str(id).ok()) {
            request.headers_mut().insert(LAST_EVENT_ID, value);
        }
        // An idle event stream is healthy: only its head is waited for.
        let response = self
            .target
            .open_stream(request)
            .await
            .map_err(|failure| self.failed(&failure))?;
        let kind = response
            .headers()
            .get(CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        if response.status() == StatusCode::OK && is_kind(kind, b"text/event-stream") {
            return Ok(response.into_body());
        }
        Err(UpstreamFailure::Status {
            server: self.server(),
            status: response.status().as_u16(),
            body: "no event stream".to_owned(),
        })
    }

    /// The event stream of a legacy session as messages, picked up again when it breaks.
    pub(crate) async fn events(self: &Arc<Self>, head: Head) -> Result<Frames, UpstreamFailure> {
        let body = self.open_events(&head, None).await?;
        Ok(Frames::Events(Box::new(EventFrames::new(
            self.clone(),
            head,
            body,
        ))))
    }

    /// Ends a legacy session; whatever the server says, it is over for us.
    pub(crate) async fn end(&self, head: &Head) {
        let request = self.request(Method::DELETE, head, Bytes::new());
        if let Err(failure) = self.target.send(request).await {
            tracing::debug!(server = %self.server, %failure, "the session could not be ended at the server");
        }
    }

    fn request(&self, method: Method, head: &Head, body: Bytes) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.path.clone();
        let mut headers = HeaderMap::with_capacity(self.fixed.len() + OWN_HEADERS);
        headers.extend(
            self.fixed
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        head.write(&mut headers);
        *request.headers_mut() = headers;
        request
    }

    fn failed(&self, failure: &Failure) -> UpstreamFailure {
        let (server, reason) = (self.server(), failure.to_string());
        if let Failure::Busy { .. } = failure {
            return UpstreamFailure::Busy { server, reason };
        }
        if failure.may_have_reached_server() {
            UpstreamFailure::NoAnswer { server, reason }
        } else {
            UpstreamFailure::Unreachable { server, reason }
        }
    }

    pub(crate) fn garbage(&self, reason: String) -> UpstreamFailure {
        UpstreamFailure::Garbage {
            server: self.server(),
            reason,
        }
    }
}

/// Whether a `Content-Type` value names this media type, parameters aside.
fn is_kind(value: &[u8], kind: &[u8]) -> bool {
    value.len() >= kind.len()
        && value[..kind.len()].eq_ignore_ascii_case(kind)
        && matches!(value.get(kind.len()), None | Some(b';' | b' ' | b'\t'))
}
