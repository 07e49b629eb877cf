//! Legacy servers' sessions behind modern clients: opened when needed, kept between calls, lent to one call or shared.
//!
//! A legacy server learns at `initialize` what it may ask; a modern client says so with every request (mcp-requirements §2.4 D).
//! So a session belongs to one caller and one set of declared capabilities.
//! Where the server may ask something, one call has the session alone: a question that names no call is then that call's.

#[cfg(feature = "simulated")]
mod probe;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::json_rpc::{self, Message, Shape, code};
use protocol::mcp::{Era, Version};
use resources::Isolation;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Server;
use crate::conversation::{Conversation, Hello, own_info};
use crate::failure::UpstreamFailure;
use crate::identify::Caller;
use crate::upstream::{Audience, Frames};

/// Sessions of one server that rest between two calls.
const RESTING_MAX: usize = 64;
/// Sessions of one server that calls share, one for each caller and what its clients can do.
const SHARED_MAX: usize = 64;
/// A session that rested for this long is ended.
const REST_MAX: Duration = Duration::from_secs(300);
/// How long the stream may take to open on which a server asks by itself, before the call is sent.
const STREAM_WAIT: Duration = Duration::from_secs(1);
/// Messages beside the call that wait for it.
const ASIDE_MAX: usize = 64;

/// Whose session it is: the caller, and what may be asked of its client.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Borrower {
    caller: String,
    capabilities: String,
}

/// The sessions of one server that modern clients use.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    state: Mutex<State>,
    /// One session at a time is opened to be shared.
    sharing: tokio::sync::Mutex<()>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct State {
    resting: Vec<Resting>,
    shared: Vec<(Borrower, Arc<Lent>, Instant)>,
    closed: bool,
}

#[derive(Debug)]
struct Resting {
    session: Lent,
    since: Instant,
}

/// One session at the server.
#[derive(Debug)]
struct Lent {
    borrower: Borrower,
    conversation: Arc<Conversation>,
    /// Whether the server has log messages, and the lowest level it was asked for.
    logs: bool,
    level: Mutex<Option<u8>>,
    /// What the server says beside its answers, for the one call that has the session.
    aside: mpsc::Receiver<Bytes>,
    /// Whether a call has it: what is asked while none does is nobody's.
    lent: Arc<AtomicBool>,
    /// Carries that; ends with the session.
    _tasks: JoinSet<()>,
}

/// A session in the hands of one call. Dropped while the call is open, the server hears that nobody waits.
#[derive(Debug)]
pub(crate) struct Lease {
    server: Arc<Server>,
    hold: Hold,
    /// Our number for the call under way.
    open: Option<u64>,
}

#[derive(Debug)]
enum Hold {
    Alone(Option<Box<Lent>>),
    Shared(Arc<Lent>),
    /// The server's own session, which all share because its resource says so.
    Everybody(Arc<Conversation>),
}

impl Server {
    /// A session for one call of a modern client with these capabilities, as a legacy server knows them.
    pub(crate) async fn lend(
        self: &Arc<Self>,
        caller: &Caller,
        capabilities: &str,
        asks: bool,
    ) -> Result<Lease, UpstreamFailure> {
        let lease = |hold| Lease {
            server: self.clone(),
            hold,
            open: None,
        };
        if self.isolation == Isolation::Shared {
            return Ok(lease(Hold::Everybody(self.shared(Era::Legacy)?)));
        }
        let borrower = Borrower {
            caller: caller.tag(),
            capabilities: capabilities.to_owned(),
        };
        if !asks {
            return Ok(lease(Hold::Shared(self.share(borrower).await?)));
        }
        let rested = self.leases.take(&borrower);
        let session = match rested {
            Some(session) => session,
            None => self.borrow(borrower, true).await?,
        };
        Ok(lease(Hold::Alone(Some(Box::new(session)))))
    }

    async fn share(self: &Arc<Self>, borrower: Borrower) -> Result<Arc<Lent>, UpstreamFailure> {
        if let Some(known) = self.leases.shared(&borrower) {
            return Ok(known);
        }
        let _one = self.leases.sharing.lock().await;
        if let Some(known) = self.leases.shared(&borrower) {
            return Ok(known);
        }
        self.leases.make_room(&self.name)?;
        let session = Arc::new(self.borrow(borrower.clone(), false).await?);
        let mut state = self.leases.state();
        state
            .shared
            .push((borrower, session.clone(), Instant::now()));
        Ok(session)
    }

