//! Questions of servers to the client, and whose they are.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use protocol::json::{Splice, members, span_of};
use protocol::json_rpc::{self, Id, Message};
use tokio::sync::mpsc;

use super::Leg;

/// Questions open at once in one session; one more, and the oldest is taken for forgotten.
const QUESTIONS_MAX: usize = 256;

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
    asker: Asker,
    /// The client's request it was asked in, if it was.
    call: Option<Id>,
}

/// Who waits for the answer.
#[derive(Debug)]
enum Asker {
    /// A legacy server, in a request of its own.
    Server {
        /// The server's own id.
        own: Id,
        leg: Weak<Leg>,
        /// The server's progress token for it, raw; the client knows the question's number instead.
        token: Option<Box<str>>,
    },
    /// A round of a call at a modern server.
    Round(RoundAnswers, Box<str>),
}

/// Where the answers of a round go: the question's key, and the client's answer.
pub(crate) type RoundAnswers = mpsc::Sender<(Box<str>, Message)>;

/// Where a client's answer went.
pub(crate) enum Answered {
    /// To this server, in these bytes.
    Server(Arc<Leg>, Bytes),
    /// To the call that waits for it.
    Round,
}

impl Question {
    fn is_of(&self, asked_on: &Arc<Leg>, asked_as: &Id) -> bool {
        match &self.asker {
            Asker::Server { own, leg, .. } => {
                own == asked_as && leg.as_ptr() == Arc::as_ptr(asked_on)
            }
            Asker::Round(..) => false,
        }
    }

    fn lives(&self) -> bool {
        match &self.asker {
            Asker::Server { leg, .. } => leg.upgrade().is_some_and(|leg| !leg.is_closed()),
            Asker::Round(answers, _) => !answers.is_closed(),
        }
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
        self.open
            .retain(|known| known.lives() && !known.is_of(leg, &own));
        self.number();
        let token = token(message.body());
        let mut splice = Splice::new();
        splice.replace(span, self.next.to_string());
        if let Some(token) = token {
            // Two servers may both use `1`.
            splice.replace(span_of(&message.bytes, token), self.next.to_string());
        }
        self.open.push(Question {
            shown: self.next,
            asker: Asker::Server {
                own,
                leg: Arc::downgrade(leg),
                token: token.map(Into::into),
            },
            call: call.cloned(),
        });
        Some(splice.apply(&message.bytes).into())
    }

    /// Opens a question of a round, and gives it as the client gets it.
    pub(crate) fn ask_in_round(
        &mut self,
        method: &str,
        params: &str,
        call: &Id,
        key: &str,
        answers: &RoundAnswers,
    ) -> Option<Bytes> {
        self.open.retain(Question::lives);
        // A call that waits here would wait in vain if its question made room for another.
        if self.open.len() >= QUESTIONS_MAX {
            return None;
        }
        self.number();
        self.open.push(Question {
            shown: self.next,
            asker: Asker::Round(answers.clone(), key.into()),
            call: Some(call.clone()),
        });
        Some(json_rpc::request(&Id::number(self.next), method, params))
    }

    /// Makes room, and the next number.
    fn number(&mut self) {
        let is_server = |open: &Question| matches!(open.asker, Asker::Server { .. });
        if self.open.len() >= QUESTIONS_MAX
            && let Some(oldest) = self.open.iter().position(is_server)
        {
            self.open.remove(oldest);
        }
        self.next += 1;
    }

    /// Questions of calls that are open. What a server asks outside any call stays open with the session.
    #[cfg(feature = "simulated")]
    pub(super) fn count(&self) -> usize {
        let known = self.open.iter();
        known
            .filter(|known| known.call.is_some() && known.lives())
            .count()
    }

    /// Forgets a question that cannot be put to the client.
    pub(super) fn forget(&mut self, leg: &Arc<Leg>, own: &Id) {
        self.open.retain(|known| !known.is_of(leg, own));
    }

    /// Whether something asked in a call is still open.
    pub(super) fn any_in(&self, call: &Id) -> bool {
        let is_of_call = |question: &Question| question.call.as_ref() == Some(call);
        self.open.iter().any(is_of_call)
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
    pub(crate) fn answered(&mut self, message: &Message) -> Option<Answered> {
        let (id, span) = (message.id()?, message.id_span()?);
        let at = self
            .open
            .iter()
            .position(|question| Id::number(question.shown) == *id)?;
        let question = self.open.remove(at);
        match question.asker {
            Asker::Server { own, leg, .. } => {
                let mut splice = Splice::new();
                splice.replace(span, own.raw());
                let bytes = splice.apply(&message.bytes).into();
                Some(Answered::Server(leg.upgrade()?, bytes))
            }
            Asker::Round(answers, key) => {
                answers.try_send((key, message.clone())).ok()?;
                Some(Answered::Round)
            }
        }
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
        let Asker::Server {
            leg,
            token: Some(own),
            ..
        } = &question.asker
        else {
            return None;
        };
        let mut splice = Splice::new();
        splice.replace(span_of(&message.bytes, token.value), own.to_string());
        Some((leg.upgrade()?, splice.apply(&message.bytes).into()))
    }
}

fn token(params: &str) -> Option<&str> {
    let found = members(params).ok()?;
    let meta = members(found.iter().find(|member| member.key == "_meta")?.value).ok()?;
    meta.iter()
        .find(|member| member.key == "progressToken")
        .map(|member| member.value)
}
