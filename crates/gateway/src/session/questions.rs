//! Questions of servers to the client, and whose they are.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use protocol::json::{Splice, members, span_of};
use protocol::json_rpc::{self, Id, Message};

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
    leg: Weak<Leg>,
    /// The client's request it was asked in, if it was.
    call: Option<Id>,
    /// The server's progress token for it, raw; the client knows the question's number instead.
    token: Option<Box<str>>,
}

impl Question {
    fn is_of(&self, leg: &Arc<Leg>, own: &Id) -> bool {
        self.own == *own && self.leg.as_ptr() == Arc::as_ptr(leg)
    }
}

impl Questions {
    /// Opens a question and gives it as the client gets it; `None` when it has no id.
    pub(crate) fn ask(
        &mut self,
        leg: &Arc<Leg>,
        message: &Message,
        call: Option<&Id>,
    ) -> Option<Bytes> {
        let (own, span) = (message.id()?.clone(), message.id_span()?);
        // Servers that give up waiting rarely say so; an id used again, or a session that ended, does.
        self.open.retain(|known| {
            let lives = known.leg.upgrade().is_some_and(|leg| !leg.is_closed());
            lives && !known.is_of(leg, &own)
        });
        if self.open.len() >= QUESTIONS_MAX {
            self.open.remove(0);
        }
        self.next += 1;
        let token = token(message.body());
        let mut splice = Splice::new();
        splice.replace(span, self.next.to_string());
        if let Some(token) = token {
            // Two servers may both use `1`.
            splice.replace(span_of(&message.bytes, token), self.next.to_string());
        }
        self.open.push(Question {
            shown: self.next,
            own,
            leg: Arc::downgrade(leg),
            call: call.cloned(),
            token: token.map(Into::into),
        });
        Some(splice.apply(&message.bytes).into())
    }

    /// Forgets a question that cannot be put to the client.
    pub(super) fn forget(&mut self, leg: &Arc<Leg>, own: &Id) {
        self.open.retain(|known| !known.is_of(leg, own));
    }

    /// The call is over: nobody waits for the answers to what was asked in it. Gives what tells the client.
    pub(super) fn call_over(&mut self, call: &Id) -> Vec<Bytes> {
        let asked_in = |question: &mut Question| question.call.as_ref() == Some(call);
        let over = self.open.extract_if(.., asked_in);
        over.map(|question| {
            let params = format!(
                "{{\"requestId\":{},\"reason\":\"the call it belonged to is over\"}}",
                question.shown
            );
            json_rpc::notification("notifications/cancelled", &params)
        })
        .collect()
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
        Some((question.leg.upgrade()?, splice.apply(&message.bytes).into()))
    }

    /// The server no longer wants an answer: the notification as the client knows the question.
    pub(crate) fn withdrawn(&mut self, leg: &Arc<Leg>, message: &Message) -> Option<Bytes> {
        let found = members(message.body()).ok()?;
        let id = found.iter().find(|member| member.key == "requestId")?;
        let own = Id::from_raw(id.value)?;
        let at = self
            .open
            .iter()
            .position(|question| question.is_of(leg, &own))?;
        let question = self.open.remove(at);
        let mut splice = Splice::new();
        splice.replace(
            span_of(&message.bytes, id.value),
            question.shown.to_string(),
        );
        Some(splice.apply(&message.bytes).into())
    }

    /// Whose question a progress notification of the client concerns, and the bytes as the server knows them.
    pub(crate) fn progressed(&self, message: &Message) -> Option<(Arc<Leg>, Bytes)> {
        let found = members(message.body()).ok()?;
        let token = found.iter().find(|member| member.key == "progressToken")?;
        let question = self
            .open
            .iter()
            .find(|question| question.shown.to_string() == token.value)?;
        let mut splice = Splice::new();
        let own = question.token.as_deref()?;
        splice.replace(span_of(&message.bytes, token.value), own.to_owned());
        Some((question.leg.upgrade()?, splice.apply(&message.bytes).into()))
    }
}

fn token(params: &str) -> Option<&str> {
    let found = members(params).ok()?;
    let meta = members(found.iter().find(|member| member.key == "_meta")?.value).ok()?;
    meta.iter()
        .find(|member| member.key == "progressToken")
        .map(|member| member.value)
}
