//! A task that a modern server made of a legacy client's call: it is looked at until it is over, and its result is the call's (ext-tasks; mcp-requirements §2.6).

use std::time::Duration;

use bytes::Bytes;
use protocol::json::{members, quote};
use protocol::json_rpc::{self, Id, Message};
use protocol::mcp::Method;
use protocol::mcp::bridge::{self, InputRequired, Question, TaskResult, TaskStatus};
use tokio::time::Instant;

use super::rounds::Rounds;
use crate::conversation::{Outgoing, name_header};
use crate::refuse::Refusal;
use crate::upstream::Answer;

/// How often a task is looked at when its server names no time.
const POLL: Duration = Duration::from_secs(1);
/// The shortest time between two looks that a server may ask for.
const POLL_MIN: Duration = Duration::from_millis(100);
/// The longest such time.
const POLL_MAX: Duration = Duration::from_secs(30);
/// The longest time that a client waits for a task.
const TASK_MAX: Duration = Duration::from_secs(3600);

/// One task under way.
#[derive(Debug)]
pub(super) struct Polled {
    /// The server's own id.
    id: String,
    every: Duration,
    until: Instant,
    /// When it is looked at next; none while an answer is awaited.
    pub(super) next: Option<Instant>,
    /// What was sent last was the client's answers, not a look.
    updated: bool,
}

impl Polled {
    pub(super) fn new(task: &TaskResult<'_>) -> Self {
        let every = task.poll_ms.map_or(POLL, Duration::from_millis);
        let every = every.clamp(POLL_MIN, POLL_MAX);
        let now = Instant::now();
        Self {
            id: task.id.clone().into_owned(),
            every,
            until: now + TASK_MAX,
            next: Some(now + every),
            updated: false,
        }
    }

    fn again(&mut self) {
        self.next = Some(Instant::now() + self.every);
    }
}

impl Rounds {
    /// When the call's task is looked at next.
    pub(super) fn poll_at(&self) -> Option<Instant> {
        self.polled.as_ref()?.next
    }

    /// Looks at the task.
    pub(super) async fn poll(&mut self) -> Result<(u64, Answer), Refusal> {
        if let Some(polled) = &mut self.polled {
            polled.next = None;
            polled.updated = false;
            if polled.until <= Instant::now() {
                let waited = TASK_MAX.as_secs();
                return Err(Refusal::Unanswered(format!(
                    "its task was not over after {waited} s"
                )));
            }
        }
        self.say_of_task(Method::TasksGet, &[]).await
    }

    /// Passes on the client's answers.
    pub(super) async fn update(
        &mut self,
        answers: &[(String, String)],
    ) -> Result<(u64, Answer), Refusal> {
        if let Some(polled) = &mut self.polled {
            polled.updated = true;
        }
        self.say_of_task(Method::TasksUpdate, answers).await
    }

    async fn say_of_task(
        &self,
        method: Method,
        answers: &[(String, String)],
    ) -> Result<(u64, Answer), Refusal> {
        let outgoing = self.of_task(method, answers).ok_or(Refusal::Lost)?;
        Ok((outgoing.id, self.conversation.call(outgoing).await?))
    }

    fn of_task(&self, method: Method, answers: &[(String, String)]) -> Option<Outgoing> {
        let id = &self.polled.as_ref()?.id;
        let params = format!("{{\"taskId\":{}}}", quote(id));
        let params = bridge::params_to_modern(&params, &self.session.standing().said())?;
        let params = if answers.is_empty() {
            params
        } else {
            bridge::with_answers(&params, answers, None)?
        };
        let number = self.conversation.next_id();
        Some(Outgoing {
            id: number,
            message: json_rpc::request(&Id::number(number), method.as_str(), &params),
            method: method.as_str(),
            name: name_header(id),
            params: Vec::new(),
        })
    }

    /// What the state of the task means for the client; nothing while it goes on.
    pub(super) fn take_state(
        &mut self,
        server_said: &Message,
        shown: &Message,
        id: &Id,
    ) -> Result<Option<Bytes>, String> {
        let polled = self.polled.as_mut().ok_or("there is no task")?;
        if polled.updated {
            polled.again();
            return Ok(None);
        }
        let state = TaskResult::parse(server_said.body()).map_err(|wrong| wrong.to_string())?;
        let found = members(shown.body()).map_err(|error| error.to_string())?;
        let member = |key: &str| {
            let member = found.iter().find(|member| member.key == key);
            member.map(|member| member.value)
        };
        match state.status {
            TaskStatus::Working => polled.again(),
            TaskStatus::InputRequired => {
                polled.again();
                let asked = member("inputRequests").unwrap_or("{}");
                let requests = Question::all(asked).map_err(|wrong| wrong.to_string())?;
                if !requests.is_empty() {
                    let state = None;
                    self.ask(&InputRequired { requests, state }, id)?;
                }
            }
            TaskStatus::Completed => {
                self.polled = None;
                let result = member("result").ok_or("a completed task has no result")?;
                return self.complete(result, id).map(Some);
            }
            TaskStatus::Failed => {
                self.polled = None;
                let error = member("error").ok_or("a failed task has no error")?;
                return Ok(Some(self.error(error, id)));
            }
            TaskStatus::Cancelled => {
                self.polled = None;
                let text = "the server cancelled the task";
                let code = json_rpc::code::INTERNAL_ERROR;
                return Ok(Some(json_rpc::error(Some(id), code, text, None)));
            }
        }
        Ok(None)
    }
}

impl Drop for Rounds {
    /// Nobody waits any more: a task that goes on is for nothing.
    fn drop(&mut self) {
        if let Some(outgoing) = self.of_task(Method::TasksCancel, &[]) {
            let conversation = self.conversation.clone();
            let cancelled = async move { drop(conversation.call(outgoing).await) };
            self.server.leases.later(cancelled);
        }
    }
}
