//! A client of the handshake era.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::{Call, Client, Ended, in_time, join, reply};
use crate::http::Answer;
use crate::story::marks;

/// One session.
#[derive(Debug)]
struct Session {
    client: Rc<Client>,
    headers: String,
    /// How its marks begin.
    prefix: String,
    deleted: Cell<bool>,
    tasks: RefCell<JoinSet<()>>,
}

/// The id of the last event of a stream.
type LastEvent = Rc<RefCell<Option<String>>>;

/// What the client does with one request beside answering questions.
#[derive(Debug, Clone, Copy)]
enum Leave {
    Stays,
    Cancels(Instant),
    HangsUp(Instant),
    HangsUpAndReturns(Instant),
    CancelsAndHangsUp(Instant),
}

impl Client {
    pub(super) async fn live_legacy(self: &Rc<Self>, number: u64) {
        let story = &self.shared.story;
        let body = json!({"jsonrpc": "2.0", "id": "open", "method": "initialize", "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": self.capabilities(),
            "clientInfo": {"name": self.name, "version": "1"},
        }});
        let opened = self.ask("POST", "", &body.to_string()).await;
        let Some(id) = opened
            .as_ref()
            .and_then(|opened| opened.head.header("mcp-session-id"))
        else {
            story.fault(&self.name, "got no session");
            return;
        };
        story.note(&self.name, format!("opens session {number}"));
        self.shared
            .sessions
            .borrow_mut()
            .push((self.caller, id.to_owned()));
        let session = Rc::new(Session {
            client: self.clone(),
            headers: format!("Mcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-11-25\r\n"),
            prefix: format!("mark-{}.{number}-", self.name),
            deleted: Cell::new(false),
            tasks: RefCell::default(),
        });
        session
            .say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        if self.dice.percent(60) {
            session
                .tasks
                .borrow_mut()
                .spawn_local(session.clone().listen());
        }
        let mut calls = JoinSet::new();
        for id in 1..=self.dice.between(1, 5) {
            let call = self.draw(&format!(".{number}"));
            calls.spawn_local(session.clone().call(id, call));
            sleep(self.dice.wait(Duration::from_secs(30))).await;
        }
        if !self.shared.is_tame && self.dice.percent(25) {
            session.delete().await;
        }
        join(calls).await;
        if self.dice.percent(50) {
            session.delete().await;
        }
        // Whoever does not end its session is forgotten after a while.
        let mut tasks = session.tasks.take();
        tasks.shutdown().await;
    }
}

impl Session {
    async fn say(&self, message: &Value) -> Option<Answer> {
        self.client
            .ask("POST", &self.headers, &message.to_string())
            .await
    }

    async fn delete(&self) {
        if !self.deleted.replace(true) {
            self.client
                .shared
                .story
                .note(&self.client.name, "ends its session");
            self.client.ask("DELETE", &self.headers, "").await;
        }
    }

