//! Keeps one server in one era: finds out whether it speaks it, reads its lists, follows its changes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::json_rpc::{self, Id, Message, Shape, code};
use protocol::mcp::{Era, Version};
use resources::ProtocolPin;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Server, Status, UNCORRELATED_MAX};
use crate::conversation::{Conversation, Hello, Outgoing, Way, own_info};
use crate::failure::UpstreamFailure;
use crate::inventory::Inventory;
use crate::upstream::{Answer, Frames};

/// The first wait after a failure; each further failure doubles it.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// The longest wait after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long "does not speak this era" is believed (`mcp-requirements` calls for ageing legacy verdicts).
const VERDICT_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often lists are read again when the server announces no changes and names no time.
const POLL: Duration = Duration::from_secs(300);
/// The shortest time between two reads of the lists.
const POLL_MIN: Duration = Duration::from_secs(1);
/// Changes within this time are read together.
const SETTLE: Duration = Duration::from_millis(50);
/// How long the stream of changes may take to open.
const STREAM_WAIT: Duration = Duration::from_secs(2);
/// How long what a dead server offered stays listed.
const STALE_MAX: Duration = Duration::from_secs(600);

/// Keeps `server` until the task is dropped.
pub(super) async fn keep(server: Arc<Server>, era: Era) {
    let Some(version) = server.pinned(era) else {
        server.set(
            era,
            Status::NotSpoken("its `protocol` is pinned to another revision".into()),
        );
        return;
    };
    let mut backoff = BACKOFF_FIRST;
    loop {
        let opened = Instant::now();
        let failure = match server.visit(era, version).await {
            Ok(()) => UpstreamFailure::NoAnswer {
                server: server.name.clone(),
                reason: "the connection has ended".to_owned(),
            },
            Err(failure) => failure,
        };
        if let UpstreamFailure::OtherEra { reason, .. } = &failure {
            server.set(era, Status::NotSpoken(reason.as_str().into()));
            if !server.seems_mute() {
                server.wait(VERDICT_AGE_MAX).await;
                continue;
            }
            // Something else answers in its place, for instance an ingress while the server is rolled out.
            if server.wait(backoff).await {
                server.look_again();
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
            continue;
        }
        server.set_down(era, &failure);
        if opened.elapsed() > BACKOFF_MAX {
            backoff = BACKOFF_FIRST;
        }
        server.wait(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

impl Server {
    /// Opens a conversation, reads the lists, and follows changes until the conversation ends.
    async fn visit(&self, era: Era, version: Version) -> Result<(), UpstreamFailure> {
        let (sender, mut uncorrelated) = mpsc::channel(UNCORRELATED_MAX);
        let (conversation, opening) = match era {
            Era::Modern => self.open_modern(sender).await?,
            Era::Legacy => self.open_legacy(version, sender).await?,
        };
        let conversation = Arc::new(conversation);
        let line = if era == Era::Modern {
            &self.modern_line
        } else {
            &self.legacy_line
        };
        line.store(Some(conversation.clone()));
        let outcome = self
            .follow(era, &conversation, opening, &mut uncorrelated)
            .await;
        // A stateless HTTP server can still be asked; a connection that ended cannot.
        if conversation.is_closed() || era == Era::Legacy {
            line.store(None);
        }
        outcome
    }

    async fn open_modern(
        &self,
        sender: mpsc::Sender<Bytes>,
    ) -> Result<(Conversation, Message), UpstreamFailure> {
        let conversation =
            Conversation::modern(self.name.clone(), &self.way, self.ids.clone(), sender).await?;
        let silent_means_legacy = matches!(self.way, Way::Program(_));
        match conversation.ask("server/discover", "{}").await {
            Ok(opening) => Ok((conversation, opening)),
            Err(failure) => Err(self.modern_verdict(failure, silent_means_legacy)),
        }
    }

    /// What counts as evidence (MCP 2026-07-28, streamable-http "Backward Compatibility", stdio "Backward Compatibility").
    fn modern_verdict(
        &self,
        failure: UpstreamFailure,
        silent_means_legacy: bool,
    ) -> UpstreamFailure {
        let other = |reason: String| UpstreamFailure::OtherEra {
            server: self.name.clone(),
            era: Era::Modern.as_str(),
            reason,
        };
        match &failure {
            UpstreamFailure::Refused { code, .. } if *code == i64::from(code::HEADER_MISMATCH) => {
                failure
            }
            UpstreamFailure::Refused { message, code, .. } => {
                other(format!("it answered `{message}` ({code})"))
            }
            // Authentication, outages and limits say nothing about the era.
            UpstreamFailure::Status { status, .. }
                if matches!(status, 401 | 403 | 407 | 408 | 429 | 500..) =>
            {
                failure
            }
            UpstreamFailure::Status { status, .. } => other(format!("it answered HTTP {status}")),
            UpstreamFailure::Garbage { reason, .. } => other(reason.clone()),
            UpstreamFailure::NoAnswer { reason, .. } if silent_means_legacy => {
                other(reason.clone())
            }
            UpstreamFailure::NoAnswer { .. }
            | UpstreamFailure::Unreachable { .. }
            | UpstreamFailure::Resting { .. }
            | UpstreamFailure::SessionLost { .. }
            | UpstreamFailure::OtherEra { .. } => failure,
        }
    }

    async fn open_legacy(
        &self,
        version: Version,
        sender: mpsc::Sender<Bytes>,
    ) -> Result<(Conversation, Message), UpstreamFailure> {
        let hello = Hello {
            version,
            capabilities: "{}".to_owned(),
            client_info: own_info(),
        };
        let way = self.legacy_way();
        let opened = Conversation::legacy(
            self.name.clone(),
            &way,
            self.ids.clone(),
            &hello,
            sender.clone(),
        )
        .await;
        let failure = match (opened, &way) {
            (Ok(opened), _) => return Ok(opened),
            // 400, 404 and 405 to `initialize` may mean the transport of 2024-11-05.
            (
                Err(UpstreamFailure::Status {
                    status: status @ (400 | 404 | 405),
                    ..
                }),
                Way::Http(link, url),
            ) => {
                let older = Way::LegacySse(link.clone(), url.clone());
                match Conversation::legacy(
                    self.name.clone(),
                    &older,
                    self.ids.clone(),
                    &hello,
                    sender,
                )
                .await
                {
                    Ok(opened) => {
                        *self
                            .legacy_way
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(older);
                        return Ok(opened);
                    }
                    Err(UpstreamFailure::Unreachable { server, reason }) => {
                        UpstreamFailure::Unreachable { server, reason }
                    }
                    Err(_) => self.not_legacy(format!("it answered HTTP {status} to `initialize`")),
                }
            }
            (Err(UpstreamFailure::Refused { message, code, .. }), _) => {
                self.not_legacy(format!("it answered `{message}` ({code}) to `initialize`"))
            }
            (Err(failure), _) => failure,
        };
        Err(failure)
    }

    fn not_legacy(&self, reason: String) -> UpstreamFailure {
        UpstreamFailure::OtherEra {
            server: self.name.clone(),
            era: Era::Legacy.as_str(),
            reason,
        }
    }

    async fn follow(
        &self,
        era: Era,
        conversation: &Conversation,
        mut opening: Message,
        uncorrelated: &mut mpsc::Receiver<Bytes>,
    ) -> Result<(), UpstreamFailure> {
        let mut changes = Changes::none();
        loop {
            // First the stream, then the lists: a change between the two is not missed.
            if !changes.announced {
                // A server that is slow to open the stream is not held to be slow to start.
                let opened = timeout(STREAM_WAIT, Changes::open(conversation, &opening)).await;
                changes = opened.unwrap_or(Changes::none());
            }
            let inventory = Arc::new(Inventory::fetch(conversation, &opening).await?);
            self.health.well();
            for problem in &inventory.problems {
                tracing::warn!(server = %self.name, problem, "the server's list has a problem");
            }
            self.set(era, Status::Ready(inventory.clone()));
            match self
                .await_change(conversation, &inventory, &mut changes, uncorrelated)
                .await
            {
                Wake::Ended => return Ok(()),
                Wake::Changed => sleep(SETTLE).await,
            }
            if era == Era::Modern {
                opening = conversation.ask("server/discover", "{}").await?;
            }
        }
    }

    async fn await_change(
        &self,
        conversation: &Conversation,
        inventory: &Inventory,
        changes: &mut Changes,
        uncorrelated: &mut mpsc::Receiver<Bytes>,
    ) -> Wake {
        let announced = changes.announced || matches!(self.way, Way::Program(_));
        let poll = match inventory.ttl_ms {
            Some(ttl) if ttl > 0 => Duration::from_millis(ttl).max(POLL_MIN),
            _ => POLL,
        };
        let poll = if announced { poll.max(POLL) } else { poll };
        let poll = sleep(poll);
        tokio::pin!(poll);
        loop {
            let message = tokio::select! {
                message = uncorrelated.recv() => match message {
                    Some(message) => message,
                    None => return Wake::Ended,
                },
                message = changes.next() => match message {
                    Some(message) => message,
                    // The stream broke: something may have been missed.
                    None => { sleep(BACKOFF_FIRST).await; return Wake::Changed; }
                },
                () = self.again.notified() => return Wake::Changed,
                () = &mut poll => return Wake::Changed,
            };
            if concerns_lists(conversation, &message).await {
                return Wake::Changed;
            }
            // Only sessions that share this conversation listen; none is no failure.
            drop(self.updates.send(message));
        }
    }

    /// Waits, unless somebody wants the server looked at now; says whether the time is over.
    async fn wait(&self, time: Duration) -> bool {
        timeout(time, self.again.notified()).await.is_err()
    }

    /// Whether it was found to speak neither era: no verdict to be believed for long.
    fn seems_mute(&self) -> bool {
        let mute = |era| matches!(self.status(era), Status::NotSpoken(_));
        self.pin == ProtocolPin::Auto && mute(Era::Modern) && mute(Era::Legacy)
    }

    fn set_down(&self, era: Era, failure: &UpstreamFailure) {
        let (since, last) = match self.status(era) {
            Status::Ready(last) => {
                // It may come back as another: what it did not speak is asked again.
                self.again.notify_waiters();
                (Instant::now(), Some(last))
            }
            Status::Down { since, last, .. } => {
                (since, last.filter(|_| since.elapsed() < STALE_MAX))
            }
            Status::Starting | Status::NotSpoken(_) => (Instant::now(), None),
        };
        tracing::warn!(server = %self.name, era = era.as_str(), %failure, "the server is down");
        self.set(
            era,
            Status::Down {
                reason: failure.to_string().into(),
                since,
                last,
            },
        );
    }

    fn set(&self, era: Era, status: Status) {
        self.sender(era).send_replace(status);
        self.bell.notify_one();
    }
}

enum Wake {
    Changed,
    Ended,
}

/// The stream on which an HTTP server announces changes, if it has one.
struct Changes {
    frames: Option<Frames>,
    announced: bool,
}

impl Changes {
    const fn none() -> Self {
        Self {
            frames: None,
            announced: false,
        }
    }

    async fn open(conversation: &Conversation, opening: &Message) -> Self {
        let frames = match conversation.version().era() {
            Era::Modern => listen(conversation, opening).await,
            Era::Legacy => match conversation.events().await {
                Some(Ok(frames)) => Some(frames),
                Some(Err(_)) | None => None,
            },
        };
        Self {
            announced: frames.is_some(),
            frames,
        }
    }

    /// The next message, or `None` when the stream broke; it is then opened anew.
    async fn next(&mut self) -> Option<Bytes> {
        let Some(frames) = &mut self.frames else {
            return std::future::pending().await;
        };
        let message = frames.next().await.and_then(Result::ok);
        if message.is_none() {
            *self = Self::none();
        }
        message
    }
}

/// Opens a listen stream for list changes, where the server offers them.
async fn listen(conversation: &Conversation, opening: &Message) -> Option<Frames> {
    let opening: serde_json::Value = serde_json::from_str(opening.body()).ok()?;
    let offered = |capability: &str| {
        opening.pointer(&format!("/capabilities/{capability}/listChanged")) == Some(&true.into())
    };
    let wanted = [
        ("tools", "toolsListChanged"),
        ("prompts", "promptsListChanged"),
        ("resources", "resourcesListChanged"),
    ];
    let filter: Vec<_> = wanted
        .iter()
        .filter(|(capability, _)| offered(capability))
        .map(|(_, key)| format!("\"{key}\":true"))
        .collect();
    if filter.is_empty() {
        return None;
    }
    let id = conversation.next_id();
    let params = crate::conversation::modern_params(&format!(
        "{{\"notifications\":{{{}}}}}",
        filter.join(",")
    ));
    let message = json_rpc::request(&Id::number(id), "subscriptions/listen", &params);
    let outgoing = Outgoing {
        id,
        message,
        method: "subscriptions/listen",
        name: None,
        params: Vec::new(),
    };
    match conversation.call(outgoing).await {
        Ok(Answer::Frames(frames)) => Some(frames),
        Ok(Answer::Json(_) | Answer::Accepted | Answer::Failed { .. }) | Err(_) => None,
    }
}

/// Answers what a server asks us ourselves, and says whether a message announces a change of a list.
async fn concerns_lists(conversation: &Conversation, bytes: &Bytes) -> bool {
    let Ok(message) = Message::parse(bytes.clone()) else {
        return false;
    };
    if let Shape::Request(id) = &message.shape {
        let answer = match &*message.method {
            "ping" => json_rpc::result(id, b"{}"),
            _ => json_rpc::error(
                Some(id),
                code::METHOD_NOT_FOUND,
                "no client is behind this session",
                None,
            ),
        };
        if let Err(failure) = conversation.say(answer).await {
            tracing::debug!(%failure, "a question without a client could not be answered");
        }
        return false;
    }
    message.method.starts_with("notifications/") && message.method.ends_with("/list_changed")
}
