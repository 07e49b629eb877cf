//! Streamable HTTP in both eras on one URL.

use std::sync::Arc;

use ::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use ::http::request::Parts as Head;
use ::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::stream;
use protocol::json_rpc::{self, Message, Shape};
use protocol::mcp::{Era, Version, headers};
use transport::body::Body;
use transport::inbound::{Incoming, Peer};

use super::answer::{
    Asked, Refused, SESSION, accepts, check_content_type, event_stream, framed, read, refused,
    respond,
};
use super::away::{Visit, away, or_lost, owned};
use super::{Doors, events, legacy_sse};
use crate::adopt;
use crate::call::call;
use crate::legacy;
use crate::refuse::Refusal;
use crate::reply::{Messages, Reply};
use crate::request::{self, Inbound, Parts, Standing};
use crate::session::{Resumed, Session};
use crate::table::Toolset;

/// Where the load balancer asks; says only ready or not.
const READY_PATH: &str = "/readyz";

/// Answers one HTTP request.
pub(super) async fn answer(
    doors: &Arc<Doors>,
    request: Request<Incoming>,
    peer: Peer,
) -> Response<Body> {
    let origin = request.headers().get(ORIGIN).cloned();
    if let Err(refusal) = doors.check(&request, &peer) {
        return refused(&Refused::new(refusal, Era::Legacy, None));
    }
    let mut response = match route(doors, request, &peer).await {
        Ok(response) => response,
        Err(refusal) => refused(&refusal),
    };
    if let Some(origin) = origin {
        // The origin was checked above; without these headers a browser hides the answer from its page.
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate"),
        );
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    response
}

async fn route(
    doors: &Arc<Doors>,
    request: Request<Incoming>,
    peer: &Peer,
) -> Result<Response<Body>, Refused> {
    let table = doors.gateway.table();
    let path = request.uri().path();
    let found = table
        .paths
        .get(path)
        .filter(|toolset| toolset.listeners.contains(&peer.listener))
        .cloned();
    let Some(toolset) = found else {
        if path == READY_PATH {
            return Ok(ready(doors));
        }
        let older = legacy_sse::toolset(&table, path)
            .filter(|toolset| toolset.listeners.contains(&peer.listener));
        let older =
            older
                .cloned()
                .ok_or(Refused::new(Refusal::NoSuchEndpoint, Era::Legacy, None))?;
        drop(table);
        let visit = enter(doors, &older, &request, peer)?;
        let (parts, body) = request.into_parts();
        let answered = legacy_sse::answer(doors, &visit, &older, &parts, read(body)).await;
        return answered.map(|response| doors.while_welcome(visit.caller, response));
    };
    drop(table);
    if *request.method() == Method::OPTIONS {
        return Ok(preflight(request.headers()));
    }
    let visit = enter(doors, &toolset, &request, peer)?;
    let (parts, body) = request.into_parts();
    let answered = match parts.method {
        Method::POST => post(doors, &visit, toolset, &parts, body).await,
        Method::GET => get(doors, &visit, &toolset, &parts).await,
        Method::DELETE => delete(doors, &visit, &toolset, &parts).await,
        _ => Err(other_method()),
    };
    answered.map(|response| doors.while_welcome(visit.caller, response))
}

/// Before anything of the body is read.
fn enter(
    doors: &Doors,
    toolset: &Toolset,
    request: &Request<Incoming>,
    peer: &Peer,
) -> Result<Visit, Refused> {
    let caller = doors.enter(request.headers(), toolset);
    let caller = caller.map_err(|refusal| Refused::new(refusal, Era::Legacy, None))?;
    Ok(Visit {
        caller,
        listener: peer.listener,
        hopped: false,
    })
}

