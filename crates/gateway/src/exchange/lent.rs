//! A legacy server behind a modern client (mcp-requirements §2.4 D).
//!
//! What the server asks ends the client's request with `input_required`, and the call waits, open, for the client's next request.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use protocol::json::members;
use protocol::json_rpc::{self, ErrorObject, Id, Message, Shape, code};
use protocol::mcp::Method;
use protocol::mcp::bridge::{self, ModernError};
use tokio::time::Instant;

use super::rounds::may_ask;
use crate::identify::Caller;
use crate::lease::Lease;
use crate::park::Parking;
use crate::request::Parts;

/// A server asks the questions of a round at once or shortly after one another: how long none may come until the round is taken for whole.
const ROUND_WAIT: Duration = Duration::from_millis(60);
/// Questions that wait for answers in one call; one more is refused.
const QUESTIONS_MAX: usize = 32;

/// A call on a borrowed session.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(super) lease: Lease,
    pub(super) parking: Weak<Parking>,
    /// Whose call it is, and of which toolset: nobody else can go on with it.
    pub(crate) caller: Caller,
    pub(crate) toolset: Arc<str>,
    /// What a retry must repeat.
    pub(crate) asked: Asked,
    /// What the client said it can be asked, as a legacy server knows it.
    capabilities: String,
    pending: Vec<Pending>,
    number: u32,
    round_until: Option<Instant>,
    /// What the server has said and nobody has looked at.
    refused: VecDeque<(Id, i32, &'static str)>,
}

#[derive(Debug)]
struct Pending {
    key: String,
    /// The server's own id.
    own: Id,
    method: String,
    /// The entry of `inputRequests`.
    entry: String,
}

/// The client's request, as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) message: Message,
    pub(crate) parts: Parts,
}

/// What a call on a borrowed session is opened with.
#[derive(Debug)]
pub(crate) struct Borrowed {
    pub(crate) lease: Lease,
    pub(crate) parking: Weak<Parking>,
    pub(crate) caller: Caller,
    pub(crate) toolset: Arc<str>,
    pub(crate) asked: Asked,
    pub(crate) capabilities: String,
}

impl Lent {
    pub(crate) fn new(borrowed: Borrowed) -> Self {
        Self {
            lease: borrowed.lease,
            parking: borrowed.parking,
            caller: borrowed.caller,
            toolset: borrowed.toolset,
            asked: borrowed.asked,
            capabilities: borrowed.capabilities,
            pending: Vec::new(),
            number: 0,
            round_until: None,
            refused: VecDeque::new(),
        }
    }

    /// When the questions that have come are taken for a whole round.
    pub(super) fn round_until(&self) -> Option<Instant> {
        self.round_until.filter(|_| !self.pending.is_empty())
    }

    /// Whether the client has to be asked something before the call can go on.
    pub(super) const fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes a question of the server.
    pub(super) fn take_question(&mut self, message: &Message) {
        let Some(own) = message.id().cloned() else {
            return;
        };
        if &*message.method == "ping" {
            self.refused.push_back((own, 0, ""));
            return;
        }
        let entry = bridge::question_to_modern(&message.method, message.body());
        let entry = entry.filter(|_| may_ask(&self.capabilities, &message.method));
        let (Some(entry), true) = (entry, self.pending.len() < QUESTIONS_MAX) else {
            let text = "this question cannot be put to the client";
            self.refused.push_back((own, code::METHOD_NOT_FOUND, text));
            return;
        };
        self.number += 1;
        let kind = message.method.split('/').next().unwrap_or_default();
        self.pending.push(Pending {
            key: format!("{kind}-{}", self.number),
            own,
            method: message.method.to_string(),
            entry,
        });
        self.round_until = Some(Instant::now() + ROUND_WAIT);
    }

    /// The server no longer wants an answer.
    pub(super) fn withdraw(&mut self, message: &Message) {
        let withdrawn = members(message.body()).ok().and_then(|found| {
            Id::from_raw(found.iter().find(|member| member.key == "requestId")?.value)
        });
        self.pending
            .retain(|pending| Some(&pending.own) != withdrawn.as_ref());
    }

    /// Answers what the client is not asked.
    pub(super) async fn refuse(&mut self) {
        while let Some((own, code, text)) = self.refused.pop_front() {
            let answer = if code == 0 {
                json_rpc::result(&own, b"{}")
            } else {
                json_rpc::error(Some(&own), code, text, None)
            };
            self.say(answer).await;
        }
    }

    /// The result that asks the client, raw JSON.
    pub(super) fn input_required(&self, state: &str) -> String {
        let questions: Vec<(String, String)> = self
            .pending
            .iter()
            .map(|pending| (pending.key.clone(), pending.entry.clone()))
            .collect();
        bridge::input_required(&questions, Some(state))
    }

    /// Passes on what the client brought. Keys that were not asked mean nothing; what is no answer is asked again.
    pub(crate) async fn answer(&mut self, brought: &[(String, String)]) {
        let mut open = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let answer = brought.iter().find(|(key, _)| *key == pending.key);
            match answer.and_then(|(_, raw)| bridge::answer_to_legacy(raw)) {
                Some(answer) => {
                    self.say(json_rpc::result(&pending.own, answer.as_bytes()))
                        .await;
                }
                None => open.push(pending),
            }
        }
        self.pending = open;
        self.round_until = None;
    }

    /// Nobody will answer any more.
    pub(crate) async fn give_up(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            let answer = if pending.method == "elicitation/create" {
                json_rpc::result(&pending.own, b"{\"action\":\"cancel\"}")
            } else {
                let text = "the client did not come back with an answer";
                json_rpc::error(Some(&pending.own), code::INTERNAL_ERROR, text, None)
            };
            self.say(answer).await;
        }
    }

    async fn say(&self, message: Bytes) {
        if let Err(failure) = self.lease.conversation().say(message).await {
            tracing::warn!(%failure, "an answer could not be passed on");
        }
    }

    /// The server's answer in the words of a modern client. `shown` is it with the client's names and id.
    pub(super) fn take(&self, shown: &Message, id: &Id) -> Result<Bytes, String> {
        if !matches!(shown.shape, Shape::Error(_)) {
            let result = bridge::result_to_modern(self.asked.method, shown.body());
            let result = result.ok_or("the result is not an object")?;
            return Ok(json_rpc::result(id, result.as_bytes()));
        }
        let error: ErrorObject<'_> =
            serde_json::from_str(shown.body()).map_err(|error| error.to_string())?;
        let data = error.data.map(|data| data.get());
        Ok(match bridge::error_to_modern(self.asked.method, &error) {
            ModernError::Same => {
                let (id, body) = (String::from_utf8_lossy(id.raw()), shown.body());
                format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{body}}}").into()
            }
            ModernError::Code(code) => json_rpc::error(Some(id), code, &error.message, data),
            // The call is over; the client does what the server asks for, and calls again.
            ModernError::Questions(entries) => {
                let named =
                    |(at, entry): (usize, String)| (format!("elicitation-{}", at + 1), entry);
                let questions: Vec<_> = entries.into_iter().enumerate().map(named).collect();
                json_rpc::result(id, bridge::input_required(&questions, None).as_bytes())
            }
        })
    }
}
