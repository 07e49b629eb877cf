//! What reaches a session's client outside its own requests.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use protocol::json::{Splice, members, quote, span_of, string};
use protocol::json_rpc::{self, Id, Message, Shape, code};
use resources::ServerId;

use super::questions::{Answered, RoundAnswers};
use super::{Leg, Reader, Session};

impl Session {
    /// Opens the session's own stream, after some position or where the last reader ended; an older reader gets nothing any more.
    ///
    /// What was read is kept if it can be asked for again.
    pub(crate) fn open_stream(&self, after: Option<u64>, replays: bool) -> Reader {
        let reader = self.state().streams.read_own(after, replays);
        for leg in self.legs() {
            leg.listen();
        }
        reader
    }

    /// Whether its stream is read.
    pub(crate) fn has_stream(&self) -> bool {
        self.state().streams.is_own_read()
    }

    /// Whether its stream is read or a call goes on.
    pub(crate) fn is_in_use(&self) -> bool {
        let state = self.state();
        state.streams.is_own_read() || state.streams.has_calls()
    }

    /// Sends a message on the session's own stream, or keeps it until there is one.
    ///
    /// Says whether it will reach the client if that comes for it.
    pub(crate) fn deliver(&self, message: Bytes) -> bool {
        let mut state = self.state();
        let taken = state.streams.offer_own(message);
        if !taken && !state.ended {
            tracing::warn!("a session's stream is full; a message is dropped");
        }
        taken
    }

    /// Opens a question of a server: as the client gets it, or answered for it when that cannot be.
    ///
    /// `call` is the client's request it was asked in, if it was.
    pub(crate) async fn ask(
        &self,
        leg: &Arc<Leg>,
        message: &Message,
        call: Option<&Id>,
    ) -> Option<Bytes> {
        let Shape::Request(id) = &message.shape else {
            return None;
        };
        if &*message.method == "ping" {
            self.say(leg, json_rpc::result(id, b"{}")).await;
            return None;
        }
        // On a shared session nobody can say which client is meant (authority, "Upstream isolation").
        let question = if leg.exclusive {
            self.state().questions.ask(leg, message, call)
        } else {
            None
        };
        if question.is_none() {
            let text = "this question cannot be put to a client here";
            self.say(
                leg,
                json_rpc::error(Some(id), code::METHOD_NOT_FOUND, text, None),
            )
            .await;
        }
        question
    }

    /// Whether a question asked in a call is still open.
    pub(crate) fn is_asked_in(&self, call: &Id) -> bool {
        self.state().questions.any_in(call)
    }

    /// Opens a question of a modern server's round: as the client gets it.
    pub(crate) fn ask_in_round(
        &self,
        method: &str,
        params: &str,
        call: &Id,
        key: &str,
        answers: &RoundAnswers,
    ) -> Option<Bytes> {
        let questions = &mut self.state().questions;
        questions.ask_in_round(method, params, call, key, answers)
    }

    /// Puts a question that belongs to no call to the client; without room for it, the server learns that.
    async fn ask_aside(&self, leg: &Arc<Leg>, id: &Id, message: &Message) {
        let Some(question) = self.ask(leg, message, None).await else {
            return;
        };
        if self.deliver(question) {
            return;
        }
        self.state().questions.forget(leg, id);
        let text = "the client does not read its stream";
        let error = json_rpc::error(Some(id), code::INTERNAL_ERROR, text, None);
        self.say(leg, error).await;
    }

    /// Takes the client's answer to a question; says whether there was such a question.
    pub(crate) async fn answer(&self, message: &Message) -> bool {
        let found = self.state().questions.answered(message);
        match found {
            Some(Answered::Server(leg, bytes)) => self.say(&leg, bytes).await,
            Some(Answered::Round) => {}
            None => return false,
        }
        true
    }

    /// Takes the client's progress on a question.
    pub(crate) async fn progress(&self, message: &Message) {
        let found = self.state().questions.progressed(message);
        if let Some((leg, bytes)) = found {
            self.say(&leg, bytes).await;
        }
    }

    /// Tells every server whose session is this client's alone.
    pub(crate) async fn tell_all(&self, message: &Message) {
        for leg in self.legs().iter().filter(|leg| leg.exclusive) {
            self.say(leg, message.bytes.clone()).await;
        }
    }

    async fn say(&self, leg: &Arc<Leg>, message: Bytes) {
        if let Err(failure) = leg.conversation().say(message).await {
            tracing::warn!(server = %leg.server().name, session = ?self.id, %failure, "a message could not be passed on");
        }
    }

    /// Takes what a server says outside any call.
    pub(super) async fn take(&self, leg: &Arc<Leg>, bytes: Bytes) {
        let Ok(message) = Message::parse(bytes) else {
            return;
        };
        match &message.shape {
            Shape::Request(id) => self.ask_aside(leg, id, &message).await,
            Shape::Notification => {
                if let Some(notice) = self.notice(leg, &message) {
                    self.deliver(notice);
                }
            }
            Shape::Result(_) | Shape::Error(_) => {}
        }
    }

    /// A notification of a server as the client gets it, or `None` when it is not the client's.
    pub(crate) fn notice(&self, leg: &Arc<Leg>, message: &Message) -> Option<Bytes> {
        match &*message.method {
            "notifications/cancelled" => self.state().questions.withdrawn(leg, message),
            "notifications/resources/updated" => self.updated(leg, message),
            "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed" => {
                leg.server().look_again();
                None
            }
            // Progress without its request has lost its meaning.
            "notifications/progress" => None,
            _ => leg.exclusive.then(|| message.bytes.clone()),
        }
    }

    /// `notifications/resources/updated` with the URI as the client subscribed to it.
    fn updated(&self, leg: &Arc<Leg>, message: &Message) -> Option<Bytes> {
        let found = members(message.body()).ok()?;
        let uri = found.iter().find(|member| member.key == "uri")?;
        let own = string(uri.value)?;
        let shown = self.subscribed_as(&leg.server().id, &own, leg.exclusive)?;
        let mut splice = Splice::new();
        splice.replace(span_of(&message.bytes, uri.value), quote(&shown));
        Some(splice.apply(&message.bytes).into())
    }

    /// Says of every resource the client subscribed to that it may have changed.
    pub(super) fn missed_all(&self) {
        let servers: HashSet<ServerId> = self.subscribed_servers();
        for server in servers {
            self.missed(&server);
        }
    }

    /// Says of every resource of a server that it may have changed: its stream was broken for a while.
    pub(super) fn missed(&self, server: &ServerId) {
        for shown in self.subscriptions_shown(server) {
            let params = format!("{{\"uri\":{}}}", quote(&shown));
            self.deliver(json_rpc::notification(
                "notifications/resources/updated",
                &params,
            ));
        }
    }
}