/// Answers a request that another replica has passed on: who the client is was found out there.
pub(super) async fn hopped(
    doors: &Arc<Doors>,
    visit: Visit,
    parts: Head,
    body: Bytes,
) -> Result<Response<Body>, Refused> {
    let table = doors.gateway.table();
    let path = parts.uri.path();
    let serves = |toolset: &&Arc<Toolset>| toolset.listeners.contains(&visit.listener);
    let found = table.paths.get(path).filter(serves).cloned();
    let older = legacy_sse::toolset(&table, path).filter(serves).cloned();
    drop(table);
    let Some(toolset) = found else {
        let older = older.ok_or(Refused::new(Refusal::NoSuchEndpoint, Era::Legacy, None))?;
        let body = std::future::ready(Ok(body));
        return legacy_sse::answer(doors, &visit, &older, &parts, body).await;
    };
    match parts.method {
        Method::POST => posted(doors, &visit, toolset, &parts, body).await,
        Method::GET => get(doors, &visit, &toolset, &parts).await,
        Method::DELETE => delete(doors, &visit, &toolset, &parts).await,
        _ => Err(other_method()),
    }
}

fn other_method() -> Refused {
    Refused::new(
        Refusal::HttpMethod("POST, GET and DELETE"),
        Era::Legacy,
        None,
    )
}

fn ready(doors: &Doors) -> Response<Body> {
    let ready = doors.gateway.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    respond(
        status,
        Body::full(if ready { "ready\n" } else { "not ready\n" }),
    )
}

/// The origin was checked; which headers it may send is decided by the checks of the request itself.
fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut response = respond(StatusCode::NO_CONTENT, Body::empty());
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, DELETE"),
    );
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

async fn post(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: Arc<Toolset>,
    parts: &Head,
    body: Incoming,
) -> Result<Response<Body>, Refused> {
    let early = |refusal| Refused::new(refusal, Era::Legacy, None);
    accepts(&parts.headers).map_err(early)?;
    check_content_type(&parts.headers).map_err(early)?;
    let bytes = read(body).await.map_err(early)?;
    posted(doors, visit, toolset, parts, bytes).await
}

async fn posted(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: Arc<Toolset>,
    parts: &Head,
    bytes: Bytes,
) -> Result<Response<Body>, Refused> {
    let early = |refusal| Refused::new(refusal, Era::Legacy, None);
    let accepts = accepts(&parts.headers).map_err(early)?;
    if let Some(handle) = parts.headers.get(SESSION) {
        let request = (parts, bytes.clone());
        match away(doors, visit, &toolset, handle.as_bytes(), request).await {
            Ok(Some(answer)) => return Ok(or_lost(answer, &bytes)),
            Ok(None) => {}
            Err(refusal) => {
                let message = Message::parse(bytes).ok();
                let id = message.and_then(|message| message.id().cloned());
                return Err(Refused::new(refusal, Era::Legacy, id));
            }
        }
    }
    if let Some(batch) = json_rpc::batch(&bytes) {
        return batched(doors, visit, toolset, &parts.headers, batch).await;
    }
    let version = request::once(&parts.headers, headers::PROTOCOL_VERSION)
        .map_err(|refusal| Refused::new(refusal, Era::Modern, None))?;
    let message = Message::parse(bytes).map_err(|malformed| {
        let modern = version
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| text == Version::NEWEST.as_str());
        Refused::new(
            malformed.into(),
            if modern { Era::Modern } else { Era::Legacy },
            None,
        )
    })?;
    let era = request::era(&message, version);
    let id = message.id().cloned();
    if !accepts.events && &*message.method == protocol::mcp::Method::Listen.as_str() {
        return Err(Refused::new(Refusal::Accept, era, id));
    }
    if era == Era::Modern {
        match owned(doors, visit, &toolset, parts, &message).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(refusal) => return Err(Refused::new(refusal, era, id)),
        }
    }
    let outcome = match era {
        Era::Modern => {
            let reply = modern(doors, visit, toolset, &parts.headers, message).await;
            reply.map(|reply| (reply, None))
        }
        Era::Legacy => legacy(doors, visit, toolset, &parts.headers, message).await,
    };
    match outcome {
        Ok((reply, session)) => {
            let asked = session.map(|session| Asked {
                gateway: &doors.gateway,
                session,
                request: id,
            });
            Ok(framed(reply, accepts, asked))
        }
        Err(refusal) => Err(Refused::new(refusal, era, id)),
    }
}

