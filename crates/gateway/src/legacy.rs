//! What a legacy client says to the gateway itself: the handshake, the session's settings, its notifications.

use std::sync::Arc;

use bytes::Bytes;
use protocol::json::{quote, string};
use protocol::json_rpc::{self, Id, Message, Shape, code};
use protocol::mcp::{Era, Method, Version};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::adopt;
use crate::conversation::own_info;
use crate::failure::UpstreamFailure;
use crate::gateway::Gateway;
use crate::list;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::{Inbound, Standing, text_at};
use crate::select::{self, Selected};
use crate::session::{Client, Leg, Session};

/// The longest capabilities or client info that a session keeps, in bytes.
const CLIENT_BYTES_MAX: usize = 4 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Initialize<'a> {
    #[serde(borrow)]
    protocol_version: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
    #[serde(borrow, default)]
    client_info: Option<&'a RawValue>,
}

/// Opens a session. The edge adds its id.
pub(crate) async fn initialize(
    gateway: &Arc<Gateway>,
    inbound: &Inbound,
) -> Result<Reply, Refusal> {
    let asked: Initialize<'_> = serde_json::from_str(inbound.message.body())
        .map_err(|error| Refusal::Params(format!("`initialize`: {error}").into()))?;
    let known =
        Version::parse(&asked.protocol_version).filter(|version| version.era() == Era::Legacy);
    let version = known.unwrap_or(Version::NEWEST_LEGACY);
    list::settled(&inbound.toolset, Era::Legacy).await;
    let client = Client {
        version,
        capabilities: object(asked.capabilities, "{}")?,
        client_info: object(
            asked.client_info,
            "{\"name\":\"unknown\",\"version\":\"0\"}",
        )?,
    };
    let session = adopt::open(gateway, inbound.caller.clone(), &inbound.toolset, client).await?;
    let view = inbound.toolset.view(Era::Legacy);
    let instructions = view
        .instructions
        .as_deref()
        .map(|text| format!(",\"instructions\":{}", quote(text)))
        .unwrap_or_default();
    let result = format!(
        "{{\"protocolVersion\":\"{}\",\"capabilities\":{},\"serverInfo\":{}{instructions}}}",
        version.as_str(),
        view.capabilities,
        own_info(),
    );
    Ok(Reply::Opened(session, answer(inbound, &result)?))
}

fn object(raw: Option<&RawValue>, default: &str) -> Result<Box<str>, Refusal> {
    let text = raw.map_or(default, RawValue::get);
    if !text.starts_with('{') || text.len() > CLIENT_BYTES_MAX {
        let limit = format!(
            "`capabilities` and `clientInfo` must be objects of at most {CLIENT_BYTES_MAX} bytes"
        );
        return Err(Refusal::Params(limit.into()));
    }
    Ok(text.into())
}

/// Answers `ping` here; it is never passed on.
pub(crate) fn ping(inbound: &Inbound) -> Result<Reply, Refusal> {
    Ok(Reply::message(answer(inbound, "{}")?))
}

/// Sets the session's log level here and at every server with an open session.
pub(crate) async fn set_level(inbound: &Inbound) -> Result<Reply, Refusal> {
    #[derive(Deserialize)]
    struct SetLevel<'a> {
        #[serde(borrow)]
        level: &'a RawValue,
    }
    let session = session(inbound)?;
    if !inbound.toolset.view(Era::Legacy).offers.logging {
        return Err(Refusal::Method(inbound.message.method.to_string()));
    }
    let asked: SetLevel<'_> = serde_json::from_str(inbound.message.body())
        .map_err(|error| Refusal::Params(format!("`logging/setLevel`: {error}").into()))?;
    let level = string(asked.level.get()).and_then(|text| protocol::mcp::severity(&text));
    if level.is_none() {
        return Err(Refusal::Params("`level` must be one of debug, info, notice, warning, error, critical, alert, emergency".into()));
    }
    session.set_log_level(asked.level.get());
    for leg in session.legs().iter().filter(|leg| leg.exclusive) {
        let params = format!("{{\"level\":{}}}", asked.level.get());
        // A server without logging says so; that is not the client's concern.
        drop(leg.conversation().ask("logging/setLevel", &params).await);
    }
    Ok(Reply::message(answer(inbound, "{}")?))
}

