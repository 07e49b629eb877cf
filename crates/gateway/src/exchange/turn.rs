//! One message of the server after the other, and what each means for the client.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use protocol::json::members;
use protocol::json_rpc::{self, Id, Message, Shape};
use protocol::mcp::{Era, Method, Version, bridge};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::carry::Carry;
use super::far::Far;
use super::lent::Keeper;
use super::rewrite::with_result_type;
use super::{Cancelled, Exchange, FINISH_WAIT_BEFORE_REPLY, FIRST_FRAME_WAIT, fired};
use crate::failure::UpstreamFailure;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::Inbound;
use crate::upstream::Frames;

/// How long a client may think about a legacy server's question.
const THINK_MAX: Duration = Duration::from_secs(600);
/// The longest time that a client waits for a task.
const TASK_MAX: Duration = Duration::from_secs(3600);

/// What one message of the server means for the client.
pub(super) enum Turn {
    /// Passed on.
    Forward(Bytes),
    /// The answer; nothing follows.
    Final(Bytes),
    /// Not the client's business.
    Nothing,
    /// Nothing came for a while.
    Quiet,
    /// The client gets a handle instead of the answer; the call goes on without it.
    Keep,
}

impl Exchange {
    /// One frame that is the answer becomes JSON; anything before it makes an event stream.
    pub(super) async fn settle_frames(
        mut self,
        mut frames: Frames,
        mut cancelled: Cancelled,
    ) -> Result<Reply, Refusal> {
        let quiet = Instant::now() + FIRST_FRAME_WAIT;
        loop {
            match self.turn(&mut frames, &mut cancelled, quiet).await? {
                Turn::Final(bytes) => {
                    frames.finish(FINISH_WAIT_BEFORE_REPLY).await;
                    return self.answered(bytes);
                }
                Turn::Nothing => {}
                Turn::Keep => return self.keep(frames).map(Reply::message),
                Turn::Forward(bytes) => return Ok(self.stream(Some(bytes), frames, cancelled)),
                Turn::Quiet => return Ok(self.stream(None, frames, cancelled)),
            }
        }
    }

    fn stream(self, first: Option<Bytes>, frames: Frames, cancelled: Cancelled) -> Reply {
        let carry = Carry {
            exchange: self,
            frames,
            cancelled,
            first,
            done: false,
        };
        let next = |carry: Option<Carry>| async { carry?.next().await };
        Reply::Stream(Box::pin(stream::unfold(Some(carry), next)))
    }

    /// Has the call kept, and gives the client what it comes back with.
    pub(super) fn keep(mut self, frames: Frames) -> Result<Bytes, Refusal> {
        self.over();
        let Far::Lent(lent) = &self.far else {
            return Err(Refusal::Lost);
        };
        match lent.keeper.clone() {
            Keeper::Parking(parking) => {
                let parking = parking.upgrade().ok_or(Refusal::Lost)?;
                parking.park(self, frames).map_err(|failed| failed.1)
            }
            Keeper::Holding(holding) => {
                let holding = holding.upgrade().ok_or(Refusal::Lost)?;
                holding.hold(self, frames)
            }
        }
    }

    /// What asks the client, as it gets it.
    pub(crate) fn asks(&self, state: &str) -> Bytes {
        let Far::Lent(lent) = &self.far else {
            return Bytes::new();
        };
        self.marked(&lent.input_required(Some(state)))
    }

    /// What the server waits to be told, as `inputRequests`, raw; nothing when it waits for nothing.
    pub(super) fn questions(&self) -> Option<String> {
        let Far::Lent(lent) = &self.far else {
            return None;
        };
        if !lent.is_waiting() {
            return None;
        }
        let asked = Message::parse(self.marked(&lent.input_required(None))).ok()?;
        let found = members(asked.body()).ok()?;
        let questions = found.iter().find(|member| member.key == "inputRequests")?;
        Some(questions.value.to_owned())
    }

