//! The handshake era: sessions, and questions that are requests of the server's own.

use std::rc::Rc;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Asked, Call, Question, Server, Session, State, Wanted, error, notification, question, result,
};
use crate::http::{Reader, Writer};
use crate::plan::{End, Round};
use crate::story::marks;

impl Server {
    pub(super) async fn answer_legacy(
        &self,
        asked: Asked,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> Option<()> {
        let message = &asked.message;
        if message["method"] == "initialize" {
            return self.open_session(&asked, writer).await;
        }
        let id = asked.head.header("mcp-session-id").unwrap_or("");
        let session = self.sessions.borrow().get(id).cloned();
        let Some(session) = session else {
            return writer.answer(404, "", "").await;
        };
        match &*asked.head.what {
            "DELETE" => {
                self.sessions.borrow_mut().remove(&session.id);
                session.over.send_replace(true);
                self.story
                    .note(self.name, format!("ends session {}", session.id));
                return writer.answer(200, "", "").await;
            }
            "GET" => return self.stream(&session, reader, writer).await,
            _ => {}
        }
        match message["method"].as_str() {
            Some("tools/list") => writer.answer(200, "", &Self::lists(message, false)).await,
            Some("tools/call") => self.call_legacy(&asked, &session, reader, writer).await,
            Some("notifications/cancelled") => {
                self.cancel(&session, &message["params"]["requestId"]);
                writer.answer(202, "", "").await
            }
            Some(method) if method.starts_with("notifications/") => {
                writer.answer(202, "", "").await
            }
            Some(_) if message["id"].is_null() => writer.answer(202, "", "").await,
            Some("ping" | "logging/setLevel") => {
                writer.answer(200, "", &result(message, &json!({}))).await
            }
            Some(_) => {
                writer
                    .answer(200, "", &error(message, -32601, "no such method"))
                    .await
            }
            None => {
                self.hear_answer(&session, &asked);
                writer.answer(202, "", "").await
            }
        }
    }

    async fn open_session(&self, asked: &Asked, writer: &mut Writer) -> Option<()> {
        let number = self.next_session.replace(self.next_session.get() + 1);
        let id = format!("{}-{number}", self.name);
        let session = Session {
            id: id.clone(),
            questions: Default::default(),
            next_question: 1.into(),
            aside: Default::default(),
            client: Default::default(),
            over: watch::Sender::new(false),
        };
        self.sessions
            .borrow_mut()
            .insert(id.clone(), Rc::new(session));
        self.story.note(
            self.name,
            format!(
                "opens session {id} for {}",
                asked.message["params"]["capabilities"]
            ),
        );
        let opened = json!({
            "protocolVersion": asked.message["params"]["protocolVersion"],
            "capabilities": {"tools": {}, "logging": {}},
            "serverInfo": {"name": self.name, "version": "1"},
        });
        let header = format!("Mcp-Session-Id: {id}\r\n");
        writer
            .answer(200, &header, &result(&asked.message, &opened))
            .await
    }

    /// The session's own stream.
    async fn stream(
        &self,
        session: &Session,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> Option<()> {
        writer.begin_events().await?;
        let (sender, mut aside) = mpsc::unbounded_channel();
        session.aside.replace(Some(sender));
        let mut over = session.over.subscribe();
        loop {
            tokio::select! {
                said = aside.recv() => match said {
                    Some(said) => writer.event(&said).await?,
                    None => return writer.end_events().await,
                },
                () = reader.closed() => return None,
                _ = over.wait_for(|over| *over) => {
                    writer.end_events().await?;
                    return None;
                }
            }
        }
    }

    fn cancel(&self, session: &Session, id: &Value) {
        let calls = self.calls.borrow();
        let found = calls
            .iter()
            .find(|call| call.session.as_deref() == Some(&session.id) && call.id == *id);
        match found {
            Some(call) => {
                self.story
                    .note(self.name, format!("hears that {} is cancelled", call.mark));
                self.story.count("calls cancelled at servers");
                call.cancelled.send_replace(true);
            }
            // The session may be younger than the call.
            None => self.story.note(
                self.name,
                format!("hears that {id} is cancelled, which it does not know"),
            ),
        }
    }

    /// An answer to a question: the right one, of the right conversation, once.
    fn hear_answer(&self, session: &Session, asked: &Asked) {
        let message = &asked.message;
        let mut questions = session.questions.borrow_mut();
        let question = message["id"].as_u64().and_then(|id| questions.get_mut(&id));
        let Some(question) = question else {
            self.story.fault(
                self.name,
                format!(
                    "gets an answer to a question it never asked: {}",
                    asked.text
                ),
            );
            return;
        };
        self.story.note(
            self.name,
            format!("gets an answer for {}: {}", question.mark, asked.text),
        );
        if std::mem::replace(&mut question.answered, true) {
            self.story.fault(
                self.name,
                format!("gets a second answer for {}", question.mark),
            );
        }
        let mark = question.mark.clone();
        self.story
            .only(self.name, &asked.text, |found| found == mark);
        let is_answer = marks(&asked.text).next().is_some();
        if let Some(waits) = question.waits.take() {
            let _gone = waits.send(is_answer);
        }
    }

    async fn call_legacy(
        &self,
        asked: &Asked,
        session: &Rc<Session>,
        reader: &mut Reader,
        writer: &mut Writer,
    ) -> Option<()> {
        let Some(wanted) = Wanted::read(&asked.message) else {
            return writer
                .answer(200, "", &error(&asked.message, -32602, "no plan"))
                .await;
        };
        let call = self.begin(&wanted, Some(session), asked, "");
        self.check_alone(session, &wanted.mark);
        let (mut cancelled, mut over) = (call.cancelled.subscribe(), session.over.subscribe());
        let done = tokio::select! {
            done = self.play_legacy(asked, &wanted, session, &call, writer) => done,
            () = reader.closed() => {
                self.story.note(self.name, format!("sees {} closed", wanted.mark));
                call.ends(State::Closed);
                None
            }
            // What has been cancelled is not answered.
            _ = cancelled.wait_for(|cancelled| *cancelled) => {
                call.ends(State::Said);
                None
            }
            _ = over.wait_for(|over| *over) => {
                call.ends(State::Lost);
                None
            }
        };
        call.ends(if done.is_some() {
            State::Said
        } else {
            State::Closed
        });
        done
    }

    /// A session of its own serves one client's session, or modern callers one at a time.
    fn check_alone(&self, session: &Session, mark: &str) {
        // `mark-l0.1-2.end` is a call of client l0 in its session 1.
        let client = mark
            .split_once('-')
            .and_then(|(_, rest)| rest.split('-').next());
        let client = client.unwrap_or_default();
        // Modern clients of one caller may have it one after the other.
        let client = client
            .strip_prefix('m')
            .map_or(client, |client| &client[client.len() - 1..]);
        let known = session
            .client
            .borrow_mut()
            .get_or_insert_with(|| client.to_owned())
            .clone();
        if known != client && !self.is_shared {
            self.story.fault(
                self.name,
                format!("session {} of {known} gets {mark}", session.id),
            );
        }
    }

    async fn play_legacy(
        &self,
        asked: &Asked,
        wanted: &Wanted,
        session: &Rc<Session>,
        call: &Call,
        writer: &mut Writer,
    ) -> Option<()> {
        let plan = &wanted.plan;
        if plan.plain
            && plan.rounds.is_empty()
            && plan.noise == 0
            && matches!(plan.end, End::Answer | End::Error)
        {
            sleep(plan.pause).await;
            let answer = match plan.end {
                End::Error => error(&asked.message, -32000, &format!("no {}", wanted.mark)),
                _ => result(&asked.message, &wanted.result(false)),
            };
            call.ends(State::Said);
            return writer.answer(200, "", &answer).await;
        }
        writer.begin_events().await?;
        for round in &plan.rounds {
            sleep(round.pause).await;
            self.noise(asked, wanted, writer).await?;
            if !self.ask_round(round, wanted, session, writer).await? {
                let refused = error(
                    &asked.message,
                    -32001,
                    &format!("nobody answered {}", wanted.mark),
                );
                call.ends(State::Said);
                writer.event(&refused).await?;
                return writer.end_events().await;
            }
        }
        sleep(plan.pause).await;
        self.noise(asked, wanted, writer).await?;
        self.end(asked, wanted, false, call, writer).await
    }

    /// Progress and log messages.
    pub(super) async fn noise(
        &self,
        asked: &Asked,
        wanted: &Wanted,
        writer: &mut Writer,
    ) -> Option<()> {
        for step in 0..wanted.plan.noise {
            let token = &asked.message["params"]["_meta"]["progressToken"];
            if !token.is_null() {
                let params =
                    json!({"progressToken": token, "progress": step, "message": wanted.mark});
                writer
                    .event(&notification("notifications/progress", &params))
                    .await?;
            }
            let params = json!({"level": "error", "data": wanted.mark});
            writer
                .event(&notification("notifications/message", &params))
                .await?;
        }
        Some(())
    }

    /// Asks a round, and says whether all was answered in time.
    async fn ask_round(
        &self,
        round: &Round,
        wanted: &Wanted,
        session: &Rc<Session>,
        writer: &mut Writer,
    ) -> Option<bool> {
        let mut waits = Vec::new();
        for (at, kind) in round.kinds.iter().enumerate() {
            if at > 0 {
                sleep(round.gap).await;
            }
            let number = session
                .next_question
                .replace(session.next_question.get() + 1);
            let (waiting, answer) = oneshot::channel();
            let asked = Question {
                mark: wanted.mark.clone(),
                waits: Some(waiting),
                withdrawn: false,
                answered: false,
            };
            session.questions.borrow_mut().insert(number, asked);
            let message = json!({"jsonrpc": "2.0", "id": number, "method": kind, "params": question(kind, &wanted.mark)});
            self.story.note(
                self.name,
                format!("asks {kind} as {number} for {}", wanted.mark),
            );
            self.story.count("questions of legacy servers");
            let aside = session
                .aside
                .borrow()
                .clone()
                .filter(|_| round.aside && !self.is_shared && *kind != "roots/list");
            match aside {
                Some(aside) if aside.send(message.to_string()).is_ok() => {}
                _ => writer.event(&message.to_string()).await?,
            }
            waits.push((number, answer));
        }
        let until = Instant::now() + wanted.plan.patience;
        let withdraw = round.withdraw.map(|after| Instant::now() + after);
        for (at, (number, mut answer)) in waits.into_iter().enumerate() {
            if at == 0
                && let Some(withdraw) = withdraw
            {
                if let Ok(answered) = timeout_at(withdraw.min(until), &mut answer).await {
                    if !answered.unwrap_or(false) {
                        return Some(false);
                    }
                    continue;
                }
                let params = json!({"requestId": number, "reason": wanted.mark});
                self.story
                    .note(self.name, format!("withdraws {number} of {}", wanted.mark));
                writer
                    .event(&notification("notifications/cancelled", &params))
                    .await?;
                if let Some(question) = session.questions.borrow_mut().get_mut(&number) {
                    question.withdrawn = true;
                }
                continue;
            }
            match timeout_at(until, answer).await {
                Ok(Ok(true)) => {}
                Ok(_) | Err(_) => return Some(false),
            }
        }
        Some(true)
    }

    /// The last word.
    pub(super) async fn end(
        &self,
        asked: &Asked,
        wanted: &Wanted,
        modern: bool,
        call: &Call,
        writer: &mut Writer,
    ) -> Option<()> {
        let answer = result(&asked.message, &wanted.result(modern));
        let foreign =
            json!({"jsonrpc": "2.0", "id": 77_777, "result": wanted.result(modern)}).to_string();
        self.story.note(
            self.name,
            format!("ends {} with {:?}", wanted.mark, wanted.plan.end),
        );
        // Who has the answer may close the connection before the server knows that it is written.
        if !matches!(wanted.plan.end, End::Break | End::Silence) {
            call.ends(State::Said);
        }
        match wanted.plan.end {
            End::Answer => writer.event(&answer).await?,
            End::Error => {
                writer
                    .event(&error(
                        &asked.message,
                        -32000,
                        &format!("no {}", wanted.mark),
                    ))
                    .await?
            }
            End::Twice => {
                writer.event(&answer).await?;
                writer.event(&answer).await?;
            }
            End::WrongIdFirst => {
                writer.event(&foreign).await?;
                writer.event(&answer).await?;
            }
            End::WrongId => writer.event(&foreign).await?,
            End::Break => {
                call.ends(State::Lost);
                return None;
            }
            End::Silence => std::future::pending().await,
        }
        writer.end_events().await
    }
}
