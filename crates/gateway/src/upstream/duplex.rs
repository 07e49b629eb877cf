//! A connection that many exchanges share: a child process, or the event stream of 2024-11-05.
//!
//! Messages from the server find their exchange by id or progress token.
//! What belongs to no exchange goes to the connection's owner, and never to a client by guessing where several share the connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use protocol::json_rpc::{Message, Shape};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::failure::UpstreamFailure;

/// Messages waiting to be written.
const OUTGOING_MAX: usize = 256;
/// Messages of one exchange waiting to be read by its client; more, and the exchange fails.
const FRAMES_MAX: usize = 512;
/// Exchanges open at once on one connection.
const CALLS_MAX: usize = 1024;

/// Who is on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// One client: what names no exchange is meant for it.
    One,
    /// Several clients, or ourselves: what names no exchange is nobody's (authority, "Upstream isolation").
    Many,
}

/// One shared connection.
#[derive(Debug)]
pub(crate) struct Duplex {
    server: Arc<str>,
    outgoing: mpsc::Sender<Bytes>,
    calls: Arc<Mutex<Calls>>,
    /// The tasks that read and write; they end with the connection.
    _tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Calls {
    open: BTreeMap<u64, mpsc::Sender<Bytes>>,
    /// Why calls ended that nobody has asked about yet; they leave with their frames.
    ended: BTreeMap<u64, String>,
    /// The owner could not take a message in time.
    missed: bool,
    /// Gone once the connection has ended: that is how the owner learns of it.
    uncorrelated: Option<mpsc::Sender<Bytes>>,
    closed: Option<String>,
}

/// What the reading task hands incoming messages to.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    server: Arc<str>,
    audience: Audience,
    calls: Arc<Mutex<Calls>>,
}

impl Duplex {
    /// A connection whose `tasks` write what `wire` receives and hand what they read to the [`Switch`].
    pub(crate) fn new(
        server: Arc<str>,
        audience: Audience,
        uncorrelated: mpsc::Sender<Bytes>,
        start: impl FnOnce(Switch, mpsc::Receiver<Bytes>, &mut JoinSet<()>),
    ) -> Self {
        let (outgoing, wire) = mpsc::channel(OUTGOING_MAX);
        let calls = Arc::new(Mutex::new(Calls {
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
            missed: false,
            uncorrelated: Some(uncorrelated),
            closed: None,
        }));
        let switch = Switch {
            server: server.clone(),
            audience,
            calls: calls.clone(),
        };
        let mut tasks = JoinSet::new();
        start(switch, wire, &mut tasks);
        Self {
            server,
            outgoing,
            calls,
            _tasks: Mutex::new(tasks),
        }
    }

    /// Sends request number `id` and opens its exchange.
    ///
    /// When the frames are dropped early, `cancel` is sent.
    pub(crate) async fn call(
        &self,
        id: u64,
        message: Bytes,
        cancel: Option<Bytes>,
    ) -> Result<CallFrames, UpstreamFailure> {
        let (sender, frames) = mpsc::channel(FRAMES_MAX);
        {
            let mut calls = lock(&self.calls);
            if let Some(reason) = &calls.closed {
                return Err(UpstreamFailure::Unreachable {
                    server: self.server.clone(),
                    reason: reason.clone(),
                });
            }
            if calls.open.len() >= CALLS_MAX {
                let reason = format!("{CALLS_MAX} calls are already open on this connection");
                return Err(UpstreamFailure::Busy {
                    server: self.server.clone(),
                    reason,
                });
            }
            calls.open.insert(id, sender);
        }
        let frames = CallFrames {
            id,
            frames,
            finished: false,
            cancel,
            server: self.server.clone(),
            calls: self.calls.clone(),
            outgoing: self.outgoing.clone(),
        };
        self.send(message).await?;
        Ok(frames)
    }

    /// Sends a message that wants no answer.
    pub(crate) async fn send(&self, message: Bytes) -> Result<(), UpstreamFailure> {
        self.outgoing.send(message).await.map_err(|_| self.closed())
    }

    /// Whether the connection has ended.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.calls).closed.is_some() || self.outgoing.is_closed()
    }

    /// Whether messages without an exchange were dropped since the last time this was asked.
    pub(crate) fn take_missed(&self) -> bool {
        std::mem::take(&mut lock(&self.calls).missed)
    }

    fn closed(&self) -> UpstreamFailure {
        let reason = lock(&self.calls)
            .closed
            .clone()
            .unwrap_or_else(|| "the connection has ended".to_owned());
        UpstreamFailure::Unreachable {
            server: self.server.clone(),
            reason,
        }
    }
}

