//! Legacy sessions: what one client has open, and the servers' sessions behind it.

mod deliver;
mod following;
mod handle;
mod inflight;
mod leg;
mod opened;
#[cfg(feature = "simulated")]
mod probe;
mod questions;
mod record;
mod replay;
mod sessions;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use protocol::json::{members, set_member};
use protocol::mcp::{Era, Version, bridge};
use resources::{Isolation, ServerId};
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::task::JoinSet;

use crate::binding::{is_part, shown_beside};
use crate::conversation::{Conversation, Hello};
use crate::failure::UpstreamFailure;
use crate::identify::Caller;
use crate::inventory::ListKind;
use crate::refuse::Refusal;
use crate::server::{Held, Server};
use crate::table::Epochs;
use following::Following;
use inflight::Inflight;
use record::Upstream;
use replay::Streams;

pub(crate) use handle::{SessionId, Told};
pub(crate) use inflight::Ticket;
pub(crate) use leg::Leg;
pub(crate) use opened::Holder;
pub(crate) use questions::{Questions, RoundAnswers};
pub(crate) use record::{Details, LAST_USE_GRAIN, Records};
pub(crate) use replay::{Event, EventIds, Numbered, Reader, Resumed};
pub(crate) use sessions::{AGE_MAX, IDLE_MAX, Sessions};

/// Resources one session may subscribe to.
const SUBSCRIPTIONS_MAX: usize = 1000;

/// One legacy session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// What the client knows it by.
    pub(crate) handle: Box<str>,
    /// Whose it is: possession of the handle proves nothing.
    pub(crate) caller: Caller,
    /// The toolset it was opened on.
    pub(crate) toolset: Arc<str>,
    /// The revision agreed on.
    pub(crate) version: Version,
    capabilities: Box<str>,
    client_info: Box<str>,
    /// Seconds since the sessions' start.
    used: AtomicU64,
    /// When it is over, used or not, counted likewise.
    ends: u64,
    /// The same in seconds since 1970.
    pub(crate) expires_at: u64,
    /// When its use was last written, counted as `used`.
    noted: AtomicU64,
    /// Where it is written what another process would need.
    records: Option<Arc<Records>>,
    me: Weak<Self>,
    /// Whether it belongs to one line, whose end is its end.
    on_line: AtomicBool,
    /// The lists as the client knows them: what changed since is said on its next stream.
    pub(crate) heard: Arc<Heard>,
    state: Mutex<State>,
}

/// The lists as a client knows them.
pub(crate) type Heard = Mutex<Epochs>;

#[derive(Debug, Default)]
struct State {
    /// Nothing is opened in it any more.
    ended: bool,
    legs: Vec<Arc<Leg>>,
    /// Held while a leg to this server is opened, so that each is opened once and none waits for another.
    opening: HashMap<ServerId, Arc<tokio::sync::Mutex<()>>>,
    /// Openings under way; they come to an end even if the client does not wait for them.
    openings: JoinSet<()>,
    inflight: Inflight,
    questions: Questions,
    streams: Streams,
    log_level: Option<Box<str>>,
    subscriptions: Vec<Subscription>,
    /// Modern servers that tell of resources.
    following: Vec<Following>,
    /// Servers' sessions that another process has left, until they are used.
    former: Vec<Upstream>,
}

/// One resource whose updates the client wants.
#[derive(Debug)]
struct Subscription {
    shown: Box<str>,
    server: ServerId,
    own: Box<str>,
    /// The share in the subscription, where a server's session is shared.
    _held: Option<Held>,
}

/// What a client says of itself in `initialize`.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) version: Version,
    pub(crate) capabilities: Box<str>,
    pub(crate) client_info: Box<str>,
}

/// What a modern server is told of a legacy client with every request.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    client_info: Box<str>,
    pub(crate) capabilities: String,
    log_level: Option<Box<str>>,
}

