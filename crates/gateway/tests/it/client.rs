//! A client of a story, on whichever wire and in whichever era it speaks.

mod line;

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use protocol::mcp::headers;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use testkit::http::{self, Reply, Request};
use tokio::task::JoinSet;

use crate::house::House;
use line::Line;

/// How a client talks: wire and revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Streamable HTTP, 2026-07-28.
    Modern,
    /// Streamable HTTP with a session, in this revision.
    Legacy(&'static str),
    /// The transport of 2024-11-05.
    Sse,
    /// Standard input and output, 2026-07-28.
    StdioModern,
    /// Standard input and output with a handshake.
    StdioLegacy,
}

impl Way {
    /// Every way, by the name that stories use.
    pub(crate) const ALL: [(&'static str, Self); 7] = [
        ("2026-07-28", Self::Modern),
        ("2025-11-25", Self::Legacy("2025-11-25")),
        ("2025-06-18", Self::Legacy("2025-06-18")),
        ("2025-03-26", Self::Legacy("2025-03-26")),
        ("2024-11-05", Self::Sse),
        ("stdio-modern", Self::StdioModern),
        ("stdio-legacy", Self::StdioLegacy),
    ];

    pub(crate) fn is_modern(self) -> bool {
        matches!(self, Self::Modern | Self::StdioModern)
    }

    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Modern | Self::Legacy(_))
    }

    fn version(self) -> &'static str {
        match self {
            Self::Modern | Self::StdioModern => "2026-07-28",
            Self::Legacy(version) => version,
            Self::Sse => "2024-11-05",
            Self::StdioLegacy => "2025-11-25",
        }
    }
}

/// One client. A legacy one has opened its session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) way: Way,
    url: String,
    capabilities: Value,
    pub(crate) session: Option<String>,
    next_id: u64,
    line: Option<Line>,
    /// What the gateway said of itself at the start: the result of `initialize`; modern clients have not asked.
    pub(crate) opening: Value,
}

/// One request to be sent.
#[derive(Debug, Default)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    /// A raw JSON object.
    pub(crate) params: String,
    /// Raw JSON; the next number when there is none.
    pub(crate) id: Option<String>,
    /// Members for `params._meta`.
    pub(crate) meta: Option<Value>,
    /// Header lines to set, or to leave out.
    pub(crate) headers: BTreeMap<String, Option<String>>,
}

/// An answer that is still to come, or a stream that is open.
#[derive(Debug)]
pub(crate) struct Open {
    /// The raw id of the request; none for a stream that is no request.
    pub(crate) id: Option<String>,
    reply: Option<Coming>,
}

/// An HTTP answer that comes while the story goes on.
#[derive(Debug)]
struct Coming {
    sent: JoinSet<anyhow::Result<Reply>>,
    reply: Option<Reply>,
}

impl Coming {
    fn new(request: Request) -> Self {
        let mut sent = JoinSet::new();
        sent.spawn(async move { request.send().await });
        Self { sent, reply: None }
    }

    /// The answer, as soon as its head is here.
    async fn head(&mut self) -> anyhow::Result<&mut Reply> {
        if let Some(sent) = self.sent.join_next().await {
            self.reply = Some(sent??);
        }
        self.reply.as_mut().context("the request has failed before")
    }
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Only HTTP has one.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    /// The messages before the answer.
    pub(crate) events: Vec<Value>,
    /// The answer as it came.
    pub(crate) answer: String,
}

/// The parts of an answer, raw.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) error: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
}

impl Client {
    /// Opens one on an endpoint.
    pub(crate) async fn open(
        house: &House,
        way: Way,
        path: &str,
        capabilities: Value,
    ) -> anyhow::Result<Self> {
        let line = match way {
            Way::Modern | Way::Legacy(_) => None,
            Way::Sse => Some(Line::sse(&house.url(path)).await?),
            Way::StdioModern | Way::StdioLegacy => Some(Line::stdio(house.gateway.clone(), path)),
        };
        let url = house.url(path);
        let mut client = Self {
            way,
            url,
            capabilities,
            session: None,
            next_id: 1,
            line,
            opening: Value::Null,
        };
        if !way.is_modern() {
            client.initialize().await?;
        }
        Ok(client)
    }