impl Switch {
    /// Hands one message to the exchange it belongs to. Never waits: whoever reads must go on reading.
    pub(crate) fn take(&self, bytes: Bytes) {
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(server = %self.server, %error, "dropped a message that is not JSON-RPC");
                return;
            }
        };
        match &message.shape {
            Shape::Result(id) | Shape::Error(Some(id)) => match number(id.raw()) {
                Some(id) => self.deliver(id, bytes),
                None => self.stray(),
            },
            Shape::Error(None) => self.stray(),
            Shape::Notification if &*message.method == "notifications/progress" => {
                match token(&message) {
                    Some(id) => self.deliver(id, bytes),
                    None => self.stray(),
                }
            }
            Shape::Notification if let Some(id) = subscription(&message) => self.deliver(id, bytes),
            // A log line or a question names no exchange here; of one client's only open call, it is that one's.
            Shape::Notification if &*message.method == "notifications/message" => {
                self.guess(bytes, true)
            }
            Shape::Request(_) if &*message.method != "ping" => self.guess(bytes, false),
            Shape::Notification | Shape::Request(_) => self.hand_over(bytes),
        }
    }

    /// The connection has ended: every open exchange ends with it.
    pub(crate) fn close(&self, reason: String) {
        let mut calls = lock(&self.calls);
        calls.closed.get_or_insert(reason);
        calls.open.clear();
        calls.ended.clear();
        calls.uncorrelated = None;
    }

    /// Ends one call, if it is open; the others go on.
    pub(crate) fn fail(&self, id: u64, reason: String) {
        let mut calls = lock(&self.calls);
        if calls.open.remove(&id).is_some() {
            calls.ended.insert(id, reason);
        }
    }

    /// A message could not be read; with exactly one call open, it was that one's answer.
    pub(crate) fn unreadable(&self, reason: String) {
        tracing::warn!(server = %self.server, reason, "dropped a message");
        let only = {
            let calls = lock(&self.calls);
            let only = calls.open.keys().next().copied();
            only.filter(|_| calls.open.len() == 1)
        };
        if let Some(id) = only {
            self.fail(id, reason);
        }
    }

    fn deliver(&self, id: u64, bytes: Bytes) {
        let full = {
            let calls = lock(&self.calls);
            let Some(sender) = calls.open.get(&id) else {
                return;
            };
            sender.try_send(bytes).is_err()
        };
        if full {
            // Bounded buffers: one slow client must not stall the others on this connection.
            self.fail(id, "the client read too slowly".to_owned());
            tracing::warn!(server = %self.server, "a call was dropped: its client reads too slowly");
        }
    }

    fn guess(&self, bytes: Bytes, only_if_single: bool) {
        if self.audience == Audience::Many {
            // A log line that names nobody is nobody's; a question is answered by the owner.
            if !only_if_single {
                self.hand_over(bytes);
            }
            return;
        }
        let latest = {
            let calls = lock(&self.calls);
            let single = calls.open.len() == 1;
            calls
                .open
                .last_key_value()
                .filter(|_| single || !only_if_single)
                .map(|(id, _)| *id)
        };
        match latest {
            Some(id) => self.deliver(id, bytes),
            None => self.hand_over(bytes),
        }
    }

    /// The owner may itself wait for an answer on this connection: it is never waited for.
    fn hand_over(&self, bytes: Bytes) {
        let mut calls = lock(&self.calls);
        let taken = calls
            .uncorrelated
            .as_ref()
            .map(|owner| owner.try_send(bytes));
        match taken {
            Some(Ok(())) => {}
            Some(Err(mpsc::error::TrySendError::Full(_))) => {
                if !std::mem::replace(&mut calls.missed, true) {
                    tracing::warn!(server = %self.server, "messages without a call come too fast; some are dropped");
                }
            }
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => {
                tracing::debug!(server = %self.server, "nobody waits for messages without a call");
            }
        }
    }

    fn stray(&self) {
        tracing::warn!(server = %self.server, "dropped an answer to a request that was never sent");
    }
}

/// The messages of one exchange on a shared connection.
#[derive(Debug)]
pub(crate) struct CallFrames {
    id: u64,
    frames: mpsc::Receiver<Bytes>,
    finished: bool,
    cancel: Option<Bytes>,
    server: Arc<str>,
    calls: Arc<Mutex<Calls>>,
    outgoing: mpsc::Sender<Bytes>,
}

impl CallFrames {
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, UpstreamFailure>> {
        if self.finished {
            return None;
        }
        match self.frames.recv().await {
            Some(bytes) => {
                self.finished = is_answer(&bytes);
                Some(Ok(bytes))
            }
            None => {
                self.finished = true;
                let mut calls = lock(&self.calls);
                let reason = calls
                    .ended
                    .remove(&self.id)
                    .or_else(|| calls.closed.clone());
                let reason = reason.unwrap_or_else(|| "the connection has ended".to_owned());
                Some(Err(UpstreamFailure::NoAnswer {
                    server: self.server.clone(),
                    reason,
                }))
            }
        }
    }
}

impl Drop for CallFrames {
    fn drop(&mut self) {
        {
            let mut calls = lock(&self.calls);
            calls.open.remove(&self.id);
            calls.ended.remove(&self.id);
        }
        if let Some(cancel) = self.cancel.take().filter(|_| !self.finished)
            && self.outgoing.try_send(cancel).is_err()
        {
            tracing::debug!(server = %self.server, "a cancellation could not be sent");
        }
    }
}

fn is_answer(bytes: &Bytes) -> bool {
    Message::parse(bytes.clone())
        .is_ok_and(|message| matches!(message.shape, Shape::Result(_) | Shape::Error(_)))
}

fn number(raw: &[u8]) -> Option<u64> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}

fn token(message: &Message) -> Option<u64> {
    #[derive(Deserialize)]
    struct Progress {
        #[serde(rename = "progressToken")]
        token: u64,
    }
    serde_json::from_str::<Progress>(message.body())
        .ok()
        .map(|progress| progress.token)
}

/// Modern: the listen request that a notification belongs to (basic/patterns/subscriptions, stdio).
fn subscription(message: &Message) -> Option<u64> {
    #[derive(Deserialize)]
    struct Tagged {
        #[serde(rename = "_meta")]
        meta: Tag,
    }
    #[derive(Deserialize)]
    struct Tag {
        #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
        id: u64,
    }
    serde_json::from_str::<Tagged>(message.body())
        .ok()
        .map(|tagged| tagged.meta.id)
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}
