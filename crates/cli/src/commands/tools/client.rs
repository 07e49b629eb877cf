//! A conversation with one MCP server, in either era.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use protocol::mcp::headers;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    EraChoice,
    console::Console,
    door::{Answer, Door},
    failure::Failure,
    form,
    reply::Reply,
    speech::Speech,
    text,
};

/// The most pages of one list.
const PAGES_MAX: usize = 1_000;
/// How often a server may ask for more input before it answers one request.
const ROUNDS_MAX: usize = 10;
/// The wait before a request is repeated that asked for nothing but to be repeated.
const ROUND_PAUSE: Duration = Duration::from_millis(250);
/// How often a stream is picked up again without anything new on it.
const RESUMES_MAX: usize = 10;
/// The wait before that, where the server does not say.
const RESUME_PAUSE: Duration = Duration::from_secs(1);
/// The longest such wait that a server can ask for.
const RESUME_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long the last words to a server may take.
const FAREWELL_WAIT_MAX: Duration = Duration::from_secs(2);

/// A conversation with one MCP server.
#[derive(Debug)]
pub(super) struct Client {
    door: Door,
    pub(super) console: Console,
    pub(super) speech: Speech,
    name: Option<String>,
    offered: Value,
    asked: AtomicU64,
    in_flight: Mutex<Option<u64>>,
}

impl Client {
    /// Opens a conversation.
    pub(super) async fn connect(
        door: Door,
        era: EraChoice,
        console: Console,
    ) -> Result<Self, Failure> {
        let mut client = Self {
            door,
            console,
            speech: Speech::Modern,
            name: None,
            offered: Value::Null,
            asked: AtomicU64::new(0),
            in_flight: Mutex::new(None),
        };
        client.open(era).await?;
        Ok(client)
    }

    /// Asks for a result; questions of the server in between are put to the user.
    pub(super) async fn request(
        &self,
        method: &str,
        mut params: Value,
        headers: HeaderMap,
    ) -> Result<Value, Failure> {
        for _ in 0..ROUNDS_MAX {
            let reply = self
                .exchange(method, params.clone(), headers.clone())
                .await?;
            let mut result = reply.result(self.server())?;
            match (&self.speech, result["resultType"].as_str()) {
                (Speech::Modern, Some("input_required")) => {
                    self.answer_questions(&mut result, &mut params).await?;
                }
                (Speech::Modern, Some(kind)) if kind != "complete" => {
                    return Err(self.broken(&format!("unknown type of result {kind:?}")));
                }
                _ => return Ok(result),
            }
        }
        Err(self.broken(&format!("asks for input more than {ROUNDS_MAX} times")))
    }