impl Standing {
    /// In the words of the wire.
    pub(crate) fn said(&self) -> bridge::Standing<'_> {
        bridge::Standing {
            client_info: &self.client_info,
            capabilities: &self.capabilities,
            log_level: self.log_level.as_deref(),
        }
    }
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
        let opening = self.opening(&server.id).await;
        if let Some(leg) = self.known_leg(server) {
            return Ok(leg);
        }
        // What belonged to the server before a reload, or had ended, makes room.
        let id = server.id.clone();
        let replaces = move |known: &Arc<Leg>| known.server().id == id;
        self.open(server.clone(), opening, replaces).await
    }

    /// Opens a conversation anew that the server has lost, unless that was done; the lost one stays until then.
    async fn reopen(self: &Arc<Self>, lost: &Arc<Leg>) -> Result<(), UpstreamFailure> {
        let opening = self.opening(&lost.server().id).await;
        let (server, lost) = (lost.server().clone(), Arc::downgrade(lost));
        let is_lost = move |known: &Arc<Leg>| Arc::as_ptr(known) == lost.as_ptr();
        if !self.state().legs.iter().any(&is_lost) {
            return Ok(());
        }
        self.open(server, opening, is_lost).await.map(drop)
    }

    /// Waits until nobody else opens a leg to this server.
    async fn opening(&self, server: &ServerId) -> OwnedMutexGuard<()> {
        let lock = self
            .state()
            .opening
            .entry(server.clone())
            .or_default()
            .clone();
        lock.lock_owned().await
    }

    /// Opens a leg in the place of others. A client that hangs up meanwhile does not stop it half way: the server would keep a session that nobody knows.
    async fn open(
        self: &Arc<Self>,
        server: Arc<Server>,
        opening: OwnedMutexGuard<()>,
        replaces: impl Fn(&Arc<Leg>) -> bool + Send + 'static,
    ) -> Result<Arc<Leg>, UpstreamFailure> {
        let (session, name) = (self.clone(), server.name.clone());
        let (done, opened) = oneshot::channel();
        {
            let mut state = self.state();
            if state.ended {
                return Err(ended(&name));
            }
            while state.openings.try_join_next().is_some() {}
            state.openings.spawn(async move {
                let _opening = opening;
                let leg = match Leg::open(&session, &server).await {
                    Ok(leg) => session.take_in(leg, replaces).await,
                    Err(failure) => Err(failure),
                };
                // Whoever hung up will find it when it comes back.
                drop(done.send(leg));
            });
        }
        opened.await.unwrap_or_else(|_| Err(ended(&name)))
    }

    /// Makes an open leg the session's; if that has ended meanwhile, the leg ends as well.
    async fn take_in(
        &self,
        leg: Arc<Leg>,
        replaces: impl Fn(&Arc<Leg>) -> bool,
    ) -> Result<Arc<Leg>, UpstreamFailure> {
        let replaced = {
            let mut state = self.state();
            (!state.ended).then(|| {
                let replaced = state.legs.extract_if(.., |known| replaces(known)).collect();
                state.legs.push(leg.clone());
                replaced
            })
        };
        if let Some(replaced) = replaced {
            let replaced: Vec<Arc<Leg>> = replaced;
            for gone in replaced {
                // Opened for a call that began before a reload: nobody else knows of it any more.
                let server = gone.server().clone();
                server.leases.later(gone.retire());
            }
            self.changed();
            return Ok(leg);
        }
        leg.end().await;
        Err(ended(&leg.server().name))
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

    /// Ends it for the client: its stream ends, and no conversation is opened any more.
    fn close(&self) {
        let mut state = self.state();
        state.ended = true;
        state.streams.end_own();
        state.following.clear();
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Takes out all conversations, for the end.
    pub(crate) fn take_legs(&self) -> Vec<Arc<Leg>> {
        self.close();
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

    /// What a modern server is told of the client with every request.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            client_info: self.client_info.clone(),
            capabilities: with_tasks(bridge::capabilities_to_modern(&self.capabilities)),
            log_level: self.log_level(),
        }
    }

    /// Whether servers may ask the client anything.
    pub(crate) fn may_be_asked(&self) -> bool {
        const KINDS: [&str; 3] = ["elicitation", "roots", "sampling"];
        members(&self.capabilities).is_ok_and(|found| {
            let mut keys = found.iter().map(|member| member.key.as_ref());
            keys.any(|key| KINDS.contains(&key))
        })
    }

    /// What opens a server's session in this client's name.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            version: self.version,
            capabilities: self.capabilities.to_string(),
            client_info: self.client_info.to_string(),
        }
    }

    /// The client has listed this now.
    pub(crate) fn has_listed(&self, kind: ListKind, now: Epochs) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.catch_up(kind, now);
    }

    /// Remembers the log level for conversations opened later.
    pub(crate) fn set_log_level(&self, level: &str) {
        self.state().log_level = Some(level.into());
        self.changed();
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
        held: Option<Held>,
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
            _held: held,
        });
        drop(state);
        self.changed();
        Ok(())
    }

    /// Forgets a subscription.
    pub(crate) fn unsubscribe(&self, shown: &str) {
        self.state()
            .subscriptions
            .retain(|known| *known.shown != *shown);
        self.changed();
    }

    /// The session that another process has left at a server; it is taken once.
    fn former(&self, server: &ServerId) -> Option<Upstream> {
        let mut state = self.state();
        let at = state
            .former
            .iter()
            .position(|left| *left.server == *server.as_str())?;
        Some(state.former.swap_remove(at))
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

    /// The subscriptions to one server: shown URIs beside its own.
    pub(crate) fn subscriptions_of(&self, server: &ServerId) -> Vec<(String, String)> {
        let state = self.state();
        let known = state.subscriptions.iter();
        known
            .filter(|known| known.server == *server)
            .map(|known| (known.shown.to_string(), known.own.to_string()))
            .collect()
    }

    /// The servers whose resources the client subscribed to.
    fn subscribed_servers(&self) -> HashSet<ServerId> {
        let state = self.state();
        let known = state.subscriptions.iter();
        known.map(|known| known.server.clone()).collect()
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

    /// What the client calls a server's resource that it subscribed to, or a part of such a resource if `parts` count.
    fn subscribed_as(&self, server: &ServerId, own: &str, parts: bool) -> Option<Box<str>> {
        let state = self.state();
        let known = || {
            state
                .subscriptions
                .iter()
                .filter(|known| known.server == *server)
        };
        let exactly = known().find(|known| *known.own == *own);
        if let Some(known) = exactly {
            return Some(known.shown.clone());
        }
        // A part of the resource subscribed to (server/resources, "Subscriptions").
        let mut wholes = known().filter(|known| parts && is_part(own, &known.own));
        Some(shown_beside(&wholes.next()?.shown, own).into())
    }

    /// Its messages travel on one line of the client's, which is open as long as the session.
    pub(crate) fn put_on_line(&self) {
        self.on_line.store(true, Ordering::Relaxed);
    }

    /// The session was used at `now`, in seconds since the sessions' start.
    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
        if now.saturating_sub(self.noted.load(Ordering::Relaxed)) > LAST_USE_GRAIN.as_secs() {
            self.noted.store(now, Ordering::Relaxed);
            self.changed();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client need not know of tasks: we wait for them in its place.
fn with_tasks(capabilities: String) -> String {
    let extensions = members(&capabilities).ok().and_then(|found| {
        let known = found.iter().find(|member| member.key == "extensions");
        Some(known?.value.to_owned())
    });
    let extensions = extensions.unwrap_or_else(|| "{}".to_owned());
    set_member(&extensions, bridge::TASKS_EXTENSION, "{}")
        .and_then(|extensions| set_member(&capabilities, "extensions", &extensions))
        .unwrap_or(capabilities)
}

/// Whether `server` gives every session its own conversation.
pub(crate) fn is_exclusive(server: &Server) -> bool {
    server.isolation == Isolation::PerSession
}

fn ended(server: &Arc<str>) -> UpstreamFailure {
    UpstreamFailure::Unreachable {
        server: server.clone(),
        reason: "the client's session has ended".to_owned(),
    }
}

/// The conversation behind a leg, whoever shares it.
pub(crate) type Shared = Arc<Conversation>;
