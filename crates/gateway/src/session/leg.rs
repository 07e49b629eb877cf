//! One server's session behind one client's session.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use protocol::json::quote;
use protocol::mcp::Era;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Session, Shared, is_exclusive};
use crate::conversation::Conversation;
use crate::failure::UpstreamFailure;
use crate::server::Server;

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
            return Ok(Arc::new(Self {
                server: server.clone(),
                conversation,
                exclusive: false,
                session: weak,
                tasks,
            }));
        }
        let (conversation, answer, uncorrelated) = server.open(&session.hello()).await?;
        let conversation = Arc::new(conversation);
        let leg = Arc::new(Self {
            server: server.clone(),
            conversation,
            exclusive: true,
            session: weak,
            tasks,
        });
        leg.carry(uncorrelated);
        leg.restore(session, answer.body()).await;
        if session.has_stream() {
            leg.listen();
        }
        Ok(leg)
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

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.conversation.is_closed()
    }

    /// Opens the stream on which an HTTP server speaks by itself. Once is enough.
    pub(crate) fn listen(self: &Arc<Self>) {
        if !self.exclusive {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut tasks.listening, true) {
            return;
        }
        let (leg, session) = (Arc::downgrade(self), self.session.clone());
        let conversation = self.conversation.clone();
        tasks.set.spawn(async move {
            let Some(Ok(mut frames)) = conversation.events().await else {
                return;
            };
            while let Some(Ok(message)) = frames.next().await {
                let (Some(session), Some(leg)) = (session.upgrade(), leg.upgrade()) else {
                    return;
                };
                session.take(&leg, message).await;
            }
        });
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
