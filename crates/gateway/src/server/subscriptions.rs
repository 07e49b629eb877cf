//! Resources of a legacy server that somebody wants to hear of, on the server's own session.
//!
//! The server is asked once for each, however many clients want it, and told when nobody does any more (authority, "Upstream isolation").

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::json::quote;
use protocol::mcp::Era;
use tokio::sync::{broadcast, watch};

use super::{Overheard, Server, Status};
use crate::conversation::Conversation;
use crate::failure::UpstreamFailure;

/// How many want each resource.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    counts: Mutex<HashMap<String, usize>>,
    /// One change at a time, so that the server's last word is ours.
    changing: tokio::sync::Mutex<()>,
}

/// One share in a server's subscription to one resource; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    server: Arc<Server>,
    uri: String,
}

/// One listener's shares, and what it hears.
#[derive(Debug)]
pub(crate) struct Subscribed {
    server: Arc<Server>,
    held: Vec<Held>,
    line: Arc<Conversation>,
    updates: broadcast::Receiver<Overheard>,
    statuses: watch::Receiver<Status>,
}

/// What a listener hears.
pub(crate) enum Heard {
    /// The server said this.
    Message(Bytes),
    /// Something may have been missed.
    Missed,
    /// The server is gone.
    Ended,
}

impl Server {
    /// Subscribes to resources on the server's own legacy session; what it refuses is left out.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        uris: impl Iterator<Item = &str> + Send,
    ) -> Result<Subscribed, UpstreamFailure> {
        let mut subscribed = Subscribed {
            line: self.shared(Era::Legacy)?,
            server: self.clone(),
            held: Vec::new(),
            updates: self.updates.subscribe(),
            statuses: self.statuses(Era::Legacy),
        };
        for uri in uris {
            if let Ok(held) = self.hold(uri).await {
                subscribed.held.push(held);
            }
        }
        Ok(subscribed)
    }

    /// Takes a share in the subscription to one resource.
    pub(crate) async fn hold(self: &Arc<Self>, uri: &str) -> Result<Held, UpstreamFailure> {
        let line = self.shared(Era::Legacy)?;
        self.subscriptions.take(&line, uri).await?;
        Ok(Held {
            server: self.clone(),
            uri: uri.to_owned(),
        })
    }
}

impl Subscriptions {
    fn counts(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(&self, line: &Conversation, uri: &str) -> Result<(), UpstreamFailure> {
        let _one = self.changing.lock().await;
        if let Some(count) = self.counts().get_mut(uri) {
            *count += 1;
            return Ok(());
        }
        ask(line, "resources/subscribe", uri).await?;
        self.counts().insert(uri.to_owned(), 1);
        Ok(())
    }

    async fn give_back(&self, server: &Server, uri: &str) {
        let _one = self.changing.lock().await;
        let is_last = {
            let mut counts = self.counts();
            let left = counts.get_mut(uri).map_or(0, |count| {
                *count -= 1;
                *count
            });
            left == 0 && counts.remove(uri).is_some()
        };
        if let (true, Ok(line)) = (is_last, server.shared(Era::Legacy)) {
            // Nobody listens: what the server thinks of that changes nothing.
            drop(ask(&line, "resources/unsubscribe", uri).await);
        }
    }
}

async fn ask(line: &Conversation, method: &'static str, uri: &str) -> Result<(), UpstreamFailure> {
    let params = format!("{{\"uri\":{}}}", quote(uri));
    line.ask(method, &params).await.map(drop)
}

impl Subscribed {
    /// What the server honors.
    pub(crate) fn uris(&self) -> Vec<String> {
        self.held.iter().map(|held| held.uri.clone()).collect()
    }

    /// What comes next. On a session opened anew, nobody there knows what was subscribed to: it is said again.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            tokio::select! {
                update = self.updates.recv() => match update {
                    Ok(Overheard::Message(message)) => return Heard::Message(message),
                    Ok(Overheard::Gap) | Err(broadcast::error::RecvError::Lagged(_)) => {
                        return Heard::Missed;
                    }
                    Err(broadcast::error::RecvError::Closed) => return Heard::Ended,
                },
                changed = self.statuses.changed() => match changed {
                    Ok(()) if self.is_renewed().await => return Heard::Missed,
                    Ok(()) => {}
                    Err(_) => return Heard::Ended,
                },
            }
        }
    }

    async fn is_renewed(&mut self) -> bool {
        let Ok(line) = self.server.shared(Era::Legacy) else {
            return false;
        };
        if Arc::ptr_eq(&line, &self.line) {
            return false;
        }
        self.line = line;
        for held in &self.held {
            // What it refuses now is not heard of; there is nobody to tell.
            drop(ask(&self.line, "resources/subscribe", &held.uri).await);
        }
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (server, uri) = (self.server.clone(), std::mem::take(&mut self.uri));
        self.server.leases.later(async move {
            server.subscriptions.give_back(&server, &uri).await;
        });
    }
}
