//! A client whose messages all travel on one line: standard output, or the event stream of 2024-11-05.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use protocol::json_rpc::{self, Id, Message, Shape};
use protocol::mcp::{Era, Version};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::events;
use crate::call::call;
use crate::gateway::Gateway;
use crate::identify::Caller;
use crate::legacy;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::{self, Inbound, Parts, Standing};
use crate::session::Session;
use crate::table::Toolset;

/// Requests of one line under way at once.
const CALLS_MAX: usize = 256;
/// How long streams may take to say goodbye.
const GOODBYE_WAIT: Duration = Duration::from_millis(200);

/// One client on one line. Its calls end with it.
#[derive(Debug)]
pub(super) struct Line {
    gateway: Arc<Gateway>,
    /// Whose it is.
    caller: Caller,
    /// The endpoint's path: the toolset may be replaced while the line lives.
    path: Box<str>,
    out: mpsc::Sender<Bytes>,
    session: OnceLock<Arc<Session>>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    /// Requests that end with an answer.
    calls: JoinSet<()>,
    /// What goes on until somebody ends it: listen requests, and what the session hears.
    streams: JoinSet<()>,
    /// Modern requests, which are cancelled by id.
    modern: HashMap<Id, AbortHandle>,
}

impl Line {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        caller: Caller,
        path: Box<str>,
        out: mpsc::Sender<Bytes>,
    ) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            caller,
            path,
            out,
            session: OnceLock::new(),
            tasks: Mutex::default(),
        })
    }

    /// Whether it is this caller's, at this endpoint.
    pub(super) fn is_of(&self, caller: &Caller, path: &str) -> bool {
        self.caller == *caller && *self.path == *path
    }

    /// Takes one text of the client: a message or, in 2025-03-26, a batch.
    pub(super) async fn take(self: &Arc<Self>, bytes: Bytes) {
        match json_rpc::batch(&bytes) {
            Some(Ok(_)) if !self.takes_batches() => {
                let reason = "batches are not part of this protocol version";
                let malformed = json_rpc::Malformed::Message { reason, id: None };
                self.refuse(&malformed.into(), Era::Legacy, None).await;
            }
            Some(Ok(batch)) => {
                for message in batch {
                    self.take_one(message).await;
                }
            }
            Some(Err(malformed)) => self.refuse(&malformed.into(), Era::Legacy, None).await,
            None => self.take_one(bytes).await,
        }
    }

    fn takes_batches(&self) -> bool {
        self.session
            .get()
            .is_some_and(|session| session.version <= Version::V2025_03_26)
    }

    async fn take_one(self: &Arc<Self>, bytes: Bytes) {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(malformed) => return self.refuse(&malformed.into(), Era::Legacy, None).await,
        };
        let (era, id) = (request::era(&message, None), message.id().cloned());
        let taken = match era {
            Era::Modern => self.take_modern(message),
            Era::Legacy => self.take_legacy(message).await,
        };
        if let Err(refusal) = taken {
            self.refuse(&refusal, era, id.as_ref()).await;
        }
    }

    fn take_modern(self: &Arc<Self>, message: Message) -> Result<(), Refusal> {
        request::check_modern_body(&message, &Parts::read(&message)?)?;
        match &message.shape {
            Shape::Request(_) => self.start(message, Standing::Modern),
            Shape::Notification => {
                self.cancel_modern(&message);
                Ok(())
            }
            Shape::Result(_) | Shape::Error(_) => {
                Err(Refusal::Params("a client may not send responses".into()))
            }
        }
    }

    async fn take_legacy(self: &Arc<Self>, message: Message) -> Result<(), Refusal> {
        if &*message.method == "initialize" {
            return self.start(message, Standing::Opening);
        }
        // A notification without `_meta` tells its era by nothing else than the session.
        let Some(session) = self.session.get() else {
            self.cancel_modern(&message);
            return if message.id().is_some() {
                Err(Refusal::NoSession)
            } else {
                Ok(())
            };
        };
        match message.shape {
            Shape::Request(_) => self.start(message, Standing::Legacy(session.clone())),
            Shape::Notification | Shape::Result(_) | Shape::Error(_) => {
                legacy::take(session, &message).await
            }
        }
    }

    /// Starts a call; it answers on the line.
    fn start(self: &Arc<Self>, message: Message, standing: Standing) -> Result<(), Refusal> {
        let toolset = self.toolset()?;
        let id = message.id().cloned();
        let modern = matches!(standing, Standing::Modern);
        let inbound = Inbound {
            toolset,
            caller: self.caller.clone(),
            parts: Parts::read(&message)?,
            message,
            standing,
            mirrored: None,
        };
        let line = self.clone();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.calls.try_join_next().is_some() {}
        while tasks.streams.try_join_next().is_some() {}
        tasks.modern.retain(|_, handle| !handle.is_finished());
        if tasks.calls.len() + tasks.streams.len() >= CALLS_MAX {
            return Err(Refusal::Params(
                format!("{CALLS_MAX} requests are open already").into(),
            ));
        }
        let listens = &*inbound.message.method == protocol::mcp::Method::Listen.as_str();
        let set = if listens {
            &mut tasks.streams
        } else {
            &mut tasks.calls
        };
        let handle = set.spawn(async move { line.run(inbound).await });
        if let (true, Some(id)) = (modern, id) {
            tasks.modern.insert(id, handle);
        }
        Ok(())
    }

    async fn run(self: Arc<Self>, inbound: Inbound) {
        let (era, id) = (inbound.era(), inbound.message.id().cloned());
        match call(&self.gateway, inbound).await {
            Ok(reply) => {
                if let Reply::Opened(session, _) = &reply {
                    self.opened(session);
                }
                let mut messages = reply.messages();
                while let Some(message) = messages.next().await {
                    if self.out.send(message).await.is_err() {
                        return;
                    }
                }
            }
            Err(Refusal::Cancelled) => {}
            Err(refusal) => self.refuse(&refusal, era, id.as_ref()).await,
        }
    }

    /// What the session hears outside its requests goes to the same line.
    fn opened(self: &Arc<Self>, session: &Arc<Session>) {
        if self.session.set(session.clone()).is_err() {
            return;
        }
        let Ok(toolset) = self.toolset() else { return };
        let changes = toolset.changes.subscribe(Era::Legacy);
        let messages = events::session_messages(session, changes, self.gateway.closing());
        session.put_on_line();
        let out = self.out.clone();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.streams.spawn(async move {
            let mut messages = Box::pin(messages);
            while let Some(message) = messages.next().await {
                if out.send(message).await.is_err() {
                    return;
                }
            }
        });
    }

    /// MCP 2026-07-28 over stdio: `notifications/cancelled` names the request.
    fn cancel_modern(&self, message: &Message) {
        if &*message.method != "notifications/cancelled" {
            return;
        }
        let id = protocol::json::members(message.body())
            .ok()
            .and_then(|found| {
                Id::from_raw(found.iter().find(|member| member.key == "requestId")?.value)
            });
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = id.and_then(|id| tasks.modern.remove(&id)) {
            handle.abort();
        }
    }

    async fn refuse(&self, refusal: &Refusal, era: Era, id: Option<&Id>) {
        // Whoever does not read any more needs no answer.
        drop(self.out.send(refusal.message(era, id)).await);
    }

    fn toolset(&self) -> Result<Arc<Toolset>, Refusal> {
        self.gateway
            .table()
            .paths
            .get(&self.path)
            .cloned()
            .ok_or(Refusal::NoSuchEndpoint)
    }

    /// Lets calls finish, at most until `limit`, and streams say goodbye; nothing new may come in meanwhile.
    pub(super) async fn finish(&self, limit: Duration) {
        let (mut calls, mut streams) = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            (
                std::mem::take(&mut tasks.calls),
                std::mem::take(&mut tasks.streams),
            )
        };
        let ends = async { while calls.join_next().await.is_some() {} };
        if tokio::time::timeout(limit, ends).await.is_err() {
            tracing::warn!("some calls did not finish in time");
        }
        drop(
            tokio::time::timeout(GOODBYE_WAIT, async {
                while streams.join_next().await.is_some() {}
            })
            .await,
        );
    }

    /// Ends what is under way and the session behind the line.
    pub(super) async fn end(&self) {
        {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.calls.abort_all();
            tasks.streams.abort_all();
        }
        if let Some(session) = self.session.get() {
            self.gateway.end(session).await;
        }
    }
}
