//! One server's session behind one client's session.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use protocol::json::quote;
use protocol::json_rpc::Message;
use protocol::mcp::Era;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::record::Upstream;
use super::{Session, Shared, is_exclusive};
use crate::conversation::Conversation;
use crate::failure::UpstreamFailure;
use crate::server::{Overheard, Server, Status, unused};
use crate::upstream::{Audience, Frames};

/// The first wait before a stream that broke is opened again; each further one doubles it.
const REOPEN_FIRST: Duration = Duration::from_secs(1);
/// The longest such wait.
const REOPEN_MAX: Duration = Duration::from_secs(30);
/// How long a call waits until what the client said in a lost session is said again.
const RESTORE_WAIT: Duration = Duration::from_secs(10);
/// How long the server's stream may take to open before the first call is sent.
const STREAM_WAIT: Duration = Duration::from_secs(1);
/// The answer to a stream that a server does not offer, or no longer knows the session of.
const NOT_FOUND: u16 = 404;

/// One server's session behind one client's session.
#[derive(Debug)]
pub(crate) struct Leg {
    server: Arc<Server>,
    conversation: Shared,
    /// Whether the server's session is this client's alone.
    pub(crate) exclusive: bool,
    session: Weak<Session>,
    /// Carries what the server says by itself; ends with the leg.
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    set: JoinSet<()>,
    listening: bool,
    /// Another process opened it, and listened until it died.
    resumed: bool,
}

impl Leg {
    /// Opens it in the client's name.
    pub(super) async fn open(
        session: &Arc<Session>,
        server: &Arc<Server>,
    ) -> Result<Arc<Self>, UpstreamFailure> {
        let tasks = Mutex::new(Tasks::default());
        let weak = Arc::downgrade(session);
        if !is_exclusive(server) {
            let conversation = server.shared(Era::Legacy)?;
            let leg = Arc::new(Self {
                server: server.clone(),
                conversation,
                exclusive: false,
                session: weak,
                tasks,
            });
            // The session that the others knew may be lost, and with it what this client subscribed to.
            if !session.subscribed_at(&server.id).is_empty() {
                leg.listen();
                drop(timeout(RESTORE_WAIT, leg.subscribe_again(session)).await);
            }
            return Ok(leg);
        }
        if let Some(leg) = Self::resume(session, server) {
            return Ok(leg);
        }
        let (conversation, answer, uncorrelated) =
            server.open(&session.hello(), Audience::One).await?;
        let conversation = Arc::new(conversation);
        let leg = Arc::new(Self {
            server: server.clone(),
            conversation,
            exclusive: true,
            session: weak,
            tasks,
        });
        leg.carry(uncorrelated);
        // What takes longer than this is missing, and was logged.
        drop(timeout(RESTORE_WAIT, leg.restore(session, answer.body())).await);
        if session.has_stream() || session.may_be_asked() {
            // A server that asks on this stream asks in vain before it is open.
            if let Some(opened) = leg.listen() {
                drop(timeout(STREAM_WAIT, opened).await);
            }
        }
        Ok(leg)
    }

    /// Takes up the server's session that another process has left; if the server has lost it, the first call finds out.
    fn resume(session: &Arc<Session>, server: &Arc<Server>) -> Option<Arc<Self>> {
        let (id, version) = session.former(&server.id)?.parsed()?;
        let (conversation, uncorrelated) = server.resume(id, version)?;
        let leg = Arc::new(Self {
            server: server.clone(),
            conversation: Arc::new(conversation),
            exclusive: true,
            session: Arc::downgrade(session),
            tasks: Mutex::new(Tasks {
                resumed: true,
                ..Tasks::default()
            }),
        });
        leg.carry(uncorrelated);
        if session.has_stream() {
            leg.listen();
        }
        Some(leg)
    }

    /// How another process could take it up, if it can.
    pub(super) fn left(&self) -> Option<Upstream> {
        let id = self.conversation.session_id()?.to_str().ok()?;
        Some(Upstream {
            server: self.server.id.as_str().into(),
            id: id.into(),
            version: self.conversation.version().as_str().into(),
        })
    }

    /// Says again what the client said in an earlier session that the server has lost.
    async fn restore(&self, session: &Session, opening: &str) {
        if let Some(level) = session
            .log_level()
            .filter(|_| opening.contains("\"logging\""))
        {
            self.tell("logging/setLevel", &format!("{{\"level\":{level}}}"))
                .await;
        }
        self.subscribe_again(session).await;
    }

    async fn subscribe_again(&self, session: &Session) {
        for uri in session.subscribed_at(&self.server.id) {
            self.tell(
                "resources/subscribe",
                &format!("{{\"uri\":{}}}", quote(&uri)),
            )
            .await;
        }
    }

    async fn tell(&self, method: &'static str, params: &str) {
        if let Err(failure) = self.conversation.ask(method, params).await {
            tracing::warn!(server = %self.server.name, %failure, method, "the session could not be restored in full");
        }
    }

    /// The server.
    pub(crate) const fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The conversation.
    pub(crate) fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// Ends the server's session, if it is this client's alone.
    pub(crate) async fn end(&self) {
        if self.exclusive {
            self.conversation.end().await;
        }
    }