/// Subscribes the session to one resource, or ends that.
pub(crate) async fn subscribe(inbound: &Inbound, method: Method) -> Result<Reply, Refusal> {
    let session = session(inbound)?;
    if !inbound.toolset.view(Era::Legacy).offers.subscribe {
        return Err(Refusal::Method(inbound.message.method.to_string()));
    }
    let shown =
        text_at(&inbound.message, inbound.parts.uri.as_ref()).map(std::borrow::Cow::into_owned);
    let selected = select::select(inbound, method).await?;
    let shown = shown.unwrap_or_default();
    let own = selected.own_uri().unwrap_or_else(|| shown.clone());
    if selected.spoken == Era::Modern {
        return follow(inbound, session, method, &selected, &shown, &own).await;
    }
    let mut leg = session.leg(&selected.server).await?;
    if !leg.exclusive {
        return share(inbound, &leg, method, &shown, &own).await;
    }
    if method == Method::Subscribe {
        session.subscribe(&shown, &selected.server.id, &own, None)?;
        leg.listen();
    } else {
        session.unsubscribe(&shown);
    }
    let params = format!("{{\"uri\":{}}}", quote(&own));
    let mut asked = leg.conversation().ask(method.as_str(), &params).await;
    if let Err(UpstreamFailure::SessionLost { .. }) = asked {
        leg = session.renewed(&selected.server, &leg).await?;
        asked = leg.conversation().ask(method.as_str(), &params).await;
    }
    if asked.is_err() {
        session.unsubscribe(&shown);
    }
    subscribed(inbound, asked.map(drop))
}

/// The same on a session that others share: the server is asked once for all of them.
async fn share(
    inbound: &Inbound,
    leg: &Arc<Leg>,
    method: Method,
    shown: &str,
    own: &str,
) -> Result<Reply, Refusal> {
    let session = session(inbound)?;
    if method == Method::Unsubscribe {
        session.unsubscribe(shown);
        return Ok(Reply::message(answer(inbound, "{}")?));
    }
    leg.listen();
    let server = leg.server();
    let mut held = server.hold(own).await;
    if let Err(UpstreamFailure::SessionLost { .. }) = held {
        let leg = session.renewed(server, leg).await?;
        leg.listen();
        held = server.hold(own).await;
    }
    match held {
        Ok(held) => {
            session.subscribe(shown, &server.id, own, Some(held))?;
            subscribed(inbound, Ok(()))
        }
        Err(failure) => subscribed(inbound, Err(failure)),
    }
}

fn subscribed(inbound: &Inbound, asked: Result<(), UpstreamFailure>) -> Result<Reply, Refusal> {
    match asked {
        Ok(()) => Ok(Reply::message(answer(inbound, "{}")?)),
        // The server's own refusal is the answer.
        Err(UpstreamFailure::Refused {
            code,
            message,
            data,
            ..
        }) => {
            let code = i32::try_from(code).unwrap_or(code::INTERNAL_ERROR);
            Ok(Reply::message(json_rpc::error(
                inbound.message.id(),
                code,
                &message,
                data.as_deref(),
            )))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The same at a modern server, which tells on a stream of its own what it is asked for.
async fn follow(
    inbound: &Inbound,
    session: &Arc<Session>,
    method: Method,
    selected: &Selected,
    shown: &str,
    own: &str,
) -> Result<Reply, Refusal> {
    if method == Method::Subscribe {
        session.subscribe(shown, &selected.server.id, own, None)?;
    } else {
        session.unsubscribe(shown);
    }
    let honored = session.follow(&selected.server).await;
    if method == Method::Subscribe && !honored {
        session.unsubscribe(shown);
        session.follow(&selected.server).await;
        let text = "the server does not tell of changes of this resource, or is not there";
        return Err(Refusal::Params(text.into()));
    }
    Ok(Reply::message(answer(inbound, "{}")?))
}

/// Takes what wants no answer: notifications, and answers to servers' questions.
pub(crate) async fn take(session: &Arc<Session>, message: &Message) -> Result<(), Refusal> {
    match (&message.shape, Method::parse(&message.method, Era::Legacy)) {
        (Shape::Result(_) | Shape::Error(_), _) => {
            let is_known = session.answer(message).await;
            if !is_known {
                tracing::debug!(session = ?session.id, "an answer to no open question was dropped");
            }
        }
        (_, Some(Method::Cancelled)) => {
            if let Some(id) = cancelled_id(message) {
                session.cancel(&id).await;
            }
        }
        (_, Some(Method::Progress)) => session.progress(message).await,
        (_, Some(Method::RootsChanged)) => session.tell_all(message).await,
        // `initialized` was said for the servers already; what nobody knows is nobody's business.
        _ => {}
    }
    Ok(())
}

fn cancelled_id(message: &Message) -> Option<Id> {
    let found = protocol::json::members(message.body()).ok()?;
    Id::from_raw(found.iter().find(|member| member.key == "requestId")?.value)
}

fn session(inbound: &Inbound) -> Result<&Arc<Session>, Refusal> {
    match &inbound.standing {
        Standing::Legacy(session) => Ok(session),
        Standing::Opening | Standing::Modern => Err(Refusal::NoSession),
    }
}

fn answer(inbound: &Inbound, result: &str) -> Result<Bytes, Refusal> {
    let id = inbound
        .message
        .id()
        .ok_or(Refusal::Params("a request needs an id".into()))?;
    Ok(json_rpc::result(id, result.as_bytes()))
}
