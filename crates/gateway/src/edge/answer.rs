//! Replies and refusals as HTTP answers, and what a client accepts.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    WWW_AUTHENTICATE,
};
use ::http::{Response, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use protocol::json_rpc::Id;
use protocol::mcp::{Era, headers};
use transport::body::Body;
use transport::inbound::{Incoming, ReadError, read_body};

use super::events;
use crate::gateway::Gateway;
use crate::refuse::Refusal;
use crate::reply::{Messages, Reply};
use crate::session::Session;

/// The longest request body, in bytes.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a request body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(30);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
pub(super) const SESSION: HeaderName = HeaderName::from_static(headers::SESSION_ID);
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A refusal, the era to say it in, and the id to echo.
pub(super) struct Refused {
    // Refusals are rare and large; what is passed up should be small.
    refusal: Box<Refusal>,
    era: Era,
    id: Option<Id>,
}

impl Refused {
    pub(super) fn new(refusal: Refusal, era: Era, id: Option<Id>) -> Self {
        Self {
            refusal: Box::new(refusal),
            era,
            id,
        }
    }
}

/// Reads a request body within its limits.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    read_body(body, BODY_BYTES_MAX, BODY_WAIT)
        .await
        .map_err(|error| match error {
            ReadError::TooLarge { .. } => Refusal::TooLarge(BODY_BYTES_MAX),
            other => Refusal::Incomplete(other.to_string()),
        })
}

/// What the client can read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepts {
    json: bool,
    pub(super) events: bool,
}

/// A client that says nothing takes everything.
pub(super) fn accepts(headers: &HeaderMap) -> Result<Accepts, Refusal> {
    let mut found = Accepts {
        json: false,
        events: false,
    };
    let mut said = false;
    for value in headers.get_all(ACCEPT) {
        said = true;
        for part in value.as_bytes().split(|byte| *byte == b',') {
            let kind = part
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default()
                .trim_ascii();
            let is = |name: &[u8]| kind.eq_ignore_ascii_case(name);
            found.json |= is(b"application/json") || is(b"application/*") || is(b"*/*");
            found.events |= is(b"text/event-stream") || is(b"text/*") || is(b"*/*");
        }
    }
    if !said {
        return Ok(Accepts {
            json: true,
            events: true,
        });
    }
    if found.json || found.events {
        Ok(found)
    } else {
        Err(Refusal::Accept)
    }
}

pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let kind = value
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if kind.eq_ignore_ascii_case(b"application/json") {
        Ok(())
    } else {
        Err(Refusal::ContentType)
    }
}

/// The session in which a request is answered, and the request.
pub(super) struct Asked<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) session: Arc<Session>,
    pub(super) request: Option<Id>,
}

impl Asked<'_> {
    /// Messages on a stream that goes on when the client hangs up, and can be picked up again.
    pub(super) fn answered(self, messages: Messages) -> Response<Body> {
        let stream = self
            .session
            .keep(self.gateway.handles(), self.request, messages);
        event_stream(events::resumable(stream, self.session.version))
    }
}

/// `asked` where an event stream can be picked up again.
pub(super) fn framed(reply: Reply, accepts: Accepts, asked: Option<Asked<'_>>) -> Response<Body> {
    let streamed = |messages| match asked {
        Some(asked) => asked.answered(messages),
        None => event_stream(events::body(messages)),
    };
    match reply {
        Reply::Accepted => respond(StatusCode::ACCEPTED, Body::empty()),
        Reply::Opened(session, bytes) => {
            let mut response = json(StatusCode::OK, Body::full(bytes));
            let id = HeaderValue::from_str(&session.handle).expect("base64 is visible ASCII");
            response.headers_mut().insert(SESSION, id);
            response
        }
        Reply::Stream(messages) if accepts.events => streamed(messages),
        // A client that takes no event stream gets the answer alone.
        Reply::Stream(messages) => json(StatusCode::OK, Body::stream(stream::once(last(messages)))),
        reply if !accepts.json => streamed(reply.messages()),
        Reply::Message(status, bytes) => json(status, Body::full(bytes)),
        Reply::Parts(parts) => json(StatusCode::OK, Body::stream(stream::iter(parts.map(Ok)))),
        Reply::Large(pieces, _) => json(StatusCode::OK, Body::Stream(pieces)),
    }
}

async fn last(mut messages: Messages) -> Result<Bytes, transport::body::BodyError> {
    let mut last = Bytes::new();
    while let Some(message) = messages.next().await {
        last = message;
    }
    Ok(last)
}

pub(super) fn event_stream(body: Body) -> Response<Body> {
    let mut response = respond(StatusCode::OK, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENTS);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Reverse proxies must not hold events back (streamable-http, "Receiving Messages").
    headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn json(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = respond(status, body);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

pub(super) fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

pub(super) fn refused(Refused { refusal, era, id }: &Refused) -> Response<Body> {
    tracing::debug!(error = %refusal, era = era.as_str(), "refused");
    let status = refusal.status(*era);
    if matches!(**refusal, Refusal::Cancelled) {
        return respond(status, Body::empty());
    }
    let mut response = json(status, Body::full(refusal.message(*era, id.as_ref())));
    let allowed = match **refusal {
        Refusal::HttpMethod("POST") => Some("POST"),
        Refusal::HttpMethod(_) | Refusal::StreamOver => Some("POST, GET, DELETE"),
        _ => None,
    };
    if let Some(allowed) = allowed {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(allowed));
    }
    if let Some(challenge) = challenge(refusal) {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// How to prove who one is (RFC 6750, 3): a caller that presented nothing is not told of an error.
const fn challenge(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Unauthenticated => Some("Bearer"),
        Refusal::Credential => Some("Bearer error=\"invalid_token\""),
        _ => None,
    }
}