    /// The same once the calls under way on it are over.
    pub(crate) async fn retire(self: Arc<Self>) {
        unused(&self, 1, self.server.total).await;
        self.end().await;
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.conversation.is_closed()
    }

    /// Opens the stream on which an HTTP server speaks by itself. Once is enough.
    ///
    /// The receiver ends once the server has opened it, or has refused to.
    pub(crate) fn listen(self: &Arc<Self>) -> Option<oneshot::Receiver<()>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut tasks.listening, true) {
            return None;
        }
        if !self.exclusive {
            let updates = self.server.updates.subscribe();
            let ear = Ear {
                conversation: self.conversation.clone(),
                leg: Arc::downgrade(self),
                session: self.session.clone(),
            };
            let mut statuses = self.server.statuses(Era::Legacy);
            // It may have been opened anew before anybody listened.
            statuses.mark_changed();
            tasks.set.spawn(ear.overhear(updates, statuses));
            return None;
        }
        let ear = Ear {
            conversation: self.conversation.clone(),
            leg: Arc::downgrade(self),
            session: self.session.clone(),
        };
        let resumed = tasks.resumed;
        let (opens, opened) = oneshot::channel();
        tasks.set.spawn(ear.listen(resumed, opens));
        Some(opened)
    }

    /// Carries what the server says outside any call.
    fn carry(self: &Arc<Self>, mut uncorrelated: mpsc::Receiver<Bytes>) {
        let (leg, session) = (Arc::downgrade(self), self.session.clone());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.set.spawn(async move {
            while let Some(message) = uncorrelated.recv().await {
                let (Some(session), Some(leg)) = (session.upgrade(), leg.upgrade()) else {
                    return;
                };
                session.take(&leg, message).await;
            }
        });
    }
}

/// Hears what a server says by itself; ends with the leg.
struct Ear {
    conversation: Shared,
    leg: Weak<Leg>,
    session: Weak<Session>,
}

impl Ear {
    /// Opens the stream, and again when it breaks; what may have been missed then is said once.
    async fn listen(self, mut broken: bool, opens: oneshot::Sender<()>) {
        let mut wait = REOPEN_FIRST;
        let mut opens = Some(opens);
        loop {
            let opened = Instant::now();
            let events = self.conversation.events().await;
            drop(opens.take());
            match events {
                Some(Ok(frames)) => {
                    if broken {
                        self.missed();
                    }
                    self.carry(frames).await;
                    broken = true;
                }
                // A server that knew the stream before has lost the session.
                Some(Err(UpstreamFailure::Status {
                    status: NOT_FOUND, ..
                })) if broken => {
                    if self.reopen().await.is_ok() {
                        return;
                    }
                }
                Some(Err(UpstreamFailure::Status { status, .. })) if status < 500 => return,
                Some(Err(_)) => broken = true,
                None => return,
            }
            if opened.elapsed() > REOPEN_MAX {
                wait = REOPEN_FIRST;
            }
            sleep(wait).await;
            wait = (wait * 2).min(REOPEN_MAX);
        }
    }

    /// Takes the updates of resources that a shared session hears of; the session knows which are its own.
    ///
    /// When that session is opened anew, nobody there knows what this client subscribed to: it is said again.
    async fn overhear(
        self,
        mut updates: broadcast::Receiver<Overheard>,
        mut statuses: watch::Receiver<Status>,
    ) {
        loop {
            let update = tokio::select! {
                update = updates.recv() => update,
                changed = statuses.changed() => match changed {
                    Ok(()) if self.is_replaced() && self.reopen().await.is_ok() => return,
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            match update {
                Ok(Overheard::Message(message)) => self.take_update(message),
                Ok(Overheard::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => self.missed(),
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Whether the server has another shared session now.
    fn is_replaced(&self) -> bool {
        let shared = self.leg.upgrade().map(|leg| leg.server.shared(Era::Legacy));
        shared.is_some_and(|now| now.is_ok_and(|now| !Arc::ptr_eq(&now, &self.conversation)))
    }

    fn take_update(&self, bytes: Bytes) {
        let (Some(session), Some(leg)) = (self.session.upgrade(), self.leg.upgrade()) else {
            return;
        };
        let updated = |message: &Message| &*message.method == "notifications/resources/updated";
        let message = Message::parse(bytes).ok().filter(updated);
        if let Some(notice) = message.and_then(|message| session.notice(&leg, &message)) {
            session.deliver(notice);
        }
    }

    async fn carry(&self, mut frames: Frames) {
        while let Some(Ok(message)) = frames.next().await {
            let (Some(session), Some(leg)) = (self.session.upgrade(), self.leg.upgrade()) else {
                return;
            };
            session.take(&leg, message).await;
        }
    }

    fn missed(&self) {
        if let (Some(session), Some(leg)) = (self.session.upgrade(), self.leg.upgrade()) {
            session.missed(&leg.server().id);
        }
    }

    async fn reopen(&self) -> Result<(), UpstreamFailure> {
        let (Some(session), Some(leg)) = (self.session.upgrade(), self.leg.upgrade()) else {
            return Ok(());
        };
        session.reopen(&leg).await?;
        session.missed(&leg.server().id);
        Ok(())
    }
}
