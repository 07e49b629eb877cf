//! How far one held task is, as its client is told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::json::{members, quote, set_member, string};
use protocol::json_rpc::{Message, code};
use protocol::mcp::bridge::{self, TaskOutcome, TaskStatus};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::clock::{unix_now, utc};
use crate::conversation::Conversation;
use crate::identify::Caller;
use crate::task::Place;

/// The longest life of a held task, from its creation; one that is not over then has failed, and its server is told.
const HELD_LIFE_MAX: Duration = Duration::from_secs(3600);
/// How long a task that is over is kept for its client; then its id is unknown.
const KEPT_MAX: Duration = Duration::from_secs(600);
/// How often a server is asked for the state of a task at most, however often its client asks us.
const LOOK_PACE_MIN: Duration = Duration::from_secs(1);
/// How long a server may take to tell the state of a task; the client is told the last one known.
const LOOK_WAIT: Duration = Duration::from_secs(2);
/// How often a client is to ask for a task that no server has named a time for.
const POLL: Duration = Duration::from_secs(1);

/// What the server says of a task in the middle of it (MCP 2025-11-25, basic/utilities/tasks).
const STATUS: &str = "notifications/tasks/status";

/// One held task.
#[derive(Debug)]
pub(crate) struct Held {
    pub(super) caller: Caller,
    /// The server's short name in the toolset.
    label: Box<str>,
    place: Place,
    /// As its client knows it.
    id: String,
    born: Instant,
    shown: Mutex<Shown>,
    changes: watch::Sender<u64>,
    /// The server says that it has cancelled the task.
    pub(super) cancelled: Notify,
}

#[derive(Debug)]
struct Shown {
    /// The state in the words of a legacy server, under our id.
    state: String,
    outcome: Outcome,
    /// When it is over at the latest; when it is forgotten, once it is over.
    until: Instant,
    ended: Option<Instant>,
    /// Where the server tells how far it is.
    source: Option<Source>,
}

/// A task of the server's own.
#[derive(Debug)]
struct Source {
    conversation: Arc<Conversation>,
    id: String,
    looked: Instant,
}

/// What is told of a task besides its state. All raw JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on.
    None,
    /// It waits for answers.
    Questions(String),
    /// It is done.
    Result(String),
    /// It has failed.
    Error(String),
    /// It was ended.
    Cancelled,
}

impl Outcome {
    /// A failure of ours, or of the server as a whole.
    pub(super) fn failed(text: &str) -> Self {
        let (code, text) = (code::INTERNAL_ERROR, quote(text));
        Self::Error(format!("{{\"code\":{code},\"message\":{text}}}"))
    }

    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::None | Self::Cancelled => 0,
            Self::Questions(raw) | Self::Result(raw) | Self::Error(raw) => raw.len(),
        }
    }

    const fn status(&self) -> TaskStatus {
        match self {
            Self::None => TaskStatus::Working,
            Self::Questions(_) => TaskStatus::InputRequired,
            Self::Result(_) => TaskStatus::Completed,
            Self::Error(_) => TaskStatus::Failed,
            Self::Cancelled => TaskStatus::Cancelled,
        }
    }

    fn told(&self) -> TaskOutcome<'_> {
        match self {
            Self::None | Self::Cancelled => TaskOutcome::None,
            Self::Questions(raw) => TaskOutcome::Questions(raw),
            Self::Result(raw) => TaskOutcome::Result(raw),
            Self::Error(raw) => TaskOutcome::Error(raw),
        }
    }
}

impl Held {
    /// A task that begins now; `begun` is the answer of a server that made one itself.
    pub(super) fn new(
        place: Place,
        id: String,
        (caller, label): (Caller, Box<str>),
        begun: Option<&str>,
    ) -> Self {
        let born = Instant::now();
        let made = begun.and_then(|result| member(result, "task"));
        let ttl = made.and_then(|task| member(task, "ttl")?.parse().ok());
        let life = ttl.map_or(HELD_LIFE_MAX, Duration::from_millis);
        let now = quote(&utc(unix_now()));
        let own = || {
            let poll = POLL.as_millis();
            format!("{{\"createdAt\":{now},\"lastUpdatedAt\":{now},\"pollInterval\":{poll}}}")
        };
        let shown = Shown {
            state: made.map_or_else(own, str::to_owned),
            outcome: Outcome::None,
            until: born + life.min(HELD_LIFE_MAX),
            ended: None,
            source: None,
        };
        let held = Self {
            caller,
            label,
            place,
            id,
            born,
            shown: Mutex::new(shown),
            changes: watch::Sender::new(0),
            cancelled: Notify::new(),
        };
        held.settle(&mut held.shown());
        held
    }

    /// The server's short name in the toolset.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// When it is over at the latest.
    pub(super) fn until(&self) -> Instant {
        self.shown().until
    }