    /// Opens a session at the server.
    async fn borrow(
        self: &Arc<Self>,
        borrower: Borrower,
        alone: bool,
    ) -> Result<Lent, UpstreamFailure> {
        let hello = Hello {
            version: Version::NEWEST_LEGACY,
            capabilities: borrower.capabilities.clone(),
            client_info: own_info(),
        };
        let audience = if alone { Audience::One } else { Audience::Many };
        let (conversation, opening, uncorrelated) = self.open(&hello, audience).await?;
        let conversation = Arc::new(conversation);
        let lent = Arc::new(AtomicBool::new(alone));
        let (sender, aside) = mpsc::channel(ASIDE_MAX);
        let ear = Ear {
            conversation: conversation.clone(),
            lent: lent.clone(),
            aside: sender,
        };
        let mut tasks = JoinSet::new();
        if alone && let Ok(Some(Ok(frames))) = timeout(STREAM_WAIT, conversation.events()).await {
            tasks.spawn(ear.clone().hear_stream(frames));
        }
        tasks.spawn(ear.hear(uncorrelated));
        Ok(Lent {
            borrower,
            conversation,
            logs: opening.body().contains("\"logging\""),
            level: Mutex::new(None),
            aside,
            lent,
            _tasks: tasks,
        })
    }
}

/// Hears what a server says beside its answers.
#[derive(Clone)]
struct Ear {
    conversation: Arc<Conversation>,
    lent: Arc<AtomicBool>,
    aside: mpsc::Sender<Bytes>,
}

impl Ear {
    async fn hear_stream(self, mut frames: Frames) {
        while let Some(Ok(message)) = frames.next().await {
            self.take(message).await;
        }
    }

    async fn hear(self, mut uncorrelated: mpsc::Receiver<Bytes>) {
        while let Some(message) = uncorrelated.recv().await {
            self.take(message).await;
        }
    }

    /// Passes it to the call that has the session alone; without one, nobody can say whom it concerns.
    async fn take(&self, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes.clone()) else {
            return;
        };
        let answer = match &message.shape {
            Shape::Request(id) if &*message.method == "ping" => json_rpc::result(id, b"{}"),
            _ if self.lent.load(Ordering::Relaxed) => {
                // Nobody receives when the session ends.
                drop(self.aside.send(bytes).await);
                return;
            }
            Shape::Request(id) => {
                let text = "no client can be asked outside a call of its own";
                json_rpc::error(Some(id), code::METHOD_NOT_FOUND, text, None)
            }
            Shape::Notification | Shape::Result(_) | Shape::Error(_) => return,
        };
        if let Err(failure) = self.conversation.say(answer).await {
            tracing::debug!(%failure, "what a server asked outside a call could not be answered");
        }
    }
}

impl Leases {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of this borrower that rested last: a stateful server finds what it did there.
    fn take(&self, borrower: &Borrower) -> Option<Lent> {
        let mut state = self.state();
        state
            .resting
            .retain(|resting| !resting.session.conversation.is_closed());
        let at = state
            .resting
            .iter()
            .rposition(|resting| resting.session.borrower == *borrower)?;
        let mut session = state.resting.remove(at).session;
        // What was said to the call before belongs to nobody.
        while session.aside.try_recv().is_ok() {}
        session.lent.store(true, Ordering::Relaxed);
        Some(session)
    }

    fn shared(&self, borrower: &Borrower) -> Option<Arc<Lent>> {
        let mut state = self.state();
        state
            .shared
            .retain(|(_, known, _)| !known.conversation.is_closed());
        let (_, known, used) = state.shared.iter_mut().find(|(key, ..)| key == borrower)?;
        *used = Instant::now();
        Some(known.clone())
    }

    /// Makes room for one more shared session: the one that was used longest ago, and is not now, ends.
    fn make_room(&self, server: &Arc<str>) -> Result<(), UpstreamFailure> {
        let oldest = {
            let mut state = self.state();
            if state.shared.len() < SHARED_MAX {
                return Ok(());
            }
            let unused = state.shared.iter().enumerate();
            let oldest = unused
                .filter(|(_, (_, known, _))| Arc::strong_count(known) == 1)
                .min_by_key(|(_, (_, _, used))| *used)
                .map(|(at, _)| at);
            oldest.map(|at| state.shared.remove(at).1)
        };
        let Some(oldest) = oldest else {
            return Err(UpstreamFailure::Busy {
                server: server.clone(),
                reason: format!("{SHARED_MAX} sessions with it are in use already"),
            });
        };
        self.later(async move { oldest.conversation.end().await });
        Ok(())
    }

    /// Forgets a session that the server has forgotten.
    fn forget(&self, lost: &Arc<Lent>) {
        self.state()
            .shared
            .retain(|(_, known, _)| !Arc::ptr_eq(known, lost));
    }

    /// Puts a session to rest; the one that rested longest makes room. Gives the one that is to be ended.
    fn give_back(&self, session: Lent) -> Option<Arc<Conversation>> {
        session.lent.store(false, Ordering::Relaxed);
        let mut state = self.state();
        if state.closed {
            return Some(session.conversation);
        }
        let first = (state.resting.len() >= RESTING_MAX).then(|| state.resting.remove(0));
        let since = Instant::now();
        state.resting.push(Resting { session, since });
        first.map(|first| first.session.conversation)
    }

