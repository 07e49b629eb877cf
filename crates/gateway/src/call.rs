//! The spine: one message of a client, from top to bottom.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use protocol::json::{Splice, span_of};
use protocol::mcp::{Era, Meta, Method, headers};
use tokio::time::Instant;

use crate::admit::{self, Permit};
use crate::conversation::Outgoing;
use crate::exchange::{Exchange, Rewrite, severity};
use crate::failure::UpstreamFailure;
use crate::gateway::Gateway;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::Inbound;
use crate::select::{self, Selected};
use crate::server::Server;
use crate::session::{Leg, Session};
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
    let cancelled = match inbound.session() {
        Some(session) => Some(session.begin(&id).ok_or(Refusal::Params(
            "the id is in use, or too many requests are open".into(),
        ))?),
        None => None,
    };
    let open = Open {
        session: inbound.session().cloned(),
        id: id.clone(),
    };
    let (number, leg, answer) = send(permit, &inbound, method, &selected).await?;
    open.keep();
    let exchange = Exchange {
        era: inbound.era(),
        id,
        number,
        rewrite: Rewrite {
            label: selected.label.clone(),
            token: progress_token(&inbound),
        },
        session: inbound.session().cloned().zip(leg),
        log_level: wanted_level(&inbound),
        deadline: Instant::now() + selected.server.total,
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
) -> Result<(u64, Option<Arc<Leg>>, Answer), Refusal> {
    let server = permit.server();
    let Some(session) = inbound.session() else {
        let conversation = server.shared(Era::Modern)?;
        let outgoing = outgoing(inbound, method, selected, conversation.next_id())?;
        let number = outgoing.id;
        let answer = conversation.call(outgoing).await;
        server.health.note(&answer);
        return Ok((number, None, answer?));
    };
    let mut leg = session.leg(server).await?;
    for attempt in 0.. {
        let outgoing = outgoing(inbound, method, selected, leg.conversation().next_id())?;
        let number = outgoing.id;
        let answer = leg.conversation().call(outgoing).await;
        server.health.note(&answer);
        match answer {
            Err(UpstreamFailure::SessionLost { .. }) if attempt == 0 => {
                leg = reopened(session, server, &leg).await?
            }
            other => return Ok((number, Some(leg), other?)),
        }
    }
    unreachable!("the loop returns")
}

async fn reopened(
    session: &Arc<Session>,
    server: &Arc<Server>,
    lost: &Arc<Leg>,
) -> Result<Arc<Leg>, UpstreamFailure> {
    tracing::info!(server = %server.name, "the server lost a session; it is opened again");
    session.drop_leg(lost);
    session.leg(server).await
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
    if let Some(token) = progress_span(inbound) {
        splice.replace(token, number.to_string());
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
    let params = inbound.params()?;
    let arguments = params
        .arguments
        .map(|raw| serde_json::from_str(raw.get()))
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
    progress_span(inbound).map(|span| inbound.message.bytes.slice(span))
}

fn progress_span(inbound: &Inbound) -> Option<std::ops::Range<usize>> {
    let params = inbound.params().ok()?;
    let meta = Meta::parse(params.meta?.get()).ok()?;
    meta.progress_token
        .map(|token| span_of(&inbound.message.bytes, token.get()))
}

fn wanted_level(inbound: &Inbound) -> Option<u8> {
    let params = inbound.params().ok()?;
    let meta = Meta::parse(params.meta?.get()).ok()?;
    severity(&protocol::json::string(meta.log_level?.get())?)
}

/// A request of a session that is under way; closed again if it comes to nothing.
struct Open {
    session: Option<Arc<Session>>,
    id: protocol::json_rpc::Id,
}

impl Open {
    /// From here on the exchange closes it.
    fn keep(mut self) {
        self.session = None;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.end(&self.id);
        }
    }
}