    /// A result that asks, marked who asks.
    fn marked(&self, asks: &str) -> Bytes {
        let message = json_rpc::result(&self.id, asks.as_bytes());
        let marked = self.rewrite.whole(&message, None);
        marked.unwrap_or(message)
    }

    /// Asks for the result of the task that the server made of the call: what comes now is the answer to that.
    pub(super) fn ask_result(&mut self, pause: Duration) -> Option<Frames> {
        let Far::Lent(lent) = &mut self.far else {
            return None;
        };
        let (number, frames) = lent.ask_result(self.server.name.clone(), pause)?;
        self.number = number;
        Some(frames)
    }

    /// Goes on with a call that waited, for the request in which its client came back.
    pub(crate) async fn go_on(
        mut self,
        inbound: &Inbound,
        frames: Frames,
        answers: &[(String, String)],
    ) -> Result<Reply, Refusal> {
        let id = inbound.message.id().cloned();
        self.id = id.ok_or(Refusal::Params("a request needs an id".into()))?;
        self.rewrite.token = inbound.progress_token();
        self.log_level = inbound.wanted_level();
        self.deadline = Instant::now() + self.server.total;
        if let Far::Lent(lent) = &mut self.far {
            lent.answer(answers);
            if lent.is_waiting() {
                return self.keep(frames).map(Reply::message);
            }
        }
        self.settle_frames(frames, None).await
    }

    /// Waits for the server's next message, at most until `quiet`, and finds out what it means.
    pub(super) async fn turn(
        &mut self,
        frames: &mut Frames,
        cancelled: &mut Cancelled,
        quiet: Instant,
    ) -> Result<Turn, Refusal> {
        let turn = self.next_turn(frames, cancelled, quiet).await;
        if matches!(turn, Ok(Turn::Final(_)) | Err(_)) {
            self.over();
        }
        turn
    }

    async fn next_turn(
        &mut self,
        frames: &mut Frames,
        cancelled: &mut Cancelled,
        quiet: Instant,
    ) -> Result<Turn, Refusal> {
        if matches!(&self.far, Far::Rounds(rounds) if rounds.is_asking()) {
            return self.ask_client(frames, cancelled, quiet).await;
        }
        if let Far::Lent(lent) = &mut self.far
            && lent.awaits_result()
        {
            if lent.may_be_held() {
                return Ok(Turn::Keep);
            }
            *frames = self.ask_result(Duration::ZERO).ok_or(Refusal::Lost)?;
            // A task has a time of its own.
            self.deadline = Instant::now() + TASK_MAX;
            return Ok(Turn::Nothing);
        }
        if let Far::Rounds(rounds) = &self.far
            && let Some(at) = rounds.poll_at()
        {
            return self.poll(frames, cancelled, quiet, at).await;
        }
        let began = Instant::now();
        let last = if self.asked {
            began + THINK_MAX
        } else {
            self.deadline
        };
        let until = last.min(quiet);
        if self.asked {
            frames.rest(true);
        }
        let next = match &mut self.far {
            Far::Lent(lent) => {
                let round = lent.round_until();
                let until = round.map_or(until, |round| round.min(until));
                let next = tokio::select! {
                    biased;
                    said = lent.aside() => Ok(Some(said)),
                    next = timeout_at(until, frames.next()) => next,
                };
                if next.is_err() && round.is_some() {
                    return Ok(Turn::Keep);
                }
                next
            }
            Far::Stateless | Far::Leg(..) | Far::Rounds(_) => tokio::select! {
                biased;
                // Whoever took the cancellation has told the server.
                () = fired(cancelled) => return Err(Refusal::Cancelled),
                next = timeout_at(until, frames.next()) => next,
            },
        };
        if std::mem::take(&mut self.asked) {
            // While the client thinks, the server's time stands still.
            self.deadline += began.elapsed();
            self.asked = next.is_err() || self.is_asked();
            frames.rest(self.asked);
        }
        match next {
            Ok(Some(Ok(bytes))) => Ok(self.meaning(bytes).await?),
            Ok(Some(Err(failure))) => Err(failure.into()),
            Ok(None) => Err(self
                .no_answer("the stream ended without an answer".to_owned())
                .into()),
            Err(_) if quiet < last => Ok(Turn::Quiet),
            Err(_) => {
                self.cancel().await;
                Err(self.too_late().into())
            }
        }
    }

