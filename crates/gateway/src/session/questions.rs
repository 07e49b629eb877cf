//! Questions of servers to the client, and whose they are.

use std::sync::Arc;

use bytes::Bytes;
use protocol::json::{Splice, members, span_of};
use protocol::json_rpc::{Id, Message};

use super::Leg;

/// Questions open at once in one session; one more, and the oldest is taken for forgotten.
const QUESTIONS_MAX: usize = 64;

/// Questions of servers that the client has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: Vec<Question>,
    next: u64,
}

#[derive(Debug)]
struct Question {
    /// The number the client knows it by.
    shown: u64,
    /// The server's own id.
    own: Id,
    leg: Arc<Leg>,
    /// The server's progress token for it, raw.
    token: Option<Box<str>>,
}

impl Questions {
    /// Opens a question and gives it as the client gets it; `None` when it has no id.
    pub(crate) fn ask(&mut self, leg: &Arc<Leg>, message: &Message) -> Option<Bytes> {
        let (own, span) = (message.id()?.clone(), message.id_span()?);
        // Servers that give up waiting rarely say so; an id used again, or a session that ended, does.
        self.open.retain(|known| {
            !known.leg.is_closed() && !(known.own == own && Arc::ptr_eq(&known.leg, leg))
        });
        if self.open.len() >= QUESTIONS_MAX {
            self.open.remove(0);
        }
        self.next += 1;
        self.open.push(Question {
            shown: self.next,
            own,
            leg: leg.clone(),
            token: token(message.body()),
        });
        let mut splice = Splice::new();
        splice.replace(span, self.next.to_string());
        Some(splice.apply(&message.bytes).into())
    }

    /// Takes the client's answer: whose it is, and the bytes as the server knows them.
    pub(crate) fn answered(&mut self, message: &Message) -> Option<(Arc<Leg>, Bytes)> {
        let (id, span) = (message.id()?, message.id_span()?);
        let at = self
            .open
            .iter()
            .position(|question| Id::number(question.shown) == *id)?;
        let question = self.open.remove(at);
        let mut splice = Splice::new();
        splice.replace(span, question.own.raw());
        Some((question.leg, splice.apply(&message.bytes).into()))
    }

    /// The server no longer wants an answer: the notification as the client knows the question.
    pub(crate) fn withdrawn(&mut self, leg: &Arc<Leg>, message: &Message) -> Option<Bytes> {
        let found = members(message.body()).ok()?;
        let id = found.iter().find(|member| member.key == "requestId")?;
        let own = Id::from_raw(id.value)?;
        let at = self
            .open
            .iter()
            .position(|question| question.own == own && Arc::ptr_eq(&question.leg, leg))?;
        let question = self.open.remove(at);
        let mut splice = Splice::new();
        splice.replace(
            span_of(&message.bytes, id.value),
            question.shown.to_string(),
        );
        Some(splice.apply(&message.bytes).into())
    }

    /// Whose question a progress notification of the client concerns.
    pub(crate) fn progressed(&self, message: &Message) -> Option<Arc<Leg>> {
        let found = members(message.body()).ok()?;
        let token = found.iter().find(|member| member.key == "progressToken")?;
        let question = self
            .open
            .iter()
            .find(|question| question.token.as_deref() == Some(token.value))?;
        Some(question.leg.clone())
    }
}

fn token(params: &str) -> Option<Box<str>> {
    let found = members(params).ok()?;
    let meta = members(found.iter().find(|member| member.key == "_meta")?.value).ok()?;
    meta.iter()
        .find(|member| member.key == "progressToken")
        .map(|member| member.value.into())
}
