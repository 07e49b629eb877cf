//! The actor of one held task: it has the server's session, and carries the call to its end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use protocol::json_rpc::{Message, Shape};
use protocol::mcp::Era;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::task::{Held, Outcome};
use super::{Holding, Order, Ordered};
use crate::exchange::turn::Turn;
use crate::exchange::{Exchange, Far};
use crate::failure::UpstreamFailure;
use crate::refuse::Refusal;
use crate::upstream::Frames;

/// How often in a row a server is asked again for the result of a task when its answer broke off; then the task has failed.
const BREAKS_MAX: u32 = 5;
/// The pause before that; each further one doubles it.
const BREAK_WAIT: Duration = Duration::from_secs(1);

/// The actor of one held task.
pub(super) struct Drive {
    exchange: Exchange,
    frames: Frames,
    held: Arc<Held>,
    orders: mpsc::Receiver<Ordered>,
    holding: Weak<Holding>,
    /// Who waits until what was ordered last shows.
    shows: Option<oneshot::Sender<()>>,
    breaks: u32,
}

/// What an actor wakes up for.
enum Heard {
    /// A client wants something; nothing, when nobody can any more.
    Order(Option<Ordered>),
    /// The server says something.
    Said(Bytes),
    /// It did not take an answer of the client.
    Untaken(UpstreamFailure),
    /// What it would have answered the call on has ended.
    Broken(UpstreamFailure),
    /// The questions that have come are a whole round.
    Round,
    /// The server has cancelled its task.
    Cancelled,
    /// The time is over.
    Late,
}

impl Drive {
    pub(super) fn new(
        (exchange, frames): (Exchange, Frames),
        (held, orders): (Arc<Held>, mpsc::Receiver<Ordered>),
        holding: Weak<Holding>,
    ) -> Self {
        let mut drive = Self {
            exchange,
            frames,
            held,
            orders,
            holding,
            shows: None,
            breaks: 0,
        };
        // What made it a task was a whole round.
        if let Far::Lent(lent) = &mut drive.exchange.far {
            lent.close_round();
        }
        drive
    }

    /// Carries the call to its end. What is dropped while it is open is cancelled at the server.
    pub(super) async fn run(mut self) {
        let outcome = self.outcome().await;
        if let Some(outcome) = outcome {
            let holding = self.holding.upgrade();
            let kept = holding.map(|holding| holding.room(&self.held, outcome));
            self.held.end(kept.unwrap_or(Outcome::Cancelled));
        }
        self.shows = None;
        if let Far::Lent(lent) = &mut self.exchange.far {
            lent.give_up().await;
        }
    }

    /// Shows what the server waits for, once a round of it is whole.
    pub(super) fn show(&self) {
        if let Far::Lent(lent) = &self.exchange.far
            && lent.round_until().is_none()
        {
            self.held.ask(self.exchange.questions());
        }
    }

    /// The end of the call; nothing when the process ends first.
    async fn outcome(&mut self) -> Option<Outcome> {
        loop {
            self.show();
            self.shows = None;
            self.ask_result();
            match self.heard().await {
                Heard::Order(None) => return None,
                Heard::Order(Some(ordered)) => {
                    self.shows = Some(ordered.shows);
                    match ordered.order {
                        Order::Answers(answers) => self.answer(&answers),
                        Order::Cancel => return Some(Outcome::Cancelled),
                    }
                }
                Heard::Said(bytes) => {
                    if let Some(outcome) = self.take(bytes).await {
                        return Some(outcome);
                    }
                }
                Heard::Broken(_) if self.may_ask_again() => {}
                Heard::Broken(failure) | Heard::Untaken(failure) => return Some(failed(failure)),
                Heard::Round => {
                    if let Far::Lent(lent) = &mut self.exchange.far {
                        lent.close_round();
                    }
                }
                Heard::Cancelled => return Some(Outcome::Cancelled),
                Heard::Late => return Some(Outcome::failed("the task was not over in time")),
            }
        }
    }