    /// Asks for a list, page by page. What the server does not offer is empty.
    pub(super) async fn list(&self, method: &str, field: &str) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let capability = method.split('/').next().unwrap_or_default();
        if self.offered.is_object() && !self.offers(capability) {
            return Ok(items);
        }
        let mut params = json!({});
        for _ in 0..PAGES_MAX {
            let mut page = self
                .request(method, params.clone(), HeaderMap::new())
                .await?;
            match page[field].take() {
                Value::Array(page) => items.extend(page),
                _ => return Err(self.broken(&format!("the answer to {method} has no {field}"))),
            }
            match page["nextCursor"].take() {
                Value::Null => return Ok(items),
                cursor if params["cursor"] == cursor => break,
                cursor => params = json!({"cursor": cursor}),
            }
        }
        Err(self.broken(&format!("the pages of {method} have no end")))
    }

    /// Lists the tools that can be called.
    ///
    /// # Spec
    /// MCP 2026-07-28, basic/transports/streamable-http, "Schema Extension": tools with invalid
    /// `x-mcp-header` are left out, with a warning.
    pub(super) async fn tools(&self) -> Result<Vec<Value>, Failure> {
        let mut tools = self.list("tools/list", "tools").await?;
        if matches!(self.speech, Speech::Modern) {
            tools.retain(|tool| match headers::params(&tool["inputSchema"]) {
                Ok(_) => true,
                Err(error) => {
                    let line = format!("warning: tool {} is left out: {error}", tool["name"]);
                    self.console.say(&text::one_line(&line));
                    false
                }
            });
        }
        Ok(tools)
    }

    /// The headers that mirror the arguments of a tool.
    pub(super) fn argument_headers(&self, tool: &Value, arguments: &Value) -> HeaderMap {
        let mut map = HeaderMap::new();
        if !matches!(self.speech, Speech::Modern) {
            return map;
        }
        for param in headers::params(&tool["inputSchema"]).unwrap_or_default() {
            if let Some(value) = param.text(arguments)
                && let Ok(name) = HeaderName::try_from(param.header)
                && let Ok(value) = HeaderValue::from_str(&headers::encode(&value))
            {
                map.insert(name, value);
            }
        }
        map
    }

    /// Whether the server said that it can do this.
    pub(super) fn offers(&self, capability: &str) -> bool {
        self.offered.get(capability).is_some_and(Value::is_object)
    }

    /// The server, for people.
    pub(super) fn server(&self) -> &str {
        self.door.server()
    }

    /// Says that the server does not keep to the protocol.
    pub(super) fn broken(&self, what: &str) -> Failure {
        self.door.broken(what)
    }

    /// Takes back what is asked for and not answered. In the modern era closing the stream says so,
    /// and there is nothing more to do.
    pub(super) async fn cancel(&self) {
        let in_flight = *self.in_flight();
        if let (Speech::Legacy { .. }, Some(id)) = (&self.speech, in_flight) {
            let params = json!({"requestId": id, "reason": "interrupted by the user"});
            let telling = self.notify("notifications/cancelled", params);
            drop(timeout(FAREWELL_WAIT_MAX, telling).await);
        }
    }

    /// Ends the conversation.
    pub(super) async fn close(&self) {
        self.console.clear();
        if let Speech::Legacy {
            session: Some(_), ..
        } = self.speech
        {
            // A server may not let clients end sessions; ours ends anyway.
            let ending = self.door.delete(self.speech.headers("", &Value::Null));
            drop(timeout(FAREWELL_WAIT_MAX, ending).await);
        }
    }

    /// Tells the server something.
    pub(super) async fn notify(&self, method: &str, params: Value) -> Result<(), Failure> {
        let message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        self.tell(&message).await
    }

    /// Asks once.
    pub(super) async fn exchange(
        &self,
        method: &str,
        params: Value,
        headers: HeaderMap,
    ) -> Result<Reply, Failure> {
        self.exchange_all(method, params, headers)
            .await
            .map(|(reply, _)| reply)
    }

    /// Asks once, and also gives the session that the server opens.
    pub(super) async fn exchange_opening(
        &self,
        method: &str,
        params: Value,
    ) -> Result<(Reply, Option<HeaderValue>), Failure> {
        self.exchange_all(method, params, HeaderMap::new()).await
    }

    async fn exchange_all(
        &self,
        method: &str,
        mut params: Value,
        mut own: HeaderMap,
    ) -> Result<(Reply, Option<HeaderValue>), Failure> {
        let id = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        own.extend(self.speech.headers(method, &params));
        let log_level = &self.console.log_level;
        self.speech
            .add_meta(&mut params, &self.capabilities(), log_level);
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        *self.in_flight() = Some(id);
        let mut answer = self.door.post(&message, own).await?;
        let session = answer.session.take();
        let reply = self.reply(id, answer).await?;
        *self.in_flight() = None;
        Ok((reply, session))
    }

    async fn reply(&self, id: u64, mut answer: Answer) -> Result<Reply, Failure> {
        let mut resumes = 0;
        loop {
            while let Some(message) = answer.messages.next().await? {
                resumes = 0;
                if answers(&message, id, answer.status) {
                    return Ok(Reply::read(message));
                }
                self.hear(message).await?;
            }
            if answer.status.is_success() && answer.messages.last_event.is_some() {
                resumes += 1;
                if resumes <= RESUMES_MAX {
                    answer = self.resume(&answer).await?;
                    continue;
                }
            }
            if answer.status.is_success() {
                return Err(self.broken("the answer ended without a response"));
            }
            let text = answer.messages.excerpt().await;
            let status = answer.status;
            return Ok(Reply::Other { status, text });
        }
    }

    async fn resume(&self, answer: &Answer) -> Result<Answer, Failure> {
        let pause = answer.messages.retry.unwrap_or(RESUME_PAUSE);
        sleep(pause.min(RESUME_PAUSE_MAX)).await;
        let last = answer.messages.last_event.clone().unwrap_or_default();
        let mut resumed = self
            .door
            .resume(&last, self.speech.headers("", &Value::Null))
            .await?;
        resumed.messages.last_event.get_or_insert(last);
        resumed.messages.retry = resumed.messages.retry.or(answer.messages.retry);
        Ok(resumed)
    }

    /// Takes what a server says before its answer.
    async fn hear(&self, message: Value) -> Result<(), Failure> {
        let method = message["method"].as_str().unwrap_or_default();
        match (method, message.get("id")) {
            ("notifications/progress", None) => self.console.progress(&message["params"]),
            ("notifications/message", None) => self.console.log(&message["params"]),
            (_, None) | ("", _) => {}
            (method, Some(id)) => {
                if matches!(self.speech, Speech::Legacy { .. }) {
                    let answer = self.answer(id, method, &message["params"]).await?;
                    self.tell(&answer).await?;
                }
            }
        }
        Ok(())
    }

    /// Answers a question of a legacy server.
    async fn answer(&self, id: &Value, method: &str, params: &Value) -> Result<Value, Failure> {
        let result = match method {
            "ping" => json!({}),
            "elicitation/create" => self.elicit(params).await?,
            _ => {
                let error =
                    json!({"code": -32601, "message": format!("method not found: {method}")});
                return Ok(json!({"jsonrpc": "2.0", "id": id, "error": error}));
            }
        };
        Ok(json!({"jsonrpc": "2.0", "id": id, "result": result}))
    }

    /// Puts the questions of a modern server to the user, and the answers into the next request.
    ///
    /// # Spec
    /// MCP 2026-07-28, basic/patterns/mrtr, "Client Requirements".
    async fn answer_questions(
        &self,
        result: &mut Value,
        params: &mut Value,
    ) -> Result<(), Failure> {
        let mut answers = json!({});
        match result["inputRequests"].take() {
            Value::Null => sleep(ROUND_PAUSE).await,
            Value::Object(questions) => {
                for (key, question) in questions {
                    let method = question["method"].as_str().unwrap_or_default();
                    if method != "elicitation/create" {
                        let what = format!("asks for {method:?}, which was not offered");
                        return Err(self.broken(&what));
                    }
                    answers[&key] = self.elicit(&question["params"]).await?;
                }
            }
            _ => return Err(self.broken("inputRequests is not an object")),
        }
        let Some(params) = params.as_object_mut() else {
            return Ok(());
        };
        params.insert("inputResponses".into(), answers);
        // Echoed as it came, and left out where it did not come.
        match result["requestState"].take() {
            Value::Null => drop(params.remove("requestState")),
            state => drop(params.insert("requestState".into(), state)),
        }
        Ok(())
    }

    async fn elicit(&self, params: &Value) -> Result<Value, Failure> {
        self.console.clear();
        let asker = self.name.as_deref().unwrap_or_else(|| self.server());
        form::ask(&self.console, asker, params).await
    }

    /// Sends what gets no answer.
    async fn tell(&self, message: &Value) -> Result<(), Failure> {
        let mut answer = self
            .door
            .post(message, self.speech.headers("", &Value::Null))
            .await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let text = answer.messages.excerpt().await;
        Err(self.broken(&format!("{} {text}", answer.status)))
    }

    /// Forms are offered only where somebody is there to fill them in.
    pub(super) fn capabilities(&self) -> Value {
        if self.console.can_ask() {
            json!({"elicitation": {}})
        } else {
            json!({})
        }
    }

    pub(super) fn remember(&mut self, name: Option<String>, offered: Value) {
        self.name = name;
        self.offered = offered;
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a message is the response to a request. An error status may come with an error that has
/// lost its id.
fn answers(message: &Value, id: u64, status: StatusCode) -> bool {
    let lost_id = !status.is_success() && message["id"].is_null() && message["error"].is_object();
    message.get("method").is_none() && (message["id"] == id || lost_id)
}
