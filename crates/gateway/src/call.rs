//! The spine: one message of a client, from top to bottom.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use protocol::json::Splice;
use protocol::json_rpc::{ErrorObject, Message, Shape, code};
use protocol::mcp::{Era, Method, headers};
use tokio::time::Instant;

use crate::admit::{self, Permit};
use crate::conversation::Outgoing;
use crate::exchange::{Cancelled, Exchange, Rewrite, fired, severity};
use crate::failure::UpstreamFailure;
use crate::gateway::Gateway;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::{Inbound, text_at};
use crate::select::{self, Selected};
use crate::server::Server;
use crate::session::{Leg, Ticket};
use crate::upstream::Answer;
use crate::{legacy, list, modern};

/// Answers one request of a client.
pub(crate) async fn call(gateway: &Arc<Gateway>, inbound: Inbound) -> Result<Reply, Refusal> {
    admit::enter(&inbound.caller, &inbound.toolset)?;
    let method = Method::parse(&inbound.message.method, inbound.era())
        .ok_or_else(|| Refusal::Method(inbound.message.method.to_string()))?;
    match method {
        Method::Initialize => legacy::initialize(gateway, &inbound).await,
        Method::Ping => legacy::ping(&inbound),
        Method::SetLevel => legacy::set_level(&inbound).await,
        Method::Subscribe | Method::Unsubscribe => legacy::subscribe(&inbound, method).await,
        Method::Discover => modern::discover(&inbound).await,
        Method::Listen => modern::listen(gateway, inbound).await,
        Method::ToolsList | Method::PromptsList | Method::ResourcesList | Method::TemplatesList => {
            list::page(&inbound, method).await
        }
        Method::ToolsCall
        | Method::PromptsGet
        | Method::ResourcesRead
        | Method::Complete
        | Method::TasksGet
        | Method::TasksUpdate
        | Method::TasksCancel => forward(inbound, method).await,
        Method::Initialized | Method::Cancelled | Method::Progress | Method::RootsChanged => {
            Err(Refusal::Method(inbound.message.method.to_string()))
        }
    }
}

/// Carries one request to the server it is meant for.
async fn forward(inbound: Inbound, method: Method) -> Result<Reply, Refusal> {
    let selected = select::select(&inbound, method).await?;
    let permit = admit::decide(&inbound.caller, &inbound.toolset, &selected.server)?;
    selected.server.health.admit(&selected.server.name)?;
    let Some(id) = inbound.message.id().cloned() else {
        return Err(Refusal::Params("a request needs an id".into()));
    };
    let (mut ticket, mut cancelled) = match inbound.session() {
        Some(session) => {
            let begun = session.begin(&id);
            let busy = "the id is in use, or too many requests are open";
            begun
                .map(|(ticket, signal)| (Some(ticket), Some(signal)))
                .ok_or(Refusal::Params(busy.into()))?
        }
        None => (None, None),
    };
    let deadline = Instant::now() + selected.server.total;
    let sent = send(permit, &inbound, method, &selected, &ticket, &mut cancelled).await;
    if let (Err(_), Some(ticket)) = (&sent, &mut ticket) {
        ticket.over();
    }
    let (number, leg, answer) = sent?;
    let exchange = Exchange {
        era: inbound.era(),
        id,
        number,
        rewrite: Rewrite {
            label: selected.label.clone(),
            token: progress_token(&inbound),
        },
        session: inbound.session().cloned().zip(leg),
        ticket,
        log_level: wanted_level(&inbound),
        deadline,
        server: selected.server,
    };
    exchange.settle(answer, cancelled).await
}

/// Says it in the server's names and sends it; a session that the server lost is opened again, once.
async fn send(
    permit: Permit,
    inbound: &Inbound,
    method: Method,
    selected: &Selected,
    ticket: &Option<Ticket>,
    cancelled: &mut Cancelled,
) -> Result<(u64, Option<Arc<Leg>>, Answer), Refusal> {
    let server = permit.server();
    let Some(session) = inbound.session() else {
        let (number, answer) = send_modern(server, inbound, method, selected).await?;
        return Ok((number, None, answer));
    };
    let mut leg = session.leg(server).await?;
    for attempt in 0.. {
        let outgoing = outgoing(inbound, method, selected, leg.conversation().next_id())?;
        let number = outgoing.id;
        if let Some(ticket) = ticket {
            ticket.sent(&leg, number);
        }
        let answer = tokio::select! {
            biased;
            () = fired(cancelled) => {
                leg.conversation().cancel(number).await;
                return Err(Refusal::Cancelled);
            }
            answer = leg.conversation().call(outgoing) => answer,
        };
        server.health.note_call(&server.name, &answer);
        match answer {
            Err(UpstreamFailure::SessionLost { .. }) if attempt == 0 => {
                leg = session.renewed(server, &leg).await?;
            }
            other => return Ok((number, Some(leg), other?)),
        }
    }
    unreachable!("the loop returns")
}

