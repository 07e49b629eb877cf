//! A legacy server behind a modern client (mcp-requirements §2.4 D).
//!
//! What the server asks ends the client's request with `input_required`, and the call waits, open, for the client's next request.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use protocol::json::{members, quote, string};
use protocol::json_rpc::{self, ErrorObject, Id, Message, Shape, code};
use protocol::mcp::Method;
use protocol::mcp::bridge::{self, ModernError, Question};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::held::Holding;
use super::park::Parking;
use crate::conversation::Outgoing;
use crate::failure::UpstreamFailure;
use crate::identify::Caller;
use crate::request::Parts;
use crate::server::Lease;
use crate::upstream::{Coming, Frames};

/// A server asks the questions of a round at once or shortly after one another: how long none may come until the round is taken for whole.
const ROUND_WAIT: Duration = Duration::from_millis(60);
/// Questions that wait for answers in one call; one more is refused.
const QUESTIONS_MAX: usize = 32;

/// A call on a borrowed session.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(super) lease: Lease,
    pub(super) keeper: Keeper,
    /// Whose call it is, and of which toolset: nobody else can go on with it.
    pub(crate) caller: Caller,
    pub(crate) toolset: Arc<str>,
    /// What a retry must repeat.
    pub(crate) asked: Asked,
    /// What the client said it can be asked, as a legacy server knows it.
    capabilities: String,
    /// The task that the server made of the call.
    task: Option<Created>,
    /// Whether the client has the call as a task: then it ends with a result or an error, and no other way.
    pub(super) is_held: bool,
    pending: Vec<Pending>,
    number: u32,
    round_until: Option<Instant>,
    /// Answers that the server did not take.
    failures: (
        mpsc::Sender<UpstreamFailure>,
        mpsc::Receiver<UpstreamFailure>,
    ),
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
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) message: Message,
    pub(crate) parts: Parts,
}

/// What a call on a borrowed session is opened with.
#[derive(Debug)]
pub(crate) struct Borrowed {
    pub(crate) lease: Lease,
    pub(crate) keeper: Keeper,
    pub(crate) caller: Caller,
    pub(crate) toolset: Arc<str>,
    pub(crate) asked: Asked,
    pub(crate) capabilities: String,
}

/// Who keeps the call when it goes on without its client's request.
#[derive(Debug, Clone)]
pub(crate) enum Keeper {
    /// It waits until the client calls again.
    Parking(Weak<Parking>),
    /// The client knows tasks: it gets one.
    Holding(Weak<Holding>),
}

/// A task that the server made of the call.
#[derive(Debug)]
pub(super) struct Created {
    /// The server's own id.
    pub(super) id: String,
    /// The server's whole answer, raw.
    pub(super) result: String,
    /// Whether its result was asked for.
    asked: bool,
}

/// MCP 2026-07-28, basic/patterns/mrtr: only these may end with `input_required`.
pub(crate) const fn may_ask(method: Method) -> bool {
    matches!(
        method,
        Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead
    )
}

/// Waits for the result of a task.
const TASK_RESULT: &str = "tasks/result";

/// The task in the server's answer, if it is one.
fn created(shown: &Message) -> Option<Created> {
    if !matches!(shown.shape, Shape::Result(_)) {
        return None;
    }
    let found = members(shown.body()).ok()?;
    let task = members(found.iter().find(|member| member.key == "task")?.value).ok()?;
    let id = task.iter().find(|member| member.key == "taskId")?;
    Some(Created {
        id: string(id.value)?.into_owned(),
        result: shown.body().to_owned(),
        asked: false,
    })
}

impl Drop for Lent {
    /// Nobody waits any more: a task that goes on is for nothing.
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            let conversation = self.lease.conversation().clone();
            let params = format!("{{\"taskId\":{}}}", quote(&task.id));
            self.lease.later(async move {
                drop(conversation.ask("tasks/cancel", &params).await);
            });
        }
    }
}

impl Lent {
    pub(crate) fn new(borrowed: Borrowed) -> Self {
        Self {
            lease: borrowed.lease,
            keeper: borrowed.keeper,
            caller: borrowed.caller,
            toolset: borrowed.toolset,
            asked: borrowed.asked,
            capabilities: borrowed.capabilities,
            task: None,
            is_held: false,
            pending: Vec::new(),
            number: 0,
            round_until: None,
            failures: mpsc::channel(1),
            refused: VecDeque::new(),
        }
    }

    /// When the questions that have come are taken for a whole round.
    pub(super) fn round_until(&self) -> Option<Instant> {
        self.round_until.filter(|_| !self.pending.is_empty())
    }

    /// Takes the questions that have come for a whole round.
    pub(super) const fn close_round(&mut self) {
        self.round_until = None;
    }

    /// Whether the client gets the call as a task.
    pub(super) const fn may_be_held(&self) -> bool {
        matches!(self.keeper, Keeper::Holding(_))
    }

    /// The task that the server made of the call, while it is under way.
    pub(super) const fn task(&self) -> Option<&Created> {
        self.task.as_ref()
    }

