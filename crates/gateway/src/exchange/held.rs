//! Calls at legacy servers that their modern clients have as tasks (ext-tasks; mcp-requirements §2.4 D 8, §2.6).
//!
//! Each has an actor of its own, which has the server's session and carries the call to its end (`drive`).
//! Clients are answered from what it has shown last (`task`), whatever it waits for at the moment.

mod drive;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::json::members;
use protocol::json_rpc;
use protocol::mcp::{Method, bridge};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Exchange, Far};
use crate::handles::{Incarnation, random};
use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::Inbound;
use crate::task::{HeldId, Place};
use crate::upstream::Frames;

use drive::Drive;
use task::Outcome;

pub(crate) use task::Held;

/// Calls that are held as tasks at once, those that are over and not forgotten yet included: for one more, the one that was over first is forgotten. When none is over, the call fails and its server is told.
const HELD_MAX: usize = 10_000;
/// Tasks of one caller that are under way at once; one more call that would become a task fails, and its server is told.
const HELD_OF_CALLER_MAX: usize = 256;
/// Tasks of one caller that are kept after their end; for one more, the one that was over first is forgotten.
const KEPT_OF_CALLER_MAX: usize = 1024;
/// The longest result that is kept of a task, in bytes; a task with a longer one has failed.
const RESULT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What is kept of all results of tasks together, in bytes: for one more, tasks that were over first are forgotten, the same caller's before others'.
const KEPT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What clients have said of one task and its actor has not taken yet; one more is refused.
const ORDERS_MAX: usize = 16;
/// How long a client's answers may take to reach the actor; the client is told that they are taken all the same.
const ORDER_WAIT: Duration = Duration::from_secs(2);
/// How long servers may take to hear that nobody waits any more, at the end.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// The result of `tasks/update` and `tasks/cancel`.
const ACKNOWLEDGED: &[u8] = b"{\"resultType\":\"complete\"}";

/// Calls that their clients have as tasks.
#[derive(Debug)]
pub(crate) struct Holding {
    own: Incarnation,
    tasks: Mutex<HashMap<Place, Entry>>,
    /// The calls themselves; each ends with its task.
    actors: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Entry {
    held: Arc<Held>,
    /// To its actor, which gives up when this is gone.
    orders: mpsc::Sender<Ordered>,
}

/// What a client wants of a task.
#[derive(Debug)]
enum Order {
    /// Answers to questions: key and raw answer.
    Answers(Vec<(String, String)>),
    /// Nobody wants its result.
    Cancel,
}

/// An order, and who waits until it shows.
#[derive(Debug)]
struct Ordered {
    order: Order,
    shows: oneshot::Sender<()>,
}

impl Holding {
    pub(crate) fn new(own: Incarnation) -> Self {
        Self {
            own,
            tasks: Mutex::default(),
            actors: Mutex::default(),
        }
    }

    /// Makes a task of a call under way, and gives the answer that says so.
    pub(crate) fn hold(
        self: &Arc<Self>,
        mut exchange: Exchange,
        frames: Frames,
    ) -> Result<Bytes, Refusal> {
        let id = HeldId {
            owner: self.own,
            place: random(),
        };
        let shown = exchange.rewrite.tasks.shown_held(&id);
        let label = exchange.rewrite.server.clone();
        let Far::Lent(lent) = &mut exchange.far else {
            return Err(Refusal::Lost);
        };
        lent.is_held = true;
        let begun = lent.task().map(|task| task.result.as_str());
        let held = Arc::new(Held::new(
            id.place,
            shown,
            (lent.caller.clone(), label),
            begun,
        ));
        let begun = begun.unwrap_or("{}").to_owned();
        let client = exchange.id.clone();
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let holding = Arc::downgrade(self);
        let drive = Drive::new((exchange, frames), (held.clone(), taken), holding);
        drive.show();
        let created = held.created(&begun).ok_or(Refusal::Lost)?;
        self.admit(id.place, Entry { held, orders })?;
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        while actors.try_join_next().is_some() {}
        actors.spawn(drive.run());
        Ok(json_rpc::result(&client, created.as_bytes()))
    }

    /// The task with this id, while it is known.
    ///
    /// # Errors
    /// [`Refusal::Lost`] when another process held it: that is gone, or the request would have been passed on to it.
    pub(crate) fn find(&self, id: &HeldId) -> Result<Option<Arc<Held>>, Refusal> {
        if id.owner != self.own {
            return Err(Refusal::Lost);
        }
        let tasks = self.tasks();
        let entry = tasks.get(&id.place);
        let held = entry.map(|entry| entry.held.clone());
        Ok(held.filter(|held| !held.is_forgotten(Instant::now())))
    }

    /// The task with this id, if this process holds it.
    pub(crate) fn here(&self, id: &HeldId) -> Option<Arc<Held>> {
        self.find(id).ok().flatten()
    }