    async fn initialize(&mut self) -> anyhow::Result<()> {
        let params = json!({
            "protocolVersion": self.way.version(),
            "capabilities": self.capabilities,
            "clientInfo": {"name": "story", "version": "1"},
        });
        let ask = Ask {
            method: "initialize",
            params: params.to_string(),
            ..Ask::default()
        };
        let mut open = self.send(&ask).await?;
        let outcome = self.finish(&mut open).await?;
        let session = outcome
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("mcp-session-id"));
        self.session = session.map(|(_, id)| id.clone());
        let message: Value = serde_json::from_str(&outcome.answer)?;
        self.opening = message["result"].clone();
        if self.opening["protocolVersion"] != self.way.version() {
            bail!("`initialize` was answered {}", outcome.answer);
        }
        self.tell("notifications/initialized", "{}").await
    }

    /// Sends a request; the answer is for [`finish`](Self::finish).
    pub(crate) async fn send(&mut self, ask: &Ask<'_>) -> anyhow::Result<Open> {
        let id = ask.id.clone().unwrap_or_else(|| self.next_id.to_string());
        self.next_id += 1;
        let body = self.body(ask, &id);
        let reply = match &mut self.line {
            Some(line) => {
                line.say(&body).await?;
                None
            }
            None => Some(Coming::new(self.post(ask, body)?)),
        };
        Ok(Open {
            id: Some(id),
            reply,
        })
    }

    /// Sends a notification, or an answer to a question.
    pub(crate) async fn tell(&mut self, method: &str, params: &str) -> anyhow::Result<()> {
        self.raw(format!(
            r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#
        ))
        .await
        .map(drop)
    }

    /// Sends any text.
    pub(crate) async fn raw(&mut self, body: String) -> anyhow::Result<Option<Reply>> {
        match &mut self.line {
            Some(line) => line.say(&body).await.map(|()| None),
            None => self.post(&Ask::default(), body)?.send().await.map(Some),
        }
    }

    fn body(&self, ask: &Ask<'_>, id: &str) -> String {
        let mut meta = ask.meta.clone().unwrap_or_else(|| json!({}));
        if self.way.is_modern() {
            let own = [
                ("protocolVersion", json!("2026-07-28")),
                ("clientCapabilities", self.capabilities.clone()),
                ("clientInfo", json!({"name": "story", "version": "1"})),
            ];
            for (key, value) in own {
                let key = format!("io.modelcontextprotocol/{key}");
                if meta.get(&key).is_none() {
                    meta[key] = value;
                }
            }
            meta.as_object_mut()
                .unwrap()
                .retain(|_, value| !value.is_null());
        }
        let params = if meta.as_object().is_some_and(serde_json::Map::is_empty) {
            ask.params.clone()
        } else {
            let rest = ask.params.trim().trim_start_matches('{');
            let comma = if rest.trim() == "}" { "" } else { "," };
            format!(r#"{{"_meta":{meta}{comma}{rest}"#)
        };
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{}","params":{params}}}"#,
            ask.method
        )
    }

    fn post(&self, ask: &Ask<'_>, body: String) -> anyhow::Result<Request> {
        let mut lines: Vec<(String, String)> = Vec::new();
        if self.way.is_modern() && !ask.method.is_empty() {
            lines.push(("MCP-Protocol-Version".to_owned(), "2026-07-28".to_owned()));
            lines.push(("Mcp-Method".to_owned(), ask.method.to_owned()));
            lines.extend(
                name(ask).map(|name| ("Mcp-Name".to_owned(), headers::encode(&name).into_owned())),
            );
        } else if let Some(session) = &self.session {
            lines.push(("Mcp-Session-Id".to_owned(), session.clone()));
            if self.way.version() > "2025-03-26" {
                lines.push((
                    "MCP-Protocol-Version".to_owned(),
                    self.way.version().to_owned(),
                ));
            }
        }
        let mut request = http::post(&self.url, body)?;
        for (name, value) in lines {
            request = request.header(&name, &value);
        }
        for (name, value) in &ask.headers {
            request = match value {
                Some(value) => request.set(name, value),
                None => request.without(name),
            };
        }
        Ok(request)
    }

    /// Opens what tells of changes: a listen request, the session's stream, or nothing where the wire is one stream.
    pub(crate) async fn follow(&mut self, filter: &Value) -> anyhow::Result<Open> {
        if self.way.is_modern() {
            let params = json!({"notifications": filter}).to_string();
            return self
                .send(&Ask {
                    method: "subscriptions/listen",
                    params,
                    ..Ask::default()
                })
                .await;
        }
        let reply = match &self.line {
            Some(_) => None,
            None => Some(self.open_events().await?),
        };
        for uri in filter["resourceSubscriptions"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let ask = Ask {
                method: "resources/subscribe",
                params: json!({"uri": uri}).to_string(),
                ..Ask::default()
            };
            let mut open = self.send(&ask).await?;
            let outcome = self.finish(&mut open).await?;
            if outcome.message()?.get("result").is_none() {
                bail!("`resources/subscribe` was answered {}", outcome.answer);
            }
        }
        Ok(Open { id: None, reply })
    }

    async fn open_events(&self) -> anyhow::Result<Coming> {
        let session = self.session.as_deref().context("there is no session")?;
        let request = http::get(&self.url)?
            .header("Accept", "text/event-stream")
            .header("Mcp-Session-Id", session);
        let mut coming = Coming::new(request);
        let reply = coming.head().await?;
        if !reply.is_stream() {
            bail!("the event stream was refused with {}", reply.status);
        }
        Ok(coming)
    }

    /// The next message that is no answer; `None` at the proper end.
    pub(crate) async fn hear(&mut self, open: &mut Open) -> anyhow::Result<Option<String>> {
        let Some(reply) = &mut open.reply else {
            let line = self.line.as_mut().context("the stream is over")?;
            return line.hear(open.id.as_deref()).await;
        };
        let reply = reply.head().await?;
        loop {
            match reply.event().await? {
                None => return Ok(None),
                Some(event) if event.data.is_empty() => {}
                Some(event) => return Ok(Some(event.data)),
            }
        }
    }

    /// The answer to a request, and everything before it.
    pub(crate) async fn finish(&mut self, open: &mut Open) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let Some(reply) = &mut open.reply else {
            let id = open.id.clone().context("this is no request")?;
            let line = self.line.as_mut().context("the request is over")?;
            let (events, answer) = line.answer(&id).await?;
            outcome.events = events;
            outcome.answer = answer;
            return Ok(outcome);
        };
        let reply = reply.head().await?;
        outcome.status = Some(reply.status);
        outcome.headers = reply.headers.clone();
        if !reply.is_stream() {
            outcome.answer = reply.text().await?;
            return Ok(outcome);
        }
        while let Some(event) = reply.event().await? {
            if Answer::parse(&event.data)?.is_answer() {
                outcome.answer = event.data;
            } else {
                outcome.events.push(event.json());
            }
        }
        Ok(outcome)
    }

    /// Ends the session.
    pub(crate) async fn leave(&mut self) -> anyhow::Result<()> {
        let Some(session) = self.session.take() else {
            self.line = None;
            return Ok(());
        };
        let reply = http::delete(&self.url)?
            .header("Mcp-Session-Id", &session)
            .send()
            .await?;
        if reply.status != 200 {
            bail!("the end of the session was answered {}", reply.status);
        }
        Ok(())
    }
}

/// What `Mcp-Name` must say.
fn name(ask: &Ask<'_>) -> Option<String> {
    let params: BTreeMap<String, &RawValue> = serde_json::from_str(&ask.params).ok()?;
    let key = match ask.method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" => "uri",
        "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
        _ => return None,
    };
    serde_json::from_str(params.get(key)?.get()).ok()
}

impl Outcome {
    /// The answer as a value; nothing when it is empty, or holds a number that no value can hold.
    pub(crate) fn message(&self) -> anyhow::Result<Value> {
        if self.answer.is_empty() {
            return Ok(Value::Null);
        }
        Answer::parse(&self.answer)?;
        Ok(serde_json::from_str(&self.answer).unwrap_or_default())
    }
}

impl<'a> Answer<'a> {
    /// Takes a message apart.
    pub(crate) fn parse(text: &'a str) -> anyhow::Result<Self> {
        serde_json::from_str(text).with_context(|| format!("not a message: {text}"))
    }

    pub(crate) fn is_answer(&self) -> bool {
        self.method.is_none() && (self.result.is_some() || self.error.is_some())
    }
}