async fn modern(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: Arc<Toolset>,
    headers: &HeaderMap,
    message: Message,
) -> Result<Reply, Refusal> {
    let parts = Parts::read(&message)?;
    request::check_modern(&message, &parts, headers)?;
    match message.shape {
        Shape::Request(_) => {
            let mirrored = Some(request::mirrored(headers)?);
            let inbound = Inbound {
                toolset,
                caller: visit.caller.clone(),
                message,
                parts,
                standing: Standing::Modern,
                mirrored,
            };
            call(&doors.gateway, inbound).await
        }
        // "The core protocol defines no client-to-server notifications over Streamable HTTP."
        Shape::Notification => Ok(Reply::Accepted),
        Shape::Result(_) | Shape::Error(_) => {
            Err(Refusal::Params("a client may not send responses".into()))
        }
    }
}

async fn legacy(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: Arc<Toolset>,
    headers: &HeaderMap,
    message: Message,
) -> Result<(Reply, Option<Arc<Session>>), Refusal> {
    let opens = &*message.method == protocol::mcp::Method::Initialize.as_str();
    if !opens {
        check_legacy_version(headers)?;
    }
    let standing = if opens {
        Standing::Opening
    } else {
        Standing::Legacy(session(doors, visit, &toolset, headers).await?)
    };
    if let (Standing::Legacy(session), false) =
        (&standing, matches!(message.shape, Shape::Request(_)))
    {
        legacy::take(session, &message).await?;
        return Ok((Reply::Accepted, None));
    }
    let inbound = Inbound {
        toolset,
        caller: visit.caller.clone(),
        parts: Parts::read(&message)?,
        message,
        standing,
        mirrored: None,
    };
    let session = inbound.session().cloned();
    match (call(&doors.gateway, inbound).await, &session) {
        // It was not this request that the client cancelled.
        (Err(Refusal::Cancelled), Some(session)) if session.has_ended() => {
            Err(Refusal::UnknownSession)
        }
        (reply, _) => Ok((reply?, session)),
    }
}

/// MCP 2025-06-18 and later: an invalid or unknown version header is a 400.
fn check_legacy_version(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(value) = request::once(headers, headers::PROTOCOL_VERSION)? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    if Version::parse(text.trim()).is_some() {
        Ok(())
    } else {
        Err(Refusal::Version(text.into_owned()))
    }
}

async fn session(
    doors: &Doors,
    visit: &Visit,
    toolset: &Toolset,
    headers: &HeaderMap,
) -> Result<Arc<Session>, Refusal> {
    let handle = request::once(headers, headers::SESSION_ID)?.ok_or(Refusal::NoSession)?;
    adopt::find(&doors.gateway, handle.as_bytes(), &visit.caller, toolset).await
}

/// MCP 2025-03-26: several messages at once, answered on one event stream.
async fn batched(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: Arc<Toolset>,
    headers: &HeaderMap,
    batch: Result<Vec<Bytes>, json_rpc::Malformed>,
) -> Result<Response<Body>, Refused> {
    let early = |refusal| Refused::new(refusal, Era::Legacy, None);
    let batch = batch.map_err(|malformed| early(malformed.into()))?;
    let session = session(doors, visit, &toolset, headers)
        .await
        .map_err(early)?;
    if session.version != Version::V2025_03_26 {
        let reason = "batches are not part of this protocol version";
        return Err(early(
            json_rpc::Malformed::Message { reason, id: None }.into(),
        ));
    }
    let mut replies: Vec<Messages> = Vec::new();
    for bytes in batch {
        let reply = match Message::parse(bytes) {
            Ok(message) => {
                let id = message.id().cloned();
                one_of_batch(doors, &toolset, &session, message)
                    .await
                    .unwrap_or_else(|refusal| {
                        Reply::message(refusal.message(Era::Legacy, id.as_ref()))
                    })
            }
            Err(malformed) => Reply::message(Refusal::from(malformed).message(Era::Legacy, None)),
        };
        if !matches!(reply, Reply::Accepted) {
            replies.push(reply.messages());
        }
    }
    if replies.is_empty() {
        return Ok(respond(StatusCode::ACCEPTED, Body::empty()));
    }
    let asked = Asked {
        gateway: &doors.gateway,
        session,
        request: None,
    };
    Ok(asked.answered(Box::pin(stream::select_all(replies))))
}