    /// Whether the result of a task has to be asked for.
    pub(super) fn awaits_result(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.asked)
    }

    /// The answer in which the result would have come did not come whole: it is asked for again.
    pub(super) fn missed_result(&mut self) {
        if let Some(task) = &mut self.task {
            task.asked = false;
        }
    }

    /// Asks for the result of the task, after a pause; the server answers when there is one, and asks its questions meanwhile (MCP 2025-11-25, basic/utilities/tasks).
    ///
    /// Nothing when there is no task.
    pub(super) fn ask_result(
        &mut self,
        server: Arc<str>,
        pause: Duration,
    ) -> Option<(u64, Frames)> {
        let task = self.task.as_mut()?;
        task.asked = true;
        let conversation = self.lease.conversation().clone();
        let number = conversation.next_id();
        let params = format!("{{\"taskId\":{}}}", quote(&task.id));
        let outgoing = Outgoing {
            id: number,
            message: json_rpc::request(&Id::number(number), TASK_RESULT, &params),
            method: TASK_RESULT,
            name: None,
            params: Vec::new(),
        };
        self.lease.opens(number);
        // What it asks meanwhile may come beside the answer, and before that begins.
        let answer = Box::pin(async move {
            sleep(pause).await;
            conversation.call(outgoing).await
        });
        let coming = Coming {
            server,
            number,
            answer,
        };
        Some((number, Frames::Coming(Box::new(coming))))
    }

    /// Whether the client has to be asked something before the call can go on.
    pub(super) const fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes care of what does not concern the client while the call waits; says whether that was all.
    pub(super) async fn hear(&mut self, bytes: &Bytes) -> bool {
        let Ok(message) = &Message::parse(bytes.clone()) else {
            return false;
        };
        match (&message.shape, &*message.method) {
            (Shape::Request(_), "ping") => {
                self.take_question(message);
                self.refuse().await;
                true
            }
            (Shape::Notification, "notifications/cancelled") => {
                self.withdraw(message);
                true
            }
            _ => false,
        }
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
        let question = Question {
            method: Cow::Borrowed(&message.method),
            params: message.body(),
        };
        let entry = entry.filter(|_| {
            may_ask(self.asked.method) && bridge::may_be_asked(&self.capabilities, &question)
        });
        let (Some(entry), true) = (entry, self.pending.len() < QUESTIONS_MAX) else {
            let text = "this question cannot be put to the client";
            self.refused.push_back((own, code::METHOD_NOT_FOUND, text));
            return;
        };
        // A server that asks again under the same id asks one question.
        self.pending.retain(|known| known.own != own);
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
    pub(super) fn input_required(&self, state: Option<&str>) -> String {
        let questions: Vec<(String, String)> = self
            .pending
            .iter()
            .map(|pending| (pending.key.clone(), pending.entry.clone()))
            .collect();
        bridge::input_required(&questions, state)
    }

    /// Passes on what the client brought. Keys that were not asked mean nothing; what is no answer is asked again.
    ///
    /// Nobody waits until the server has taken it: it may hold one answer until it has another.
    pub(crate) fn answer(&mut self, brought: &[(String, String)]) {
        let mut open = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let answer = brought.iter().find(|(key, _)| *key == pending.key);
            match answer.and_then(|(_, raw)| bridge::answer_to_legacy(raw)) {
                Some(answer) => {
                    let message = json_rpc::result(&pending.own, answer.as_bytes());
                    let conversation = self.lease.conversation().clone();
                    let failures = self.failures.0.clone();
                    self.lease.later(async move {
                        if let Err(failure) = conversation.say(message).await {
                            // One failure is enough to end the call.
                            drop(failures.try_send(failure));
                        }
                    });
                }
                None => open.push(pending),
            }
        }
        self.pending = open;
        self.round_until = None;
    }

    /// What the server says beside its answer, or the failure of an answer to it that it did not take.
    pub(super) async fn aside(&mut self) -> Result<Bytes, UpstreamFailure> {
        tokio::select! {
            message = self.lease.aside() => Ok(message),
            // We hold a sender ourselves: it never runs dry.
            Some(failure) = self.failures.1.recv() => Err(failure),
        }
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
    ///
    /// Nothing when the server made a task of the call: its result comes later.
    pub(super) fn take(&mut self, shown: &Message, id: &Id) -> Result<Option<Bytes>, String> {
        if self.task.is_none()
            && let Some(task) = created(shown)
        {
            self.task = Some(task);
            return Ok(None);
        }
        self.task = None;
        self.said(shown, id).map(Some)
    }

    /// Whether the client said that its user can be sent to a URL.
    fn visits_urls(&self) -> bool {
        let question = Question {
            method: Cow::Borrowed("elicitation/create"),
            params: "{\"mode\":\"url\"}",
        };
        may_ask(self.asked.method) && bridge::may_be_asked(&self.capabilities, &question)
    }

    fn said(&self, shown: &Message, id: &Id) -> Result<Bytes, String> {
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
            // A task cannot end with a question (ext-tasks, "Task Status").
            ModernError::Questions(_) if self.is_held => {
                json_rpc::error(Some(id), code::INTERNAL_ERROR, &error.message, None)
            }
            ModernError::Questions(_) if !self.visits_urls() => {
                let needed = "{\"requiredCapabilities\":{\"elicitation\":{\"url\":{}}}}";
                let code = code::MISSING_CAPABILITY;
                json_rpc::error(Some(id), code, &error.message, Some(needed))
            }
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