    /// Answers what a client says of a task.
    pub(crate) async fn answer(
        &self,
        inbound: &Inbound,
        method: Method,
        held: &Held,
    ) -> Result<Reply, Refusal> {
        let id = inbound.message.id();
        let id = id.ok_or(Refusal::Params("a request needs an id".into()))?;
        let order = match method {
            Method::TasksUpdate => Order::Answers(answers(inbound)?),
            Method::TasksCancel => Order::Cancel,
            _ => {
                held.look().await;
                let state = held.state().ok_or(Refusal::Lost)?;
                return Ok(Reply::message(json_rpc::result(id, state.as_bytes())));
            }
        };
        self.order(held, order).await?;
        Ok(Reply::message(json_rpc::result(id, ACKNOWLEDGED)))
    }

    /// Has an actor do something, and waits until it shows; nothing comes of it when the task is over.
    async fn order(&self, held: &Held, order: Order) -> Result<(), Refusal> {
        let orders = self
            .tasks()
            .get(held.place())
            .map(|entry| entry.orders.clone());
        let (shows, shown) = oneshot::channel();
        let sent = orders.map(|orders| orders.try_send(Ordered { order, shows }));
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = sent {
            let text = format!("{ORDERS_MAX} updates of this task wait already");
            return Err(Refusal::Busy(text));
        }
        drop(timeout(ORDER_WAIT, shown).await);
        Ok(())
    }

    /// Takes a task in, if there is room or some can be made.
    fn admit(&self, place: Place, entry: Entry) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut tasks = self.tasks();
        tasks.retain(|_, entry| !entry.held.is_forgotten(now));
        let caller = &entry.held.caller;
        let own = tasks.values().filter(|other| other.held.caller == *caller);
        let open = own.filter(|other| other.held.ended().is_none()).count();
        // A loopback door knows nobody by name: there, all are one.
        if *caller != Caller::Anonymous && open >= HELD_OF_CALLER_MAX {
            return Err(full(HELD_OF_CALLER_MAX));
        }
        if tasks.len() >= HELD_MAX {
            let oldest = ended_first(&tasks, |_| true).first().copied();
            tasks.remove(&oldest.ok_or_else(|| full(HELD_MAX))?);
        }
        tasks.insert(place, entry);
        drop(tasks);
        Ok(())
    }

    /// Makes room for the result of a task that is over, and gives what is kept of it.
    fn room(&self, held: &Held, outcome: Outcome) -> Outcome {
        let bytes = outcome.bytes();
        if bytes > RESULT_BYTES_MAX {
            let text = format!(
                "the result has {bytes} bytes; {RESULT_BYTES_MAX} are kept of a task at most"
            );
            return Outcome::failed(&text);
        }
        let mut tasks = self.tasks();
        let own = ended_first(&tasks, |other| other.caller == held.caller);
        if held.caller != Caller::Anonymous {
            for place in own
                .iter()
                .take((own.len() + 1).saturating_sub(KEPT_OF_CALLER_MAX))
            {
                tasks.remove(place);
            }
        }
        let others = ended_first(&tasks, |other| other.caller != held.caller);
        let mut kept: usize = tasks.values().map(|entry| entry.held.bytes()).sum();
        for place in own.iter().chain(&others) {
            if kept + bytes <= KEPT_BYTES_MAX {
                break;
            }
            let forgotten = tasks.remove(place);
            kept -= forgotten.map_or(0, |entry| entry.held.bytes());
        }
        drop(tasks);
        outcome
    }

    /// Forgets the tasks whose time is over.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.tasks()
            .retain(|_, entry| !entry.held.is_forgotten(now));
    }

    /// Ends all of them, and waits a bounded time until their servers know.
    pub(crate) async fn close(&self) {
        self.tasks().clear();
        let mut actors =
            std::mem::take(&mut *self.actors.lock().unwrap_or_else(PoisonError::into_inner));
        let ends = async { while actors.join_next().await.is_some() {} };
        drop(timeout(CLOSE_WAIT, ends).await);
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<Place, Entry>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks that are over, the one that was over first before others.
fn ended_first(tasks: &HashMap<Place, Entry>, wanted: impl Fn(&Held) -> bool) -> Vec<Place> {
    let wanted = tasks.iter().filter(|(_, entry)| wanted(&entry.held));
    let ended = wanted.filter_map(|(place, entry)| Some((entry.held.ended()?, *place)));
    let mut ended: Vec<(Instant, Place)> = ended.collect();
    ended.sort_unstable();
    ended.into_iter().map(|(_, place)| place).collect()
}

fn full(limit: usize) -> Refusal {
    Refusal::Busy(format!("{limit} tasks are under way already"))
}

/// The answers that `tasks/update` brings. Keys that were not asked mean nothing (ext-tasks, "Task Update Requests").
fn answers(inbound: &Inbound) -> Result<Vec<(String, String)>, Refusal> {
    let params = inbound.message.body();
    let found =
        members(params).map_err(|_| Refusal::Params("`params` must be an object".into()))?;
    if !found.iter().any(|member| member.key == "inputResponses") {
        return Err(Refusal::Params("`params.inputResponses` is missing".into()));
    }
    let brought = bridge::brought(params);
    let brought = brought.map_err(|wrong| Refusal::Params(wrong.to_string().into()))?;
    let answers = brought.answers.into_iter();
    Ok(answers
        .map(|(key, raw)| (key.into_owned(), raw.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests;