async fn one_of_batch(
    doors: &Arc<Doors>,
    toolset: &Arc<Toolset>,
    session: &Arc<Session>,
    message: Message,
) -> Result<Reply, Refusal> {
    if !matches!(message.shape, Shape::Request(_)) {
        legacy::take(session, &message).await?;
        return Ok(Reply::Accepted);
    }
    let inbound = Inbound {
        toolset: toolset.clone(),
        caller: session.caller.clone(),
        parts: Parts::read(&message)?,
        message,
        standing: Standing::Legacy(session.clone()),
        mirrored: None,
    };
    call(&doors.gateway, inbound).await
}

async fn get(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: &Toolset,
    parts: &Head,
) -> Result<Response<Body>, Refused> {
    let early = |refusal| Refused::new(refusal, Era::Legacy, None);
    if is_modern(&parts.headers) {
        return Err(Refused::new(Refusal::HttpMethod("POST"), Era::Modern, None));
    }
    if !accepts(&parts.headers).map_err(early)?.events {
        return Err(early(Refusal::Accept));
    }
    let Some(handle) = parts.headers.get(SESSION) else {
        return Ok(legacy_sse::open(doors, visit, toolset));
    };
    let request = (parts, Bytes::new());
    let answered = away(doors, visit, toolset, handle.as_bytes(), request).await;
    if let Some(answer) = answered.map_err(early)? {
        return Ok(answer);
    }
    let session = session(doors, visit, toolset, &parts.headers)
        .await
        .map_err(early)?;
    listened(doors, toolset, &session, &parts.headers).map_err(early)
}

/// The session's own stream, or the rest of the one that the client names by its last event.
fn listened(
    doors: &Arc<Doors>,
    toolset: &Toolset,
    session: &Session,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let handles = doors.gateway.handles();
    let last = request::once(headers, headers::LAST_EVENT_ID)?.filter(|last| !last.is_empty());
    let resumed = match last {
        Some(last) => session.resume(handles, last.as_bytes())?,
        None => Resumed::Own {
            stream: session.open_numbered(handles),
            missed: false,
        },
    };
    let body = match resumed {
        Resumed::Call(stream) => events::resumable(stream, session.version),
        Resumed::Own { stream, missed } => {
            if missed {
                events::forget_heard(session, toolset);
            }
            let changes = toolset.changes.subscribe(Era::Legacy);
            events::session_events(stream, session, changes, doors.gateway.closing())
        }
        Resumed::Lost(error, id) => events::only(&error, &id),
    };
    Ok(event_stream(body))
}

async fn delete(
    doors: &Arc<Doors>,
    visit: &Visit,
    toolset: &Toolset,
    parts: &Head,
) -> Result<Response<Body>, Refused> {
    let early = |refusal| Refused::new(refusal, Era::Legacy, None);
    if is_modern(&parts.headers) {
        return Err(Refused::new(Refusal::HttpMethod("POST"), Era::Modern, None));
    }
    if let Some(handle) = parts.headers.get(SESSION) {
        let request = (parts, Bytes::new());
        let answered = away(doors, visit, toolset, handle.as_bytes(), request).await;
        if let Some(answer) = answered.map_err(early)? {
            return Ok(answer);
        }
    }
    let session = session(doors, visit, toolset, &parts.headers)
        .await
        .map_err(early)?;
    adopt::end(&doors.gateway, &session).await.map_err(early)?;
    // The client waits only for what concerns it: its id is dead. The servers are told meanwhile.
    doors.gateway.sessions.close(&session);
    let gateway = doors.gateway.clone();
    doors
        .gateway
        .later(async move { gateway.end(&session).await });
    Ok(respond(StatusCode::OK, Body::empty()))
}

fn is_modern(headers: &HeaderMap) -> bool {
    let version = headers
        .get(headers::PROTOCOL_VERSION)
        .and_then(|value| value.to_str().ok());
    version
        .and_then(|text| Version::parse(text.trim()))
        .is_some_and(|version| version.era() == Era::Modern)
}
