//! Legacy sessions: what one client has open, and the servers' sessions behind it.

mod deliver;
mod inflight;
mod leg;
mod questions;
mod sessions;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::mcp::{Era, Version};
use resources::{Isolation, ServerId};
use tokio::sync::mpsc;

use crate::conversation::{Conversation, Hello};
use crate::failure::UpstreamFailure;
use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::server::Server;
use inflight::Inflight;

pub(crate) use inflight::Ticket;
pub(crate) use leg::Leg;
pub(crate) use questions::Questions;
pub(crate) use sessions::{SessionId, Sessions};

/// Resources one session may subscribe to.
const SUBSCRIPTIONS_MAX: usize = 1000;
/// Messages kept for a client that has no stream open.
const BACKLOG_MAX: usize = 64;
/// Messages waiting in a session's stream.
pub(crate) const OUTBOX_MAX: usize = 256;

/// One legacy session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// Whose it is: possession of the id proves nothing.
    pub(crate) caller: Caller,
    /// The toolset it was opened on.
    pub(crate) toolset: Arc<str>,
    /// The revision agreed on.
    pub(crate) version: Version,
    capabilities: Box<str>,
    client_info: Box<str>,
    /// Seconds since the sessions' start.
    used: AtomicU64,
    opened: u64,
    state: Mutex<State>,
    /// Held while a leg is opened, so that each is opened once.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    legs: Vec<Arc<Leg>>,
    inflight: Inflight,
    questions: Questions,
    outbox: Option<mpsc::Sender<Bytes>>,
    backlog: VecDeque<Bytes>,
    log_level: Option<Box<str>>,
    subscriptions: Vec<Subscription>,
}

/// One resource whose updates the client wants.
#[derive(Debug)]
struct Subscription {
    shown: Box<str>,
    server: ServerId,
    own: Box<str>,
}

/// What a client says of itself in `initialize`.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) version: Version,
    pub(crate) capabilities: Box<str>,
    pub(crate) client_info: Box<str>,
}

impl Session {
    /// The conversation with `server`: its shared one, or this session's own, opened on first use.
    pub(crate) async fn leg(
        self: &Arc<Self>,
        server: &Arc<Server>,
    ) -> Result<Arc<Leg>, UpstreamFailure> {
        if let Some(leg) = self.known_leg(server) {
            return Ok(leg);
        }
        let _opening = self.opening.lock().await;
        if let Some(leg) = self.known_leg(server) {
            return Ok(leg);
        }
        let leg = Leg::open(self, server).await?;
        let mut state = self.state();
        // What belonged to the server before a reload, or had ended, makes room.
        state.legs.retain(|known| known.server().id != server.id);
        state.legs.push(leg.clone());
        Ok(leg)
    }

    /// Opens a conversation anew that the server has lost, unless that was done; the lost one stays until then.
    async fn reopen(self: &Arc<Self>, lost: &Arc<Leg>) -> Result<(), UpstreamFailure> {
        let _opening = self.opening.lock().await;
        let is_lost = |known: &Arc<Leg>| Arc::ptr_eq(known, lost);
        if !self.state().legs.iter().any(is_lost) {
            return Ok(());
        }
        let leg = Leg::open(self, lost.server()).await?;
        let mut state = self.state();
        state.legs.retain(|known| !is_lost(known));
        state.legs.push(leg);
        Ok(())
    }

    fn known_leg(&self, server: &Arc<Server>) -> Option<Arc<Leg>> {
        let state = self.state();
        state
            .legs
            .iter()
            .find(|leg| Arc::ptr_eq(leg.server(), server) && !leg.is_closed())
            .cloned()
    }

    /// All conversations open now.
    pub(crate) fn legs(&self) -> Vec<Arc<Leg>> {
        self.state().legs.clone()
    }

    /// The conversation in the place of one that the server has forgotten.
    pub(crate) async fn renewed(
        self: &Arc<Self>,
        server: &Arc<Server>,
        lost: &Arc<Leg>,
    ) -> Result<Arc<Leg>, UpstreamFailure> {
        tracing::info!(server = %server.name, "the server lost a session; it is opened again");
        self.drop_leg(lost);
        if !lost.exclusive {
            server.renewed(Era::Legacy, lost.conversation()).await;
        }
        self.leg(server).await
    }

    /// Forgets a conversation that the server has forgotten.
    fn drop_leg(&self, leg: &Arc<Leg>) {
        self.state().legs.retain(|known| !Arc::ptr_eq(known, leg));
    }

    /// Takes out all conversations, for the end.
    pub(crate) fn take_legs(&self) -> Vec<Arc<Leg>> {
        std::mem::take(&mut self.state().legs)
    }

    /// Keeps only the conversations with these servers; gives the others.
    pub(crate) fn keep_legs(&self, keep: impl Fn(&Arc<Server>) -> bool) -> Vec<Arc<Leg>> {
        let mut state = self.state();
        let (kept, gone) = std::mem::take(&mut state.legs)
            .into_iter()
            .partition(|leg| keep(leg.server()));
        state.legs = kept;
        gone
    }

    /// What opens a server's session in this client's name.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            version: self.version,
            capabilities: self.capabilities.to_string(),
            client_info: self.client_info.to_string(),
        }
    }

    /// Remembers the log level for conversations opened later.
    pub(crate) fn set_log_level(&self, level: &str) {
        self.state().log_level = Some(level.into());
    }

    /// The log level the client wants, raw JSON.
    pub(crate) fn log_level(&self) -> Option<Box<str>> {
        self.state().log_level.clone()
    }

    /// Remembers a subscription.
    ///
    /// # Errors
    /// When there are [`SUBSCRIPTIONS_MAX`] already.
    pub(crate) fn subscribe(
        &self,
        shown: &str,
        server: &ServerId,
        own: &str,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        state.subscriptions.retain(|known| *known.shown != *shown);
        if state.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(Refusal::Params(
                format!("a session has at most {SUBSCRIPTIONS_MAX} subscriptions").into(),
            ));
        }
        state.subscriptions.push(Subscription {
            shown: shown.into(),
            server: server.clone(),
            own: own.into(),
        });
        Ok(())
    }

    /// Forgets a subscription.
    pub(crate) fn unsubscribe(&self, shown: &str) {
        self.state()
            .subscriptions
            .retain(|known| *known.shown != *shown);
    }

    /// The subscriptions to one server, as the server knows them.
    pub(crate) fn subscribed_at(&self, server: &ServerId) -> Vec<Box<str>> {
        let state = self.state();
        state
            .subscriptions
            .iter()
            .filter(|known| known.server == *server)
            .map(|known| known.own.clone())
            .collect()
    }

    /// The resources of one server that the client subscribed to, as it calls them.
    fn subscriptions_shown(&self, server: &ServerId) -> Vec<Box<str>> {
        let state = self.state();
        let known = state.subscriptions.iter();
        known
            .filter(|known| known.server == *server)
            .map(|known| known.shown.clone())
            .collect()
    }

    /// What the client calls a server's resource that it subscribed to.
    fn subscribed_as(&self, server: &ServerId, own: &str) -> Option<Box<str>> {
        let state = self.state();
        let mut known = state.subscriptions.iter();
        known
            .find(|known| known.server == *server && *known.own == *own)
            .map(|known| known.shown.clone())
    }

    /// The session was used at `now`, in seconds since the sessions' start.
    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `server` gives every session its own conversation.
pub(crate) fn is_exclusive(server: &Server) -> bool {
    server.isolation == Isolation::PerSession
}

/// The conversation behind a leg, whoever shares it.
pub(crate) type Shared = Arc<Conversation>;
