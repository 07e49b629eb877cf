//! What a legacy client wants to hear of resources of modern servers: one listen stream for each server, made anew when the wishes change.

use std::sync::Arc;

use protocol::mcp::Era;
use resources::ServerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Session;
use crate::follow::{Wanted, follow, open};
use crate::server::Server;

/// Notices of one server waiting for the session's stream.
const NOTICES_MAX: usize = 64;

/// One server's stream; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Following {
    server: ServerId,
    _tasks: JoinSet<()>,
}

impl Session {
    /// Follows what the client subscribed to at a modern server; says whether the server honors all of it.
    pub(crate) async fn follow(self: &Arc<Self>, server: &Arc<Server>) -> bool {
        let _one = self.opening(&server.id).await;
        let wanted = Wanted {
            uris: self.subscriptions_of(&server.id),
            tasks: Vec::new(),
        };
        if wanted.uris.is_empty() {
            self.state()
                .following
                .retain(|known| known.server != server.id);
            return true;
        }
        let Some(opened) = open(server, Era::Modern, &wanted).await else {
            return false;
        };
        let honored = opened.wanted.uris.len() == wanted.uris.len();
        let (sender, mut notices) = mpsc::channel(NOTICES_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(server.clone(), opened, None, sender));
        let session = Arc::downgrade(self);
        tasks.spawn(async move {
            while let Some(notice) = notices.recv().await {
                let Some(session) = session.upgrade() else {
                    return;
                };
                session.deliver(notice);
            }
        });
        let mut state = self.state();
        if !state.ended {
            state.following.retain(|known| known.server != server.id);
            state.following.push(Following {
                server: server.id.clone(),
                _tasks: tasks,
            });
        }
        honored
    }
}