    /// Whether another question of the call is open at the client.
    fn is_asked(&self) -> bool {
        match &self.far {
            Far::Leg(session, _) => session.is_asked_in(&self.id),
            Far::Stateless | Far::Rounds(_) | Far::Lent(_) => false,
        }
    }

    /// Puts a round's questions to the client, and sends the next round when all are answered.
    async fn ask_client(
        &mut self,
        frames: &mut Frames,
        cancelled: &mut Cancelled,
        quiet: Instant,
    ) -> Result<Turn, Refusal> {
        let Far::Rounds(rounds) = &mut self.far else {
            return Ok(Turn::Nothing);
        };
        if let Some(question) = rounds.question() {
            return Ok(Turn::Forward(question));
        }
        let began = Instant::now();
        let answered = tokio::select! {
            biased;
            () = fired(cancelled) => return Err(Refusal::Cancelled),
            answered = timeout_at(quiet, rounds.answered()) => answered,
        };
        // While the client thinks, the server's time stands still.
        self.deadline += began.elapsed();
        let Ok(answered) = answered else {
            return Ok(Turn::Quiet);
        };
        answered?;
        let again = tokio::select! {
            biased;
            () = fired(cancelled) => return Err(Refusal::Cancelled),
            again = timeout_at(self.deadline, rounds.again()) => again,
        };
        let (number, answer) = again.unwrap_or_else(|_| Err(self.too_late().into()))?;
        self.number = number;
        *frames = self.frames(answer)?;
        Ok(Turn::Nothing)
    }

    /// Waits until the call's task is to be looked at, and looks.
    async fn poll(
        &mut self,
        frames: &mut Frames,
        cancelled: &mut Cancelled,
        quiet: Instant,
        at: Instant,
    ) -> Result<Turn, Refusal> {
        let (began, is_quiet) = (Instant::now(), quiet < at);
        tokio::select! {
            biased;
            () = fired(cancelled) => return Err(Refusal::Cancelled),
            () = sleep_until(at.min(quiet)) => {}
        }
        // A task has a time of its own.
        self.deadline += began.elapsed();
        if is_quiet {
            return Ok(Turn::Quiet);
        }
        let Far::Rounds(rounds) = &mut self.far else {
            return Ok(Turn::Nothing);
        };
        let looked = tokio::select! {
            biased;
            () = fired(cancelled) => return Err(Refusal::Cancelled),
            looked = timeout_at(self.deadline, rounds.poll()) => looked,
        };
        let (number, answer) = looked.unwrap_or_else(|_| Err(self.too_late().into()))?;
        self.number = number;
        *frames = self.frames(answer)?;
        Ok(Turn::Nothing)
    }

    /// Tells a legacy server that nobody waits; a modern one learns it from the closed stream, and of a borrowed session from its return.
    pub(crate) async fn cancel(&self) {
        if let Far::Leg(_, leg) = &self.far {
            leg.conversation().cancel(self.number).await;
        }
    }

    pub(super) async fn meaning(&mut self, bytes: Bytes) -> Result<Turn, UpstreamFailure> {
        let message = Message::parse(bytes).map_err(|error| self.garbage(error.to_string()))?;
        match &message.shape {
            Shape::Result(id) | Shape::Error(Some(id)) if *id == Id::number(self.number) => {
                let mapped = self.rewrite.answer(&message, self.number, &self.id);
                let bytes = mapped.map_err(|reason| self.garbage(reason))?;
                self.final_answer(&message, bytes)
            }
            Shape::Result(_) | Shape::Error(_) => {
                tracing::warn!(server = %self.server.name, "dropped an answer with a foreign id");
                Ok(Turn::Nothing)
            }
            Shape::Request(_) => {
                let turn = self.question(&message).await;
                if let Turn::Forward(_) = turn {
                    self.asked = true;
                }
                Ok(turn)
            }
            Shape::Notification => Ok(self.notification(&message)),
        }
    }

