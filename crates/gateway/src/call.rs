//! The spine: one message of a client, from top to bottom.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use protocol::json::members;
use protocol::json_rpc::{ErrorObject, Message, Shape, code};
use protocol::mcp::{Era, Method, bridge};
use tokio::time::{Instant, timeout_at};

use crate::admit::{self, Permit};
use crate::conversation::Outgoing;
use crate::exchange::{
    Asked, Borrowed, Cancelled, Exchange, Far, Keeper, Lent, Rewrite, Rounds, fired, may_ask,
};
use crate::failure::UpstreamFailure;
use crate::gateway::Gateway;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::Inbound;
use crate::say::outgoing;
use crate::select::{self, Selected};
use crate::server::Server;
use crate::session::{Session, Ticket};
use crate::task::Tasks;
use crate::upstream::{Answer, Coming, Frames};
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
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead | Method::Complete => {
            forward(gateway, inbound, method).await
        }
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => {
            of_task(gateway, inbound, method).await
        }
        Method::Initialized | Method::Cancelled | Method::Progress | Method::RootsChanged => {
            Err(Refusal::Method(inbound.message.method.to_string()))
        }
    }
}

/// What a client says of a task. One that is held for a legacy server is answered here; a modern server's goes to that.
async fn of_task(
    gateway: &Arc<Gateway>,
    inbound: Inbound,
    method: Method,
) -> Result<Reply, Refusal> {
    let Some(id) = select::held(&inbound)? else {
        return forward(gateway, inbound, method).await;
    };
    let held = gateway.holding.find(&id)?;
    let held = held.ok_or_else(|| select::unknown_task(&inbound))?;
    let server = select::holder(&inbound.toolset, held.label());
    let server = server.ok_or_else(|| select::unknown_task(&inbound))?;
    admit::decide(&inbound.caller, &inbound.toolset, server)?;
    gateway.holding.answer(&inbound, method, &held).await
}

/// Carries one request to the server it is meant for.
async fn forward(
    gateway: &Arc<Gateway>,
    inbound: Inbound,
    method: Method,
) -> Result<Reply, Refusal> {
    let selected = select::select(&inbound, method).await?;
    let permit = admit::decide(&inbound.caller, &inbound.toolset, &selected.server)?;
    selected.server.health.admit(&selected.server.name)?;
    let Some(id) = inbound.message.id().cloned() else {
        return Err(Refusal::Params("a request needs an id".into()));
    };
    if (inbound.era(), selected.spoken) == (Era::Modern, Era::Legacy) {
        let brought = bridge::brought(inbound.message.body());
        let brought = brought.map_err(|wrong| Refusal::Params(wrong.to_string().into()))?;
        if let Some(state) = &brought.state {
            return gateway
                .parking
                .resume(&inbound, method, state, &brought)
                .await;
        }
    }
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
    let call = Call {
        gateway,
        inbound: &inbound,
        method,
        selected: &selected,
        ticket: &ticket,
    };
    let sent = timeout_at(deadline, call.send(permit, &mut cancelled))
        .await
        .unwrap_or_else(|_| Err(too_late(&selected.server)));
    if let (Err(_), Some(ticket)) = (&sent, &mut ticket) {
        ticket.over();
    }
    let (number, far, answer) = sent?;
    let exchange = Exchange {
        era: inbound.era(),
        method,
        id,
        number,
        rewrite: Rewrite {
            label: selected.label.clone(),
            server: selected.name.clone(),
            tasks: Tasks::of(&inbound.caller, &inbound.toolset),
            token: inbound.progress_token(),
        },
        far,
        ticket,
        log_level: inbound.wanted_level(),
        deadline,
        asked: false,
        server: selected.server,
    };
    exchange.settle(answer, cancelled).await
}

/// One request on its way to a server.
struct Call<'c> {
    gateway: &'c Arc<Gateway>,
    inbound: &'c Inbound,
    method: Method,
    selected: &'c Selected,
    ticket: &'c Option<Ticket>,
}

/// What a request was sent as: our number, the server's side, and what came back.
type Sent = (u64, Far, Answer);

