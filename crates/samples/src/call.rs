//! One request as the server sees it: what is asked, and the ways to talk back before the result.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::{
    era::{Client, Era, LogLevel},
    outcome::Stop,
    questions::Questions,
    wire::{self, Fault},
};

/// Progress is told at most this often, so that a fast task does not flood its client.
const PROGRESS_PAUSE_MIN: Duration = Duration::from_millis(50);

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) params: Map<String, Value>,
    pub(crate) client: Client,
    pub(crate) outbox: mpsc::Sender<String>,
    pub(crate) questions: Questions,
}

impl Call {
    /// What is called: the name of the tool or prompt.
    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    /// A parameter that is text; empty where there is none.
    pub(crate) fn text(&self, parameter: &str) -> &str {
        let value = self.params.get(parameter);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// Says that the request is not one of this server's.
    pub(crate) fn unknown_method(&self) -> Stop {
        Stop::Fault(Fault::method_not_found(&self.method))
    }

    /// Says that there is no such resource here.
    ///
    /// # Spec
    /// `-32002` up to 2025-11-25, `-32602` from 2026-07-28 (server/resources, "Error Handling").
    pub(crate) fn unknown_resource(&self, uri: &str) -> Stop {
        let code = match self.client.era {
            Era::Legacy => -32002,
            Era::Modern => -32602,
        };
        let fault = Fault::new(code, "resource not found");
        Stop::Fault(fault.with_data(json!({"uri": uri})))
    }

    /// Starts to tell progress, if the client wants to hear of it.
    pub(crate) fn progress(&self) -> Progress<'_> {
        let meta = self.params.get("_meta");
        Progress {
            token: meta.and_then(|meta| meta.get("progressToken")),
            outbox: &self.outbox,
            told: None,
        }
    }

    /// Sends a log message, if the client wants those of this severity.
    pub(crate) async fn log(&self, level: LogLevel, logger: &str, data: &Value) {
        if self.client.log_level.is_some_and(|least| level <= least) {
            let params = json!({"level": level.name(), "logger": logger, "data": data});
            self.send(&wire::notification("notifications/message", &params))
                .await;
        }
    }

    /// Asks the user to fill in a form, in the way of the client's era.
    ///
    /// A legacy client is asked while the call waits. A modern client gets the question as the
    /// result, and repeats the call with the answer: this returns [`Stop::NeedsInput`] first, and
    /// the answer when the same call comes again.
    ///
    /// # Errors
    /// [`Stop::NeedsInput`], or a [`Fault`] where an answer belongs to another call.
    pub(crate) async fn ask(&self, key: &str, message: &str, form: &Value) -> Result<Answer, Stop> {
        if !self.client.elicits {
            return Ok(Answer::CannotAsk);
        }
        let question = json!({"message": message, "requestedSchema": form});
        match self.client.era {
            Era::Legacy => Ok(read_answer(self.questions.ask(&question).await.as_ref())),
            Era::Modern => self.ask_modern(key, &question),
        }
    }

    fn ask_modern(&self, key: &str, question: &Value) -> Result<Answer, Stop> {
        // The state binds the answer to these arguments. It needs no seal: who forges it only makes
        // the own request fail (MCP 2026-07-28, basic/patterns/mrtr, server requirement 4).
        let state = json!([key, self.params.get("arguments")]).to_string();
        let answer = self
            .params
            .get("inputResponses")
            .and_then(|answers| answers.get(key));
        let Some(answer) = answer else {
            let requests = json!({key: {"method": "elicitation/create", "params": question}});
            return Err(Stop::NeedsInput { requests, state });
        };
        if self.params.get("requestState").and_then(Value::as_str) != Some(&state) {
            let message = "params.requestState does not belong to this call";
            return Err(Stop::Fault(Fault::invalid_params(message)));
        }
        Ok(read_answer(Some(answer)))
    }

    async fn send(&self, message: &Value) {
        // A closed outbox means that the client is gone; the call is about to be dropped as well.
        drop(self.outbox.send(message.to_string()).await);
    }
}

/// What came of a question to the user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The form as the user filled it in.
    Given(Value),
    /// The user saw the question and did not want to answer.
    Declined,
    /// Nobody was there to be asked.
    CannotAsk,
}

fn read_answer(answer: Option<&Value>) -> Answer {
    let action = answer.and_then(|answer| answer["action"].as_str());
    match (action, answer) {
        (Some("accept"), Some(answer)) => Answer::Given(answer["content"].clone()),
        (Some(_), _) => Answer::Declined,
        (None, _) => Answer::CannotAsk,
    }
}

/// Tells a client how far its request has come.
#[derive(Debug)]
pub(crate) struct Progress<'call> {
    token: Option<&'call Value>,
    outbox: &'call mpsc::Sender<String>,
    told: Option<Instant>,
}

impl Progress<'_> {
    /// Says that `done` of `total` are done. `done` has to grow from one time to the next.
    pub(crate) async fn tell(&mut self, done: usize, total: usize, message: &str) {
        let Some(token) = self.token else {
            return;
        };
        let recently = self
            .told
            .is_some_and(|told| told.elapsed() < PROGRESS_PAUSE_MIN);
        if recently && done < total {
            return;
        }
        self.told = Some(Instant::now());
        let params =
            json!({"progressToken": token, "progress": done, "total": total, "message": message});
        let message = wire::notification("notifications/progress", &params);
        drop(self.outbox.send(message.to_string()).await);
    }
}
