//! HTTP as MCP uses it: a message out, and the messages that come back for it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use protocol::mcp::headers;
use serde_json::Value;
use transport::{
    Trust,
    outbound::{Target, TargetLimits, Waits},
};
use url::Url;

use super::{failure::Failure, messages::Messages};

/// The longest wait for a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const SESSION_ID: HeaderName = HeaderName::from_static(headers::SESSION_ID);

/// The one URL that a client talks to.
#[derive(Debug)]
pub(super) struct Door {
    target: Target,
    path: String,
    /// The user's.
    headers: HeaderMap,
}

/// The answer to a message.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) session: Option<HeaderValue>,
    pub(super) messages: Messages,
}

impl Door {
    /// Prepares to talk to a URL; opens nothing yet.
    pub(super) fn new(
        url: &Url,
        headers: HeaderMap,
        silence_max: Duration,
    ) -> Result<Self, Failure> {
        let waits = Waits {
            connect: CONNECT_WAIT_MAX.min(silence_max),
            first_byte: silence_max,
            idle: Some(silence_max),
        };
        let query = url
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        Ok(Self {
            target: Target::new(url, &Trust::System, waits, TargetLimits::default())?,
            path: format!("{}{query}", url.path()),
            headers,
        })
    }

    /// The server, for people.
    pub(super) fn server(&self) -> &str {
        self.target.server()
    }

    /// Sends a message.
    pub(super) async fn post(&self, message: &Value, own: HeaderMap) -> Result<Answer, Failure> {
        let body = Bytes::from(message.to_string());
        let mut request = self.request(Method::POST, body, own)?;
        request.headers_mut().insert(header::ACCEPT, BOTH);
        request.headers_mut().insert(header::CONTENT_TYPE, JSON);
        self.send(request).await
    }

    /// Picks a stream up where it broke off.
    ///
    /// # Spec
    /// MCP 2025-11-25, basic/transports, "Resumability and Redelivery".
    pub(super) async fn resume(&self, last: &str, own: HeaderMap) -> Result<Answer, Failure> {
        let mut request = self.request(Method::GET, Bytes::new(), own)?;
        request.headers_mut().insert(header::ACCEPT, EVENTS);
        let last = HeaderValue::from_str(last)
            .map_err(|_| self.broken("the id of an event cannot be in a header"))?;
        request.headers_mut().insert(LAST_EVENT_ID, last);
        self.send(request).await
    }

    /// Ends a legacy session.
    pub(super) async fn delete(&self, own: HeaderMap) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, Bytes::new(), own)?;
        self.send(request).await.map(drop)
    }

    /// Says that the server does not keep to the protocol.
    pub(super) fn broken(&self, what: &str) -> Failure {
        Failure::Server(format!("{}: {what}", self.server()))
    }

    fn request(
        &self,
        method: Method,
        body: Bytes,
        own: HeaderMap,
    ) -> Result<Request<Bytes>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path)
            .body(body)
            .map_err(|error| Failure::Usage(format!("the URL cannot be called: {error}")))?;
        request.headers_mut().extend(self.headers.clone());
        request.headers_mut().extend(own);
        Ok(request)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Answer, Failure> {
        let (head, body) = self.target.send(request).await?.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let mut messages = Messages::new(kind, body, self.server());
        if head.status == StatusCode::UNAUTHORIZED || head.status == StatusCode::FORBIDDEN {
            // What the server says besides is welcome, and not needed.
            let said = messages.next().await.ok().flatten();
            return Err(self.refused(head.status, &head.headers, said.as_ref()));
        }
        Ok(Answer {
            status: head.status,
            session: head.headers.get(SESSION_ID).cloned(),
            messages,
        })
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, said: Option<&Value>) -> Failure {
        let said = said.and_then(|said| said["error"]["message"].as_str());
        let said = said.map_or_else(String::new, |said| format!(": {said}"));
        let challenge = headers
            .get(header::WWW_AUTHENTICATE)
            .and_then(|challenge| challenge.to_str().ok())
            .map_or_else(String::new, |challenge| format!(" ({challenge})"));
        let hint = if self.headers.contains_key(header::AUTHORIZATION) {
            "the credential that was given is not accepted"
        } else {
            "give a credential, for example --header 'Authorization: Bearer env:TOKEN'"
        };
        Failure::Refused(format!(
            "{}: {status}{said}{challenge}: {hint}",
            self.server()
        ))
    }
}