impl Call<'_> {
    /// Says it in the server's era and names, and sends it.
    async fn send(&self, permit: Permit, cancelled: &mut Cancelled) -> Result<Sent, Refusal> {
        let server = permit.server();
        let Some(session) = self.inbound.session() else {
            return match self.selected.spoken {
                Era::Modern => {
                    let (first, answer) = self.send_modern(server).await?;
                    Ok((first.id, Far::Stateless, answer))
                }
                Era::Legacy => self.send_lent(server).await,
            };
        };
        if self.selected.spoken == Era::Legacy {
            return self.send_on_leg(server, session, cancelled).await;
        }
        let sent = tokio::select! {
            biased;
            () = fired(cancelled) => return Err(Refusal::Cancelled),
            sent = self.send_modern(server) => sent,
        };
        let (first, answer) = sent?;
        let conversation = server.shared(Era::Modern)?;
        let rounds = Rounds::new(
            session.clone(),
            self.method,
            (server.clone(), conversation),
            &first,
        );
        Ok((first.id, Far::Rounds(Box::new(rounds)), answer))
    }

    fn outgoing(&self, number: u64) -> Result<Outgoing, Refusal> {
        outgoing(self.inbound, self.method, self.selected, number)
    }

    /// A session that the server lost is opened again, once.
    async fn send_on_leg(
        &self,
        server: &Arc<Server>,
        session: &Arc<Session>,
        cancelled: &mut Cancelled,
    ) -> Result<Sent, Refusal> {
        let mut leg = tokio::select! {
            biased;
            () = fired(cancelled) => return Err(Refusal::Cancelled),
            leg = session.leg(server) => leg?,
        };
        for attempt in 0.. {
            let outgoing = self.outgoing(leg.conversation().next_id())?;
            let number = outgoing.id;
            if let Some(ticket) = self.ticket {
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
                other => return Ok((number, Far::Leg(session.clone(), leg), other?)),
            }
        }
        unreachable!("the loop returns")
    }

    /// On a session borrowed for this call; one that the server lost is opened again, once.
    async fn send_lent(&self, server: &Arc<Server>) -> Result<Sent, Refusal> {
        let inbound = self.inbound;
        let declared = inbound.parts.capabilities.as_ref();
        let declared = declared.map_or("{}", |span| inbound.raw(span));
        let capabilities = bridge::capabilities_to_legacy(declared);
        let asks = may_ask(self.method) && has_questions(&capabilities);
        for attempt in 0.. {
            let mut lease = server.lend(&inbound.caller, &capabilities, asks).await?;
            let level = inbound
                .parts
                .log_level
                .as_ref()
                .map(|span| inbound.raw(span));
            lease.want_logs(inbound.wanted_level(), level).await;
            let conversation = lease.conversation().clone();
            let outgoing = self.outgoing(conversation.next_id())?;
            let number = outgoing.id;
            lease.opens(number);
            let mut call: Pin<Box<dyn Future<Output = _> + Send>> =
                Box::pin(async move { conversation.call(outgoing).await });
            let answer = tokio::select! {
                biased;
                answer = &mut call => answer,
                // A server may ask beside its answer, and begin that only when it has its own.
                message = lease.aside() => {
                    let server = server.name.clone();
                    let coming = Coming { server, number, answer: call };
                    let ahead = VecDeque::from([Ok(message)]);
                    let frames = Frames::Ahead(Box::new((ahead, Frames::Coming(Box::new(coming)))));
                    Ok(Answer::Frames(frames))
                }
            };
            server.health.note_call(&server.name, &answer);
            match answer {
                Err(UpstreamFailure::SessionLost { .. }) if attempt == 0 => lease.lost().await,
                Err(failure) => {
                    lease.over();
                    return Err(failure.into());
                }
                Ok(answer) => {
                    let lent = Lent::new(Borrowed {
                        lease,
                        keeper: self.keeper(),
                        caller: inbound.caller.clone(),
                        toolset: inbound.toolset.name.clone(),
                        asked: Asked {
                            method: self.method,
                            message: inbound.message.clone(),
                            parts: inbound.parts.clone(),
                        },
                        capabilities,
                    });
                    return Ok((number, Far::Lent(Box::new(lent)), answer));
                }
            }
        }
        unreachable!("the loop returns")
    }

    /// A tool's call of a client that knows tasks becomes one where it cannot be answered at once.
    fn keeper(&self) -> Keeper {
        if self.method == Method::ToolsCall && self.inbound.knows_tasks() {
            Keeper::Holding(Arc::downgrade(&self.gateway.holding))
        } else {
            Keeper::Parking(Arc::downgrade(&self.gateway.parking))
        }
    }

    /// A server that finds our headers wrong has changed a tool since we listed it: its lists are read again, and the call is sent once more (streamable-http, "Custom headers").
    async fn send_modern(&self, server: &Arc<Server>) -> Result<(Outgoing, Answer), Refusal> {
        let conversation = server.shared(Era::Modern)?;
        let first = self.outgoing(conversation.next_id())?;
        let answer = conversation.call(first.clone()).await;
        server.health.note_call(&server.name, &answer);
        let answer = answer?;
        if !is_header_mismatch(&answer) {
            return Ok((first, answer));
        }
        server.refreshed().await;
        self.inbound.toolset.refresh();
        let selected = select::select(self.inbound, self.method).await?;
        if !Arc::ptr_eq(&selected.server, server) {
            return Ok((first, answer));
        }
        let second = outgoing(self.inbound, self.method, &selected, conversation.next_id())?;
        Ok((second.clone(), conversation.call(second).await?))
    }
}

/// Whether a client with these capabilities may be asked anything.
fn has_questions(capabilities: &str) -> bool {
    const KINDS: [&str; 3] = ["elicitation", "roots", "sampling"];
    members(capabilities).is_ok_and(|found| {
        let mut keys = found.iter().map(|member| member.key.as_ref());
        keys.any(|key| KINDS.contains(&key))
    })
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