    /// The session's own stream.
    async fn listen(self: Rc<Self>) {
        let story = &self.client.shared.story;
        sleep(self.client.dice.wait(Duration::from_secs(10))).await;
        let Some(mut stream) = self.client.ask("GET", &self.headers, "").await else {
            return;
        };
        if stream.head.status() != 200 {
            return;
        }
        while let Ok(Some(message)) = stream.event().await {
            story.only(&self.client.name, &message.to_string(), |mark| {
                mark.starts_with(&self.prefix)
            });
            let Some(kind) = message["method"]
                .as_str()
                .filter(|_| !message["id"].is_null())
            else {
                continue;
            };
            let text = message.to_string();
            // A question about roots says nothing of its call.
            let Some(mark) = marks(&text).next() else {
                self.say(&json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -1, "message": "no"}})).await;
                continue;
            };
            let answer =
                json!({"jsonrpc": "2.0", "id": message["id"], "result": reply(kind, mark)});
            self.tasks.borrow_mut().spawn_local({
                let session = self.clone();
                async move { drop(session.say(&answer).await) }
            });
        }
    }

    async fn call(self: Rc<Self>, id: u64, call: Call) {
        let story = &self.client.shared.story;
        story.count("calls of legacy clients");
        story.note(
            &self.client.name,
            format!(
                "calls {} as {id} with {:?}, honest: {}",
                call.tool, call.plan, call.is_honest
            ),
        );
        let leave = Self::draw_leave(&call);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": call.tool,
            "arguments": call.arguments(),
            "_meta": {"progressToken": format!("token {}", call.mark)},
        }});
        let at = match leave {
            Leave::Stays => None,
            Leave::Cancels(at)
            | Leave::HangsUp(at)
            | Leave::HangsUpAndReturns(at)
            | Leave::CancelsAndHangsUp(at) => Some(at),
        };
        let last_event = Rc::default();
        let mut talk = Box::pin(in_time(self.talk(id, &call, body.to_string(), &last_event)));
        let leaving = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = &mut talk => Some(ended),
            () = leaving => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => self.leave(id, &call, leave, talk, &last_event).await,
        };
        // A session that has ended takes its requests with it.
        let ended = match ended {
            Ended::Silently(how) if self.deleted.get() && how != "for three hours" => Ended::Left,
            ended => ended,
        };
        // What is asked on the session's own stream waits for a client that may have none open.
        let aside = call.plan.rounds.iter().any(|round| round.aside);
        let can_all = self.client.offers.len() == 3 && !aside;
        self.client.ends(&call, &ended, can_all);
    }

    /// Leaves a request before it is answered, perhaps not for ever.
    async fn leave(
        self: &Rc<Self>,
        id: u64,
        call: &Call,
        leave: Leave,
        talk: Pin<Box<impl Future<Output = Ended>>>,
        last_event: &LastEvent,
    ) -> Ended {
        let (story, name) = (&self.client.shared.story, &self.client.name);
        let how = format!("{leave:?}");
        story.note(
            name,
            format!("leaves {}: {}", call.mark, how.split('(').next().unwrap()),
        );
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        match leave {
            Leave::Stays | Leave::HangsUp(_) => {}
            Leave::Cancels(_) => {
                self.say(&cancel).await;
                self.client.check_given_up(call).await;
                // Nothing has to come any more, but the end of the stream.
                if talk.await == Ended::Silently("for three hours") {
                    story.fault(
                        name,
                        format!("{} goes on after it was cancelled", call.mark),
                    );
                }
            }
            Leave::HangsUpAndReturns(_) => {
                drop(talk);
                return self.come_back(id, call, last_event).await;
            }
            Leave::CancelsAndHangsUp(_) => {
                let told = timeout(Duration::from_secs(5), self.say(&cancel)).await;
                drop(talk);
                if let Ok(Some(_)) = told {
                    self.client.check_given_up(call).await;
                }
            }
        }
        Ended::Left
    }

    /// Picks up the stream of a request where it was left.
    async fn come_back(self: &Rc<Self>, id: u64, call: &Call, last_event: &LastEvent) -> Ended {
        let story = &self.client.shared.story;
        loop {
            let known = last_event.borrow().clone();
            let Some(event) = known else {
                // Nothing had come by which the stream could be named.
                call.is_excused.set(true);
                return Ended::Left;
            };
            let most = if call.is_honest { 50 } else { 400 };
            sleep(call.dice.wait(Duration::from_secs(most))).await;
            story.count("streams picked up");
            story.note(&self.client.name, format!("comes back for {}", call.mark));
            let headers = format!("{}Last-Event-ID: {event}\r\n", self.headers);
            let Some(mut answer) = self.client.ask("GET", &headers, "").await else {
                return Ended::Silently("closed before the head, having come back");
            };
            if answer.head.status() != 200 {
                return Ended::Refused(answer.head.status().into());
            }
            answer.last_event = last_event.clone();
            let goes_on = in_time(self.read(id, call, answer));
            if call.is_honest || call.dice.percent(50) {
                return goes_on.await;
            }
            let patience = call.dice.wait(Duration::from_secs(60));
            if let Ok(ended) = timeout(patience, goes_on).await {
                return ended;
            }
        }
    }

    fn draw_leave(call: &Call) -> Leave {
        if call.is_honest {
            let at = Instant::now() + call.dice.wait(Duration::from_secs(50));
            return if call.dice.percent(15) {
                Leave::HangsUpAndReturns(at)
            } else {
                Leave::Stays
            };
        }
        let at = Instant::now() + call.dice.wait(Duration::from_secs(900));
        match call.dice.between(0, 9) {
            0 => Leave::Cancels(at),
            1 => Leave::HangsUp(at),
            2 | 3 => Leave::HangsUpAndReturns(at),
            4 => Leave::CancelsAndHangsUp(at),
            _ => Leave::Stays,
        }
    }

    async fn talk(
        self: &Rc<Self>,
        id: u64,
        call: &Call,
        body: String,
        last_event: &LastEvent,
    ) -> Ended {
        let story = &self.client.shared.story;
        let Some(mut answer) = self.client.ask("POST", &self.headers, &body).await else {
            return Ended::Silently("closed before the head");
        };
        if !answer.is_stream() {
            let status = answer.head.status();
            let Some(message) = answer.json().await else {
                return if status >= 400 {
                    Ended::Refused(status.into())
                } else {
                    Ended::Silently("no JSON")
                };
            };
            self.check_id(&message, id, call);
            return call.ended(story, &message);
        }
        answer.last_event = last_event.clone();
        self.read(id, call, answer).await
    }

    /// Reads the stream of a request to its end.
    async fn read(self: &Rc<Self>, id: u64, call: &Call, mut answer: Answer) -> Ended {
        let story = &self.client.shared.story;
        let mut ended = None;
        loop {
            let message = match answer.event().await {
                Ok(Some(message)) => message,
                Ok(None) => return ended.unwrap_or(Ended::Silently("the stream ended")),
                Err(()) => return ended.unwrap_or(Ended::Silently("the stream broke off")),
            };
            if ended.is_some() {
                story.fault(
                    &self.client.name,
                    format!("{} got more than an answer: {message}", call.mark),
                );
            }
            if message["method"].is_null() {
                self.check_id(&message, id, call);
                ended = Some(call.ended(story, &message));
                continue;
            }
            story.only(&self.client.name, &message.to_string(), |mark| {
                mark == call.mark
            });
            match message["method"].as_str() {
                Some(kind) if !message["id"].is_null() => {
                    story.count("questions to legacy clients");
                    let work = self
                        .clone()
                        .answer(kind.to_owned(), message["id"].clone(), call);
                    self.tasks.borrow_mut().spawn_local(work);
                }
                _ => {}
            }
        }
    }

    fn check_id(&self, message: &Value, id: u64, call: &Call) {
        if message["id"] != id {
            self.client.shared.story.fault(
                &self.client.name,
                format!("{} got an answer with another id: {message}", call.mark),
            );
        }
    }

    /// Answers a question: in time, late, twice, not at all, or one that nobody asked.
    fn answer(
        self: Rc<Self>,
        kind: String,
        id: Value,
        call: &Call,
    ) -> impl Future<Output = ()> + use<> {
        let (mark, dice, is_honest) = (call.mark.clone(), call.dice.fork(), call.is_honest);
        async move {
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": reply(&kind, &mark)});
            sleep(dice.wait(Duration::from_secs(if is_honest { 500 } else { 800 }))).await;
            if is_honest {
                self.say(&answer).await;
                return;
            }
            match dice.between(0, 9) {
                0 => self
                    .client
                    .shared
                    .story
                    .note(&self.client.name, format!("does not answer {mark}")),
                1 => {
                    let refusal =
                        json!({"jsonrpc": "2.0", "id": id, "error": {"code": -1, "message": "no"}});
                    self.say(&refusal).await;
                }
                2 => {
                    let unknown = json!({"jsonrpc": "2.0", "id": 90_000, "result": reply(&kind, "mark-nobody.end")});
                    self.say(&unknown).await;
                    self.say(&answer).await;
                }
                3 | 4 => {
                    tokio::join!(self.say(&answer), self.say(&answer));
                    sleep(dice.wait(Duration::from_secs(1))).await;
                    self.say(&answer).await;
                }
                _ => drop(self.say(&answer).await),
            }
        }
    }
}