    /// Since when it is over.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.shown().ended
    }

    /// Whether its time is over: the task's, and that of what is kept of it.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        let shown = self.shown();
        shown.ended.is_some() && shown.until <= now
    }

    /// What is kept of its result.
    pub(super) fn bytes(&self) -> usize {
        let shown = self.shown();
        shown.ended.map_or(0, |_| shown.outcome.bytes())
    }

    /// The answer to the call: there is a task.
    pub(super) fn created(&self, begun: &str) -> Option<String> {
        let created = set_member(begun, "task", &self.shown().state)?;
        bridge::task_created_to_modern(&created)
    }

    /// The answer to `tasks/get`.
    pub(super) fn state(&self) -> Option<String> {
        let shown = self.shown();
        bridge::task_state_to_modern(&shown.state, &shown.outcome.told())
    }

    /// The params of `notifications/tasks`.
    pub(crate) fn notice(&self) -> Option<String> {
        let shown = self.shown();
        bridge::task_notice_to_modern(&shown.state, &shown.outcome.told())
    }

    /// Fires when it has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether nothing comes after what is shown now.
    pub(crate) fn is_over(&self) -> bool {
        self.ended().is_some()
    }

    /// Shows what the server asks, or that it asks nothing.
    pub(super) fn ask(&self, questions: Option<String>) {
        let outcome = questions.map_or(Outcome::None, Outcome::Questions);
        let mut shown = self.shown();
        if shown.ended.is_none() && shown.outcome != outcome {
            shown.outcome = outcome;
            self.changed(&mut shown);
        }
    }

    /// Shows the end. Nothing comes after the first one.
    pub(super) fn end(&self, outcome: Outcome) {
        let mut shown = self.shown();
        if shown.ended.is_none() {
            let now = Instant::now();
            shown.outcome = outcome;
            shown.ended = Some(now);
            shown.until = now + KEPT_MAX;
            shown.source = None;
            self.changed(&mut shown);
        }
    }

    /// From now on, the server tells of a task of its own how far it is.
    pub(super) fn follow(&self, conversation: &Arc<Conversation>, id: &str) {
        let mut shown = self.shown();
        let is_known = shown.source.as_ref().is_some_and(|source| source.id == id);
        if shown.ended.is_none() && !is_known {
            shown.source = Some(Source {
                conversation: conversation.clone(),
                id: id.to_owned(),
                looked: Instant::now(),
            });
        }
    }

    /// Asks the server how far it is, unless that was done just now.
    pub(super) async fn look(&self) {
        let asked = {
            let mut shown = self.shown();
            let source = shown.source.as_mut();
            source
                .filter(|source| source.looked.elapsed() >= LOOK_PACE_MIN)
                .map(|source| {
                    source.looked = Instant::now();
                    (source.conversation.clone(), source.id.clone())
                })
        };
        if let Some((conversation, id)) = asked {
            self.learn_from(&conversation, &id).await;
        }
    }

    /// Whether the server says that it has cancelled the task.
    pub(super) async fn was_cancelled(&self) -> bool {
        let asked = {
            let shown = self.shown();
            let source = shown.source.as_ref();
            source.map(|source| (source.conversation.clone(), source.id.clone()))
        };
        match asked {
            Some((conversation, id)) => self.learn_from(&conversation, &id).await,
            None => false,
        }
    }

    async fn learn_from(&self, conversation: &Conversation, id: &str) -> bool {
        let params = format!("{{\"taskId\":{}}}", quote(id));
        let asked = timeout(LOOK_WAIT, conversation.ask("tasks/get", &params)).await;
        // A server that does not tell says it with the result.
        matches!(asked, Ok(Ok(said)) if self.learn(said.body()))
    }

    /// Takes the server's word on its task, if the message is that and of this task.
    pub(super) fn hears(&self, message: &Message) -> bool {
        if &*message.method != STATUS {
            return false;
        }
        if self.learn(message.body()) {
            self.cancelled.notify_one();
        }
        true
    }

    /// Takes the state that the server tells; says whether the task is cancelled there.
    fn learn(&self, state: &str) -> bool {
        let mut shown = self.shown();
        let told = member(state, "taskId").and_then(string);
        let source = shown.source.as_ref();
        if told.is_none() || told.as_deref() != source.map(|source| &*source.id) {
            return false;
        }
        let status = member(state, "status").and_then(string);
        let before = std::mem::replace(&mut shown.state, state.to_owned());
        self.settle(&mut shown);
        if shown.state != before {
            self.changes.send_modify(|changes| *changes += 1);
        }
        status.as_deref() == Some(TaskStatus::Cancelled.as_str())
    }

    fn changed(&self, shown: &mut Shown) {
        let now = quote(&utc(unix_now()));
        if let Some(state) = set_member(&shown.state, "lastUpdatedAt", &now) {
            shown.state = state;
        }
        self.settle(shown);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Puts into the state what is ours to say: our id, how long we keep it, and only what can be told with it.
    ///
    /// A server may say "completed" before its result is here, and "input required" before its questions are.
    fn settle(&self, shown: &mut Shown) {
        let life = shown.until.saturating_duration_since(self.born).as_millis();
        let status = quote(shown.outcome.status().as_str());
        let own = [
            ("taskId", quote(&self.id)),
            ("ttl", life.to_string()),
            ("status", status),
        ];
        for (key, value) in own {
            if let Some(state) = set_member(&shown.state, key, &value) {
                shown.state = state;
            }
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A member of an object, raw.
fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let found = members(object).ok()?;
    let member = found.iter().rev().find(|member| member.key == key)?;
    Some(member.value)
}
