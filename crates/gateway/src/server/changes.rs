//! How a server says that its lists changed.

use std::time::Duration;

use bytes::Bytes;
use protocol::json_rpc::{self, Id, Message, Shape, code};
use protocol::mcp::Era;
use tokio::time::Instant;

use super::pace::Backoff;
use crate::conversation::{Conversation, Outgoing, modern_params};
use crate::upstream::{Answer, Frames};

/// The stream on which an HTTP server announces changes, if it has one.
#[derive(Default)]
pub(super) struct Changes {
    frames: Option<Frames>,
    opened_at: Option<Instant>,
    /// Whether there was one before: then something may have been missed.
    pub(super) was_open: bool,
    /// When a stream that broke is opened again.
    pub(super) reopen_at: Option<Instant>,
    backoff: Backoff,
}

impl Changes {
    pub(super) async fn open(conversation: &Conversation, opening: &Message) -> Option<Frames> {
        match conversation.version().era() {
            Era::Modern => listen(conversation, opening).await,
            Era::Legacy => conversation.events().await?.ok(),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.frames.is_some()
    }

    pub(super) fn may_open(&self) -> bool {
        !self.is_open() && self.reopen_at.is_none_or(|at| at <= Instant::now())
    }

    pub(super) fn opened(&mut self, frames: Option<Frames>) {
        self.was_open |= frames.is_some();
        self.frames = frames;
        self.opened_at = Some(Instant::now());
        self.reopen_at = None;
    }

    /// The next message, or `None` when the stream broke; it is then opened anew, later the shorter it lived.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let Some(frames) = &mut self.frames else {
            return std::future::pending().await;
        };
        let message = frames.next().await.and_then(Result::ok);
        if message.is_none() {
            self.frames = None;
            self.backoff
                .after(self.opened_at.map_or(Duration::ZERO, |at| at.elapsed()));
            self.reopen_at = Some(Instant::now() + self.backoff.next());
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
    let params = modern_params(&format!("{{\"notifications\":{{{}}}}}", filter.join(",")));
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
pub(super) async fn concerns_lists(conversation: &Conversation, bytes: &Bytes) -> bool {
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