    /// The answer in the client's era and revision, or another round.
    fn final_answer(&mut self, message: &Message, bytes: Bytes) -> Result<Turn, UpstreamFailure> {
        let said = match &mut self.far {
            Far::Stateless => {
                let between_us = self
                    .reserved(&bytes)
                    .filter(|code| self.is_between_us(*code));
                return match between_us {
                    Some(code) => Err(self.refused(code)),
                    None => Ok(Turn::Final(with_result_type(bytes))),
                };
            }
            Far::Leg(session, _) if session.version >= Version::V2025_06_18 => {
                return Ok(Turn::Final(bytes));
            }
            Far::Leg(session, _) => Message::parse(bytes.clone())
                .map_err(|error| error.to_string())
                .map(|shown| {
                    Some(
                        for_version(&shown, session.version, self.method, &self.id)
                            .unwrap_or(bytes),
                    )
                }),
            Far::Rounds(rounds) => Message::parse(bytes)
                .map_err(|error| error.to_string())
                .and_then(|shown| rounds.take(message, &shown, &self.id)),
            Far::Lent(lent) => {
                lent.lease.over();
                Message::parse(bytes)
                    .map_err(|error| error.to_string())
                    .and_then(|shown| lent.take(&shown, &self.id))
                    // It is marked who asks.
                    .map(|said| {
                        said.map(|said| match message.shape {
                            Shape::Error(_) => self.rewrite.whole(&said, None).unwrap_or(said),
                            _ => said,
                        })
                    })
            }
        };
        let said = said.map_err(|reason| self.garbage(reason))?;
        Ok(said.map_or(Turn::Nothing, Turn::Final))
    }

    async fn question(&mut self, message: &Message) -> Turn {
        match &mut self.far {
            Far::Leg(session, leg) => match session.ask(leg, message, Some(&self.id)).await {
                Some(question) => Turn::Forward(self.rewrite.question(&question)),
                None => Turn::Nothing,
            },
            Far::Lent(lent) => {
                lent.take_question(message);
                lent.refuse().await;
                Turn::Nothing
            }
            Far::Stateless | Far::Rounds(_) => {
                // MCP 2026-07-28, streamable-http: no requests on this stream.
                tracing::warn!(server = %self.server.name, method = %message.method, "dropped a request of a modern server");
                Turn::Nothing
            }
        }
    }

    fn notification(&mut self, message: &Message) -> Turn {
        let notice = match &*message.method {
            "notifications/progress" => self.rewrite.progress(&message.bytes, self.number),
            "notifications/message" if self.era == Era::Modern => self
                .rewrite
                .wanted_log(message, self.log_level)
                .then(|| message.bytes.clone()),
            method if method.ends_with("/list_changed") => {
                self.server.look_again();
                None
            }
            method => match &mut self.far {
                Far::Leg(session, leg) => session.notice(leg, message),
                Far::Stateless | Far::Rounds(_) => Some(message.bytes.clone()),
                Far::Lent(lent) => {
                    // What else a legacy server may say here has no place in a modern answer.
                    if method == "notifications/cancelled" {
                        lent.withdraw(message);
                    }
                    None
                }
            },
        };
        notice.map_or(Turn::Nothing, Turn::Forward)
    }
}

/// An answer of which a client of an old revision cannot read all; none when it can.
fn for_version(shown: &Message, version: Version, method: Method, id: &Id) -> Option<Bytes> {
    if !matches!(shown.shape, Shape::Result(_)) {
        return None;
    }
    match bridge::for_version(method, version, shown.body()) {
        Cow::Borrowed(_) => None,
        Cow::Owned(result) => Some(json_rpc::result(id, result.as_bytes())),
    }
}
