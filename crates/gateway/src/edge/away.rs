//! Requests that belong to another replica, and those that another replica has passed on.

use std::sync::Arc;

use ::http::header::CONTENT_TYPE;
use ::http::request::Parts;
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use protocol::json::{members, string};
use protocol::json_rpc::{Id, Message};
use protocol::mcp::{Era, Method};
use protocol::sse;
use transport::body::Body;
use transport::inbound::{Incoming, Peer, Service};

use super::answer::{read, refused, respond};
use super::{Doors, http};
use crate::adopt;
use crate::exchange::Parking;
use crate::gateway::Gateway;
use crate::handles::Incarnation;
use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::replica::{Errand, HOP, Heard};
use crate::table::Toolset;
use crate::task::Tasks;

/// Whose a request is, and how it came here.
#[derive(Debug)]
pub(super) struct Visit {
    /// Who the client is.
    pub(super) caller: Caller,
    /// The listener it came to.
    pub(super) listener: usize,
    /// Another replica has passed it on: it is answered here or nowhere.
    pub(super) hopped: bool,
}

impl Visit {
    /// The request as another replica gets it.
    pub(super) fn errand<'a>(&'a self, parts: &'a Parts, body: Bytes) -> Errand<'a> {
        Errand {
            caller: &self.caller,
            listener: self.listener,
            method: &parts.method,
            path: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
            headers: &parts.headers,
            body,
        }
    }
}

/// The answer of the replica that `handle` belongs to; `None` when that is this one, and when the handle is no good.
pub(super) async fn away(
    doors: &Doors,
    visit: &Visit,
    toolset: &Toolset,
    handle: &[u8],
    (parts, body): (&Parts, Bytes),
) -> Result<Option<Response<Body>>, Refusal> {
    if visit.hopped || doors.gateway.replicas().is_alone() {
        return Ok(None);
    }
    let errand = visit.errand(parts, body);
    adopt::elsewhere(&doors.gateway, handle, toolset, &errand).await
}

/// As [`away`] for a modern request, by what its parameters hold.
pub(super) async fn owned(
    doors: &Doors,
    visit: &Visit,
    toolset: &Toolset,
    parts: &Parts,
    message: &Message,
) -> Result<Option<Response<Body>>, Refusal> {
    let gateway = &doors.gateway;
    if visit.hopped || gateway.replicas().is_alone() {
        return Ok(None);
    }
    let Some(owner) = owner(gateway, visit, toolset, message) else {
        return Ok(None);
    };
    if owner == gateway.handles().own() {
        return Ok(None);
    }
    let errand = visit.errand(parts, message.bytes.clone());
    let answer = gateway.replicas().forward(owner, &errand).await?;
    Ok(Some(answer))
}

/// The run of a process in which the conversation lives; `None` when there is no such, or the handle is not the caller's.
fn owner(
    gateway: &Gateway,
    visit: &Visit,
    toolset: &Toolset,
    message: &Message,
) -> Option<Incarnation> {
    let found = members(message.body()).ok()?;
    let member = |key: &str| string(found.iter().find(|member| member.key == key)?.value);
    match Method::parse(&message.method, Era::Modern)? {
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            let tasks = Tasks::of(&visit.caller, toolset);
            Some(tasks.held(&member("taskId")?)?.owner)
        }
        _ => {
            let state = member("requestState")?;
            Parking::owner(gateway.handles(), &visit.caller, &toolset.name, &state)
        }
    }
}

/// An answer of another replica to one request: if that replica dies in the middle of an event stream, the client is told.
pub(super) fn or_lost(answer: Response<Body>, body: &Bytes) -> Response<Body> {
    let is_stream = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let message = is_stream.then(|| Message::parse(body.clone()).ok());
    let Some(id) = message.flatten().and_then(|message| message.id().cloned()) else {
        return answer;
    };
    answer.map(|body| match body {
        Body::Stream(pieces) => {
            let state = Some((pieces, Told { id, whole: true }));
            Body::stream(stream::unfold(state, |state| async {
                let (mut pieces, mut told) = state?;
                match pieces.next().await? {
                    Ok(piece) => {
                        told.whole = piece.ends_with(b"\n\n");
                        Some((Ok(piece), Some((pieces, told))))
                    }
                    // Half an event cannot be taken back: then only the break itself can tell.
                    Err(error) if !told.whole => Some((Err(error), None)),
                    Err(error) => {
                        tracing::warn!(%error, "an answer of another replica broke off");
                        Some((Ok(told.lost()), None))
                    }
                }
            }))
        }
        body => body,
    })
}

/// Whose stream it is, and whether the last event that was passed on is whole.
struct Told {
    id: Id,
    whole: bool,
}

impl Told {
    fn lost(&self) -> Bytes {
        let mut event = Vec::new();
        let error = Refusal::Lost.message(Era::Legacy, Some(&self.id));
        sse::write_message(&mut event, None, &error);
        event.into()
    }
}

/// Where other replicas come in, and nobody else.
#[derive(Debug)]
pub struct PeerDoor {
    doors: Arc<Doors>,
}

impl PeerDoor {
    /// The way in for other replicas, to the same gateway.
    #[must_use]
    pub fn new(doors: Arc<Doors>) -> Arc<Self> {
        Arc::new(Self { doors })
    }

    async fn answer(&self, request: Request<Incoming>) -> Option<Response<Body>> {
        let mut words = request.headers().get_all(HOP).iter();
        let (first, second) = (words.next()?, words.next());
        if second.is_some() {
            return None;
        }
        let promise = match self.doors.gateway.replicas().hear(first.as_bytes())? {
            Heard::Greeting(welcome) => return Some(respond(StatusCode::OK, Body::full(welcome))),
            Heard::Errand(promise) => promise,
        };
        let (parts, body) = request.into_parts();
        let body = read(body).await.ok()?;
        if !promise.is_kept(&parts, &body) {
            return None;
        }
        let visit = Visit {
            caller: promise.caller,
            listener: promise.listener,
            hopped: true,
        };
        let answered = http::hopped(&self.doors, visit, parts, body).await;
        Some(answered.unwrap_or_else(|refusal| refused(&refusal)))
    }
}

impl Service for PeerDoor {
    async fn call(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let answered = self.answer(request).await;
        answered.unwrap_or_else(|| {
            tracing::warn!(peer = %peer.address, "somebody who is no replica, or whose clock is wrong, was turned away");
            respond(StatusCode::FORBIDDEN, Body::empty())
        })
    }
}
