//! The spine: one message of a client, from top to bottom.

use std::sync::Arc;

use bytes::Bytes;
use protocol::json_rpc::{ErrorObject, Message, Shape, code};
use protocol::mcp::{Era, Method};
use tokio::time::{Instant, timeout_at};

use crate::admit::{self, Permit};
use crate::exchange::{Cancelled, Exchange, Rewrite, fired, severity};
use crate::failure::UpstreamFailure;
use crate::gateway::Gateway;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::{Inbound, text_at};
use crate::say::outgoing;
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
    let sending = send(permit, &inbound, method, &selected, &ticket, &mut cancelled);
    let sent = timeout_at(deadline, sending)
        .await
        .unwrap_or_else(|_| Err(too_late(&selected.server)));
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
    let mut leg = tokio::select! {
        biased;
        () = fired(cancelled) => return Err(Refusal::Cancelled),
        leg = session.leg(server) => leg?,
    };
    for attempt in 0.. {
        let outgoing = outgoing(inbound, method, selected, leg.conversation().next_id())?;
        let number = outgoing.id;
        if let Some(ticket) = ticket {
            ticket.sent(&leg, number);
        }
        let answer = tokio::select! {
            biased;
            () = fired(cancelled) => return Err(Refusal::Cancelled),
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

fn too_late(server: &Server) -> Refusal {
    let reason = format!("the call took longer than {} s", server.total.as_secs());
    UpstreamFailure::NoAnswer {
        server: server.name.clone(),
        reason,
    }
    .into()
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