    /// Ends the sessions that nobody used for long.
    pub(crate) fn sweep(&self) {
        for conversation in self.drain(|since| since.elapsed() > REST_MAX) {
            self.later(async move { conversation.end().await });
        }
    }

    /// Ends all that nobody uses; those in use end when they are given back.
    pub(crate) async fn close(&self) {
        self.state().closed = true;
        let ends = self.drain(|_| true);
        futures_util::future::join_all(ends.iter().map(|conversation| conversation.end())).await;
    }

    fn drain(&self, over: impl Fn(Instant) -> bool) -> Vec<Arc<Conversation>> {
        let mut state = self.state();
        let resting = state.resting.extract_if(.., |resting| over(resting.since));
        let mut gone: Vec<_> = resting
            .map(|resting| resting.session.conversation)
            .collect();
        let unused = state.shared.extract_if(.., |(_, known, used)| {
            Arc::strong_count(known) == 1 && over(*used)
        });
        gone.extend(unused.map(|(_, known, _)| known.conversation.clone()));
        gone
    }

    /// Does something that nobody waits for.
    pub(crate) fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }
}

impl Lease {
    /// The way to the server.
    pub(crate) fn conversation(&self) -> &Arc<Conversation> {
        match &self.hold {
            Hold::Alone(session) => {
                &session
                    .as_ref()
                    .expect("it is taken only when dropped")
                    .conversation
            }
            Hold::Shared(session) => &session.conversation,
            Hold::Everybody(conversation) => conversation,
        }
    }

    /// The call that is about to be sent.
    pub(crate) const fn opens(&mut self, number: u64) {
        self.open = Some(number);
    }

    /// The call is over: nothing has to be cancelled.
    pub(crate) const fn over(&mut self) {
        self.open = None;
    }

    /// Has the server say log messages from this level up, if it has any and was not asked before.
    pub(crate) async fn want_logs(&self, level: Option<u8>, raw: Option<&str>) {
        let (session, (Some(level), Some(raw))) = (self.lent(), (level, raw)) else {
            return;
        };
        let Some(session) = session.filter(|session| session.logs) else {
            return;
        };
        let is_new = {
            let mut lowest = session.level.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = lowest.is_none_or(|lowest| level < lowest);
            if is_new {
                *lowest = Some(level);
            }
            is_new
        };
        if is_new {
            let params = format!("{{\"level\":{raw}}}");
            // A server that refuses stays as talkative as it is; what is not wanted is left out anyway.
            drop(session.conversation.ask("logging/setLevel", &params).await);
        }
    }

    /// What the server says beside its answers; never, on a session that others use as well.
    pub(crate) async fn aside(&mut self) -> Bytes {
        if let Hold::Alone(Some(session)) = &mut self.hold
            && let Some(message) = session.aside.recv().await
        {
            return message;
        }
        std::future::pending().await
    }

    /// Does something at the server that nobody waits for.
    pub(crate) fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.server.leases.later(work);
    }

    /// The server has forgotten the session: nobody gets it again.
    pub(crate) async fn lost(mut self) {
        self.open = None;
        match &mut self.hold {
            // The sessions that rest were opened before the loss: the server has forgotten them as well.
            Hold::Alone(session) => {
                if let Some(lost) = session.take() {
                    let mut state = self.server.leases.state();
                    let known = |resting: &Resting| resting.session.borrower != lost.borrower;
                    state.resting.retain(known);
                }
            }
            Hold::Shared(session) => self.server.leases.forget(session),
            Hold::Everybody(conversation) => {
                self.server.renewed(Era::Legacy, conversation).await;
            }
        }
    }

    fn lent(&self) -> Option<&Lent> {
        match &self.hold {
            Hold::Alone(Some(session)) => Some(session),
            Hold::Shared(session) => Some(session),
            Hold::Alone(None) | Hold::Everybody(_) => None,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let session = match &mut self.hold {
            Hold::Alone(session) => session.take(),
            Hold::Shared(_) | Hold::Everybody(_) => None,
        };
        let conversation = match (&self.hold, &session) {
            (Hold::Shared(session), _) => session.conversation.clone(),
            (Hold::Everybody(conversation), _) => conversation.clone(),
            (Hold::Alone(_), Some(session)) => session.conversation.clone(),
            (Hold::Alone(_), None) => return,
        };
        let Some(number) = self.open.take() else {
            let gone = session.and_then(|session| self.server.leases.give_back(*session));
            if let Some(gone) = gone {
                let server = self.server.clone();
                self.later(async move {
                    gone.end().await;
                    // What nobody holds is dropped with all that is done later.
                    drop(server);
                });
            }
            return;
        };
        let server = self.server.clone();
        self.later(async move {
            conversation.cancel(number).await;
            let gone = session.and_then(|session| server.leases.give_back(*session));
            if let Some(gone) = gone {
                gone.end().await;
            }
        });
    }
}
