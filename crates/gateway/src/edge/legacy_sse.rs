//! The transport of 2024-11-05: an event stream, and an address to post to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::request::Parts;
use ::http::{Method, Response, StatusCode};
use auth::Purpose;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use protocol::mcp::Era;
use protocol::sse;
use tokio::sync::mpsc;
use transport::body::{Body, BodyError};

use super::answer::{Refused, event_stream, respond};
use super::away::{Visit, away};
use super::line::Line;
use super::{Doors, events};
use crate::gateway::closed;
use crate::handles::{Handles, random};
use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::table::{Table, Toolset};

/// Streams of this transport open at once.
const LINES_MAX: usize = 10_000;
/// Messages waiting in one stream.
const OUT_MAX: usize = 256;
/// What follows the endpoint's path for clients that expect it.
const STREAM_SUFFIX: &str = "/sse";
const POST_SUFFIX: &str = "/messages";

/// The open streams of this transport, by the secret in their address.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<String, Arc<Line>>>);

/// The toolset behind `PATH/sse` or `PATH/messages`.
pub(super) fn toolset<'t>(table: &'t Table, path: &str) -> Option<&'t Arc<Toolset>> {
    let endpoint = path
        .strip_suffix(STREAM_SUFFIX)
        .or_else(|| path.strip_suffix(POST_SUFFIX))?;
    table.paths.get(endpoint)
}

pub(super) async fn answer(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: &Toolset,
    parts: &Parts,
    body: impl Future<Output = Result<Bytes, Refusal>>,
) -> Result<Response<Body>, Refused> {
    let refuse = |refusal| Refused::new(refusal, Era::Legacy, None);
    let opens = parts.uri.path().ends_with(STREAM_SUFFIX);
    match (&parts.method, opens) {
        (&Method::GET, true) => Ok(open(doors, visit, toolset)),
        (&Method::POST, false) => {
            let key = parts
                .uri
                .query()
                .and_then(|query| query.strip_prefix("session="))
                .unwrap_or_default();
            let bytes = body.await.map_err(refuse)?;
            let Some(line) = doors.lines.find(key, &visit.caller, toolset) else {
                let request = (parts, bytes);
                let answered = away(doors, visit, toolset, key.as_bytes(), request).await;
                let answer = answered.map_err(refuse)?;
                return answer.ok_or_else(|| refuse(Refusal::UnknownSession));
            };
            line.take(bytes).await;
            Ok(respond(StatusCode::ACCEPTED, Body::full("Accepted")))
        }
        _ => Err(refuse(Refusal::HttpMethod("GET and POST"))),
    }
}

/// Opens a stream; its first event says where to post.
pub(super) fn open(doors: &Arc<Doors>, visit: &Visit, toolset: &Toolset) -> Response<Body> {
    let (sender, out) = mpsc::channel::<Bytes>(OUT_MAX);
    let caller = visit.caller.clone();
    let line = Line::new(doors.gateway.clone(), caller, toolset.path.clone(), sender);
    let key = key(doors.gateway.handles(), visit, toolset);
    let Some(key) = doors.lines.add(key, line.clone()) else {
        return respond(
            StatusCode::SERVICE_UNAVAILABLE,
            Body::full("too many streams are open"),
        );
    };
    let mut endpoint = Vec::new();
    sse::write_event(
        &mut endpoint,
        "endpoint",
        format!("{}{POST_SUFFIX}?session={key}", toolset.path).as_bytes(),
    );
    let open = Open {
        doors: doors.clone(),
        key,
        line,
    };
    let state = (out, open, doors.gateway.closing());
    let messages = stream::unfold(state, |(mut out, open, mut closing)| async move {
        let message = tokio::select! {
            message = out.recv() => message?,
            () = closed(&mut closing) => return None,
        };
        Some((message, (out, open, closing)))
    });
    let first = stream::once(std::future::ready(Ok::<_, BodyError>(Bytes::from(
        endpoint,
    ))));
    event_stream(Body::stream(
        first.chain(events::encoded(Box::pin(messages))),
    ))
}

/// What tells a line from every other, and whose process it ends in.
fn key(handles: &Handles, visit: &Visit, toolset: &Toolset) -> String {
    let mut plain = handles.own().0.to_vec();
    plain.extend_from_slice(&random::<16>());
    handles.seal(Purpose::Session, &visit.caller, &toolset.name, &plain)
}

/// Ends the session behind a stream when the client has left.
struct Open {
    doors: Arc<Doors>,
    key: String,
    line: Arc<Line>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.doors
            .lines
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
        let line = self.line.clone();
        self.doors.gateway.later(async move { line.end().await });
    }
}

impl Lines {
    fn add(&self, key: String, line: Arc<Line>) -> Option<String> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.len() < LINES_MAX)
            .then(|| lines.insert(key.clone(), line))
            .map(|_| key)
    }

    /// The line with this key, if it is this caller's and this toolset's.
    fn find(&self, key: &str, caller: &Caller, toolset: &Toolset) -> Option<Arc<Line>> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.get(key)?;
        line.is_of(caller, &toolset.path).then(|| line.clone())
    }
}