/// A server that finds our headers wrong has changed a tool since we listed it: its lists are read again, and the call is sent once more (streamable-http, "Custom headers").
async fn send_modern(
    server: &Arc<Server>,
    inbound: &Inbound,
    method: Method,
    selected: &Selected,
) -> Result<(u64, Answer), Refusal> {
    let conversation = server.shared(Era::Modern)?;
    let first = outgoing(inbound, method, selected, conversation.next_id())?;
    let number = first.id;
    let answer = conversation.call(first).await;
    server.health.note_call(&server.name, &answer);
    let answer = answer?;
    if !is_header_mismatch(&answer) {
        return Ok((number, answer));
    }
    server.refreshed().await;
    inbound.toolset.refresh();
    let selected = select::select(inbound, method).await?;
    if !Arc::ptr_eq(&selected.server, server) {
        return Ok((number, answer));
    }
    let second = outgoing(inbound, method, &selected, conversation.next_id())?;
    let number = second.id;
    Ok((number, conversation.call(second).await?))
}

fn is_header_mismatch(answer: &Answer) -> bool {
    let Answer::Failed { body, .. } = answer else {
        return false;
    };
    let error = Message::parse(body.clone())
        .ok()
        .filter(|message| matches!(message.shape, Shape::Error(_)));
    error.is_some_and(|message| {
        let error = serde_json::from_str::<ErrorObject<'_>>(message.body());
        error.is_ok_and(|error| error.code == i64::from(code::HEADER_MISMATCH))
    })
}

/// The request with our number and the server's own names; every other byte as it came.
fn outgoing(
    inbound: &Inbound,
    method: Method,
    selected: &Selected,
    number: u64,
) -> Result<Outgoing, Refusal> {
    let message = &inbound.message;
    let mut splice = Splice::new();
    if let Some(span) = message.id_span() {
        splice.replace(span, number.to_string());
    }
    for (span, own) in &selected.own {
        splice.replace(span.clone(), own.clone());
    }
    if let Some(token) = &inbound.parts.progress_token {
        splice.replace(token.clone(), number.to_string());
    }
    let bytes: Bytes = splice.apply(&message.bytes).into();
    let params = match inbound.era() {
        Era::Modern => mirrored(inbound, selected)?,
        Era::Legacy => Vec::new(),
    };
    Ok(Outgoing {
        id: number,
        message: bytes,
        method: method.as_str(),
        name: selected.header.clone(),
        params,
    })
}

/// Checks the headers that mirror arguments, and gives those the server is to get (streamable-http, "Custom headers").
fn mirrored(
    inbound: &Inbound,
    selected: &Selected,
) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    if selected.params.is_empty() {
        // What no schema speaks of is passed on untouched.
        return Ok(inbound.mirrored.clone());
    }
    let arguments = inbound
        .parts
        .arguments
        .as_ref()
        .map(|span| serde_json::from_str(inbound.raw(span)))
        .transpose();
    let arguments: serde_json::Value = arguments
        .map_err(|error| Refusal::Params(error.to_string().into()))?
        .unwrap_or_default();
    for param in selected.params.iter() {
        let said = inbound
            .mirrored
            .iter()
            .find(|(name, _)| name.as_str() == param.header)
            .map(|(_, value)| value);
        let wrong = |reason: &'static str| Refusal::HeaderMismatch {
            header: param.header.clone(),
            reason: reason.into(),
        };
        let said = said
            .map(|value| {
                headers::decode(value.as_bytes())
                    .ok_or_else(|| wrong("holds bytes or an encoding that may not stand there"))
            })
            .transpose()?;
        match (said, param.text(&arguments)) {
            (None, None) => {}
            (None, Some(_)) => return Err(wrong("is missing")),
            (Some(_), None) => return Err(wrong("mirrors an argument that is not there")),
            (Some(said), Some(text)) if param.agrees(&said, &text) => {}
            (Some(_), Some(_)) => return Err(wrong("says something else than the body")),
        }
    }
    Ok(inbound.mirrored.clone())
}

fn progress_token(inbound: &Inbound) -> Option<Bytes> {
    let span = inbound.parts.progress_token.clone()?;
    Some(inbound.message.bytes.slice(span))
}

fn wanted_level(inbound: &Inbound) -> Option<u8> {
    severity(&text_at(
        &inbound.message,
        inbound.parts.log_level.as_ref(),
    )?)
}