    /// The result of a task that the server made of the call is asked for at once: it is answered when there is one, and what is asked in the task is asked there.
    fn ask_result(&mut self) {
        let Far::Lent(lent) = &self.exchange.far else {
            return;
        };
        let Some(task) = lent.task().filter(|_| lent.awaits_result()) else {
            return;
        };
        self.held.follow(lent.lease.conversation(), &task.id);
        let pause = match self.breaks {
            0 => Duration::ZERO,
            breaks => BREAK_WAIT * 2_u32.pow(breaks - 1),
        };
        if let Some(frames) = self.exchange.ask_result(pause) {
            self.frames = frames;
        }
    }

    /// Waits until something happens. Nothing is lost when it is not that.
    async fn heard(&mut self) -> Heard {
        let no_answer = || UpstreamFailure::NoAnswer {
            server: self.exchange.server.name.clone(),
            reason: "the stream ended without an answer".to_owned(),
        };
        let deadline = self.exchange.deadline;
        let Far::Lent(lent) = &mut self.exchange.far else {
            return Heard::Order(None);
        };
        // A task has a time of its own, and so has a client that thinks.
        let rests = lent.is_waiting() || lent.task().is_some();
        self.frames.rest(rests);
        let life = self.held.until();
        let last = if rests { life } else { deadline.min(life) };
        let round = lent.round_until().filter(|round| *round < last);
        tokio::select! {
            biased;
            ordered = self.orders.recv() => Heard::Order(ordered),
            () = self.held.cancelled.notified() => Heard::Cancelled,
            said = lent.aside() => said.map_or_else(Heard::Untaken, Heard::Said),
            said = self.frames.next() => match said {
                Some(Ok(bytes)) => Heard::Said(bytes),
                Some(Err(failure)) => Heard::Broken(failure),
                None => Heard::Broken(no_answer()),
            },
            () = sleep_until(round.unwrap_or(last)) => {
                if round.is_some() { Heard::Round } else { Heard::Late }
            }
        }
    }

    fn answer(&mut self, answers: &[(String, String)]) {
        // From the last answer on, the server has the time of a call.
        self.exchange.deadline = Instant::now() + self.exchange.server.total;
        if let Far::Lent(lent) = &mut self.exchange.far {
            lent.answer(answers);
        }
    }

    /// Takes what the server says; gives the end, if that is it. Progress and log messages are not part of tasks (ext-tasks, "Task Status Notifications").
    async fn take(&mut self, bytes: Bytes) -> Option<Outcome> {
        self.breaks = 0;
        if let Ok(message) = Message::parse(bytes.clone())
            && self.held.hears(&message)
        {
            return None;
        }
        match self.exchange.meaning(bytes).await {
            Ok(Turn::Final(answer)) => Some(end(&self.held, answer).await),
            Ok(Turn::Forward(_) | Turn::Nothing | Turn::Quiet | Turn::Keep) => None,
            Err(failure) => Some(failed(failure)),
        }
    }

    /// The result of a task is still there when the answer that would have brought it is not.
    fn may_ask_again(&mut self) -> bool {
        let Far::Lent(lent) = &mut self.exchange.far else {
            return false;
        };
        if lent.task().is_none() || self.breaks >= BREAKS_MAX {
            return false;
        }
        self.breaks += 1;
        lent.missed_result();
        true
    }
}

async fn end(held: &Held, answer: Bytes) -> Outcome {
    match Message::parse(answer) {
        Ok(message) if matches!(message.shape, Shape::Result(_)) => {
            Outcome::Result(message.body().to_owned())
        }
        // A server has no result of a task that it cancelled, and only its state says why.
        Ok(_) if held.was_cancelled().await => Outcome::Cancelled,
        Ok(message) => Outcome::Error(message.body().to_owned()),
        Err(_) => Outcome::failed("the server's answer cannot be read"),
    }
}

/// A failure of the server as a whole, in the words that callers hear.
fn failed(failure: UpstreamFailure) -> Outcome {
    let error = Refusal::from(failure).message(Era::Modern, None);
    let error = Message::parse(error).map(|message| message.body().to_owned());
    error.map_or_else(
        |_| Outcome::failed("the server did not answer"),
        Outcome::Error,
    )
}
