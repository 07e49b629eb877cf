//! Tells a story, in one way of talking.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use testkit::http::{self, Reply};

use super::compare::differs;
use super::steps::{Expected, Follow, Hear, Http, Saw, Say, Send, Step, Verb};
use super::{Story, way};
use crate::client::{Answer, Ask, Client, Open, Outcome, Way};
use crate::house::{House, shown};
use crate::scripted::raw;

/// How often something that comes sooner or later is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// A story under way.
struct Play<'s> {
    story: &'s Story,
    way: Way,
    word: &'static str,
    house: House,
    clients: BTreeMap<String, Client>,
    open: BTreeMap<String, Opened>,
    kept: BTreeMap<String, String>,
    /// The raw id of the question heard last.
    question: String,
}

struct Opened {
    client: String,
    open: Open,
    /// Whether it tells of changes.
    follows: bool,
}

impl Story {
    /// Tells it; an error says which step went wrong.
    pub(crate) async fn play(&self, word: &'static str, way: Way) -> anyhow::Result<()> {
        let house = House::start(&self.resources, &self.servers).await?;
        let mut play = Play {
            story: self,
            way,
            word,
            house,
            clients: BTreeMap::new(),
            open: BTreeMap::new(),
            kept: BTreeMap::new(),
            question: "null".to_owned(),
        };
        for (at, step) in self.talk.iter().enumerate() {
            if play.concerns(step) {
                let told = play.step(step).await;
                told.with_context(|| {
                    format!(
                        "step {} (servers: {})",
                        at + 1,
                        play.house.report()["servers"]
                    )
                })?;
            }
        }
        Ok(())
    }
}

impl Play<'_> {
    fn concerns(&self, step: &Step) -> bool {
        match step.only.as_deref() {
            None => true,
            Some("modern") => self.way.is_modern(),
            Some("legacy") => !self.way.is_modern(),
            Some("http") => self.way.is_http(),
            Some(word) => word == self.word,
        }
    }

    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        match &step.verb {
            Verb::Send(send) => self.send(&step.client, send).await,
            Verb::Http(http) => self.http(&step.client, http).await,
            Verb::Tell(tell) => {
                let params =
                    self.filled(&tell.params.as_ref().map_or_else(|| "{}".to_owned(), raw));
                self.client(&step.client)
                    .await?
                    .tell(&tell.tell, &params)
                    .await
            }
            Verb::Reply(reply) => {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{},"result":{}}}"#,
                    self.question,
                    raw(&reply.reply)
                );
                self.client(&step.client).await?.raw(body).await.map(drop)
            }
            Verb::Opening(expected) => self.opening(&step.client, expected).await,
            Verb::Follow(follow) => self.follow(&step.client, follow).await,
            Verb::Hear(hear) => self.hear(hear).await,
            Verb::Finish(finish) => {
                let mut opened = self
                    .open
                    .remove(&finish.finish)
                    .context("nothing of that name is open")?;
                let client = self
                    .clients
                    .get_mut(&opened.client)
                    .context("the client has left")?;
                let outcome = client.finish(&mut opened.open).await?;
                self.check(&finish.expected, &outcome, opened.open.id.as_deref())
            }
            Verb::HangUp(name) => self
                .open
                .remove(name)
                .map(drop)
                .context("nothing of that name is open"),
            Verb::Leave(name) => {
                let mut client = self
                    .clients
                    .remove(name)
                    .context("no client of that name")?;
                client.leave().await
            }
            verb => self.behind(verb).await,
        }
    }

    /// What happens at the servers and at the gateway itself.
    async fn behind(&mut self, verb: &Verb) -> anyhow::Result<()> {
        match verb {
            Verb::Change(changes) => changes
                .iter()
                .try_for_each(|(name, changes)| self.house.server(name)?.change(changes)),
            Verb::Say(say) => self.say(say).await,
            Verb::Release(release) => {
                self.house
                    .server(&release.server)?
                    .release(&release.release);
                Ok(())
            }
            Verb::Stop(name) => {
                self.house.server_mut(name)?.stop().await;
                Ok(())
            }
            Verb::Start(name) => self.house.server_mut(name)?.start_again().await,
            Verb::Forget(name) => {
                self.house.server(name)?.forget_sessions();
                Ok(())
            }
            Verb::Apply(apply) => match (self.house.apply(&apply.apply), &apply.refused) {
                (Ok(()), None) => Ok(()),
                (Err(found), Some(part)) if shown(&found).contains(part) => Ok(()),
                (Ok(()), Some(_)) => bail!("the resources were accepted"),
                (Err(found), _) => bail!("the resources were refused: {}", shown(&found)),
            },
            Verb::Report(expected) => {
                let look = || differs(expected, Some(&self.house.report()));
                eventually(look)
                    .await
                    .map_err(|difference| anyhow::anyhow!("report{difference}"))
            }
            Verb::Close => {
                self.house.gateway.close_streams();
                Ok(())
            }
            Verb::Saw(saw) => self.saw(saw).await,
            other => bail!("{other:?} is a client's step"),
        }
    }

    async fn client(&mut self, name: &str) -> anyhow::Result<&mut Client> {
        if !self.clients.contains_key(name) {
            let about = self.story.clients.get(name).cloned().unwrap_or_default();
            let path = about.at.unwrap_or_else(|| self.house.first_path());
            let way = about
                .way
                .map_or(Ok(self.way), |word| way(&word).map(|(_, way)| way))?;
            let capabilities = about.capabilities.unwrap_or_else(|| json!({}));
            let client = Client::open(&self.house, way, &path, capabilities).await?;
            self.clients.insert(name.to_owned(), client);
        }
        self.clients.get_mut(name).context("just opened")
    }

    async fn send(&mut self, client: &str, send: &Send) -> anyhow::Result<()> {
        let ask = Ask {
            method: &send.method,
            params: self.filled(&send.params.as_ref().map_or_else(|| "{}".to_owned(), raw)),
            id: send.id.as_ref().map(raw),
            meta: send.meta.clone(),
            headers: send
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), value.as_ref().map(|text| self.filled(text))))
                .collect(),
        };
        let mut open = self.client(client).await?.send(&ask).await?;
        if let Some(name) = &send.later {
            self.open.insert(
                name.clone(),
                Opened {
                    client: client.to_owned(),
                    open,
                    follows: false,
                },
            );
            return Ok(());
        }
        let patience = tokio::time::Instant::now() + testkit::WAIT_MAX;
        loop {
            let outcome = self.client(client).await?.finish(&mut open).await?;
            let checked = self.check(&send.expected, &outcome, open.id.as_deref());
            if checked.is_ok() || !send.until || tokio::time::Instant::now() > patience {
                return checked;
            }
            open = self.client(client).await?.send(&ask).await?;
        }
    }

    fn check(
        &mut self,
        expected: &Expected,
        outcome: &Outcome,
        id: Option<&str>,
    ) -> anyhow::Result<()> {
        let came = || {
            format!(
                "status {:?}, {:?}, {}",
                outcome.status, outcome.events, outcome.answer
            )
        };
        let message = outcome.message()?;
        let answer = if outcome.answer.is_empty() {
            Answer::default()
        } else {
            Answer::parse(&outcome.answer)?
        };
        // HTTP refuses some requests before it has read the message.
        let unread = matches!(expected.status, Some(403 | 406 | 415)) && answer.id.is_none();
        if answer.is_answer() && !unread {
            ensure!(
                answer.id.map(RawValue::get) == id,
                "the id is not {id:?}: {}",
                came()
            );
        }
        let parts = [("result", &expected.result), ("error", &expected.error)];
        for (part, expected) in parts {
            if let Some(difference) = expected
                .as_ref()
                .and_then(|expected| differs(&self.filled_value(expected), message.get(part)))
            {
                bail!("{part}{difference}\n  came: {}", came());
            }
        }
        if let Some(expected) = &expected.result_text {
            let found = answer.result.map(RawValue::get).unwrap_or_default();
            ensure!(
                found == self.filled(expected),
                "the result is not {expected}\n  came: {}",
                came()
            );
        }
        if let (Some(expected), Some(status)) = (expected.status, outcome.status) {
            ensure!(status == expected, "not status {expected}: {}", came());
        }
        if outcome.status.is_some() {
            check_headers(&expected.headers, &outcome.headers)?;
        }
        if let Some(events) = &expected.events {
            let difference = differs(
                &Value::from(events.clone()),
                Some(&Value::from(outcome.events.clone())),
            );
            ensure!(
                difference.is_none(),
                "events{}\n  came: {}",
                difference.unwrap_or_default(),
                came()
            );
        }
        for (name, pointer) in &expected.keep {
            let value = message
                .pointer(pointer)
                .with_context(|| format!("nothing at {pointer}: {}", came()))?;
            self.kept.insert(name.clone(), raw(value));
        }
        Ok(())
    }

    async fn http(&mut self, client: &str, step: &Http) -> anyhow::Result<()> {
        let path = step.path.clone().unwrap_or_else(|| self.house.first_path());
        let session = match self.clients.get(client) {
            Some(client) => client.session.clone(),
            None if step
                .headers
                .values()
                .chain(&step.body)
                .any(|text| text.contains("${session}")) =>
            {
                self.client(client).await?.session.clone()
            }
            None => None,
        };
        self.kept
            .extend(session.map(|session| ("session".to_owned(), session)));
        let mut request = http::Request::new(&step.method, &self.house.url(&path))?;
        for (name, value) in &step.headers {
            request = request.header(name, &self.filled(value));
        }
        let body = step.body.as_ref().map(|text| self.filled(text));
        let mut reply = request.body(body.unwrap_or_default()).send().await?;
        let text = if step.events.is_none() && step.answer.is_none() {
            String::new()
        } else {
            reply.text().await?
        };
        ensure!(
            reply.status == step.status,
            "status {} instead of {}: {text}",
            reply.status,
            step.status
        );
        check_headers(&step.answer_headers, &reply.headers)?;
        if let Some(expected) = &step.answer {
            let found = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
            let difference = differs(&self.filled_value(expected), Some(&found));
            ensure!(
                difference.is_none(),
                "answer{}: {text}",
                difference.unwrap_or_default()
            );
        }
        unordered(step.events.as_deref().unwrap_or_default(), &reply, &text)
    }

    async fn opening(&mut self, name: &str, expected: &Value) -> anyhow::Result<()> {
        let client = self.client(name).await?;
        let found = if client.way.is_modern() {
            let mut open = client
                .send(&Ask {
                    method: "server/discover",
                    params: "{}".to_owned(),
                    ..Ask::default()
                })
                .await?;
            client.finish(&mut open).await?.message()?["result"].clone()
        } else {
            client.opening.clone()
        };
        let difference = differs(expected, Some(&found));
        ensure!(
            difference.is_none(),
            "opening{}: {found}",
            difference.unwrap_or_default()
        );
        Ok(())
    }

    async fn follow(&mut self, client: &str, follow: &Follow) -> anyhow::Result<()> {
        let lists = json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true});
        let filter = follow.filter.clone().unwrap_or(lists);
        let open = self.client(client).await?.follow(&filter).await?;
        let modern = open.id.is_some();
        self.open.insert(
            follow.follow.clone(),
            Opened {
                client: client.to_owned(),
                open,
                follows: true,
            },
        );
        if modern {
            // MCP 2026-07-28, basic/patterns/subscriptions: the acknowledgement comes first.
            let honored = follow.honored.clone().unwrap_or_else(|| json!({}));
            let first = json!({"method": "notifications/subscriptions/acknowledged", "params": {"notifications": honored}});
            self.hear(&Hear {
                hear: first,
                on: Some(follow.follow.clone()),
            })
            .await?;
        }
        Ok(())
    }

    async fn hear(&mut self, hear: &Hear) -> anyhow::Result<()> {
        let name = match &hear.on {
            Some(name) => name.clone(),
            None => self
                .open
                .keys()
                .next()
                .cloned()
                .context("nothing is open")?,
        };
        let opened = self
            .open
            .get_mut(&name)
            .context("nothing of that name is open")?;
        let client = self
            .clients
            .get_mut(&opened.client)
            .context("the client has left")?;
        let heard = client.hear(&mut opened.open).await?;
        if hear.hear == "end" {
            return ended(client, opened, heard).await;
        }
        let heard = heard.with_context(|| format!("the stream ended instead of {}", hear.hear))?;
        let message: Value = serde_json::from_str(&heard)?;
        if opened.follows && client.way.is_modern() {
            let id = &message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
            ensure!(
                Some(id.to_string()) == opened.open.id,
                "not tagged with the listen id: {heard}"
            );
        }
        if message.get("id").is_some() {
            self.question = message["id"].to_string();
        }
        let difference = differs(&self.filled_value(&hear.hear), Some(&message));
        ensure!(
            difference.is_none(),
            "heard{}: {heard}",
            difference.unwrap_or_default()
        );
        Ok(())
    }

    async fn say(&self, say: &Say) -> anyhow::Result<()> {
        let server = self.house.server(&say.say)?;
        let said = || {
            (!server.say(&say.method, &say.params, say.streams))
                .then(|| "no stream to say it on".to_owned())
        };
        eventually(said).await.map_err(anyhow::Error::msg)
    }

    async fn saw(&self, saw: &Saw) -> anyhow::Result<()> {
        let server = self.house.server(&saw.server)?;
        let when = Value::Object(saw.when.clone());
        let least = saw.count.unwrap_or(1);
        let requests = server
            .wait_for(least, |seen| {
                let method = seen.rpc_method().unwrap_or_else(|| seen.method.to_string());
                method == saw.method && differs(&when, Some(&params(&seen.json()))).is_none()
            })
            .await?;
        if let Some(count) = saw.count {
            ensure!(
                requests.len() == count,
                "`{}` came {} times instead of {count}",
                saw.method,
                requests.len()
            );
        }
        if let Some(expected) = saw.sessions {
            let mut sessions: Vec<_> = requests
                .iter()
                .map(|seen| seen.header("mcp-session-id"))
                .collect();
            sessions.sort_unstable();
            sessions.dedup();
            ensure!(
                sessions.len() == expected,
                "{sessions:?} instead of {expected} sessions"
            );
        }
        let Some(last) = requests.last() else {
            return Ok(());
        };
        check_headers(&saw.headers, &last.headers)?;
        if let Some(difference) = saw
            .params
            .as_ref()
            .and_then(|expected| differs(expected, Some(&params(&last.json()))))
        {
            bail!("params{difference}: {}", last.text());
        }
        if let Some(part) = &saw.text {
            ensure!(last.text().contains(part), "{} lacks {part}", last.text());
        }
        Ok(())
    }

    fn filled(&self, text: &str) -> String {
        self.kept
            .iter()
            .fold(super::padded(text), |text, (name, value)| {
                text.replace(&format!("${{{name}}}"), value)
            })
    }

    fn filled_value(&self, value: &Value) -> Value {
        if self.kept.is_empty() {
            return value.clone();
        }
        let quoted = |value: &str| Value::from(value).to_string().trim_matches('"').to_owned();
        let fill = |text: String, (name, value): (&String, &String)| {
            text.replace(&format!("${{{name}}}"), &quoted(value))
        };
        serde_json::from_str(&self.kept.iter().fold(value.to_string(), fill))
            .unwrap_or_else(|_| value.clone())
    }
}

/// Holds the events of an answer against those expected, in any order.
fn unordered(expected: &[Value], reply: &Reply, text: &str) -> anyhow::Result<()> {
    if expected.is_empty() {
        return Ok(());
    }
    ensure!(reply.is_stream(), "no event stream: {text}");
    let data = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(str::trim)
        .filter(|data| !data.is_empty());
    let mut found = data
        .map(serde_json::from_str)
        .collect::<Result<Vec<Value>, _>>()?;
    for expected in expected {
        let at = found
            .iter()
            .position(|message| differs(expected, Some(message)).is_none());
        found.remove(at.with_context(|| format!("no event like {expected}: {text}"))?);
    }
    ensure!(found.is_empty(), "more events than expected: {found:?}");
    Ok(())
}

fn params(message: &Value) -> Value {
    message.get("params").cloned().unwrap_or_else(|| json!({}))
}

/// A modern stream ends with the answer to its request, a legacy one just ends.
async fn ended(
    client: &mut Client,
    opened: &mut Opened,
    heard: Option<String>,
) -> anyhow::Result<()> {
    let Some(heard) = heard else {
        ensure!(
            opened.open.id.is_none(),
            "the stream ended without the answer to its request"
        );
        return Ok(());
    };
    let answer = Answer::parse(&heard)?;
    ensure!(
        answer.result.is_some() && answer.id.map(RawValue::get) == opened.open.id.as_deref(),
        "heard {heard}"
    );
    if client.way.is_http() {
        let after = client.hear(&mut opened.open).await?;
        ensure!(after.is_none(), "heard after the end: {after:?}");
    }
    Ok(())
}

fn check_headers(
    expected: &BTreeMap<String, Value>,
    found: &[(String, String)],
) -> anyhow::Result<()> {
    for (name, expected) in expected {
        let values: Vec<&str> = found
            .iter()
            .filter(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect();
        ensure!(
            values.len() < 2,
            "header `{name}` stands more than once: {values:?}"
        );
        let value = values.first().map(|value| Value::from(*value));
        let difference = differs(expected, value.as_ref());
        ensure!(
            difference.is_none(),
            "header `{name}`: {}",
            difference.unwrap_or_default()
        );
    }
    Ok(())
}

/// Looks until nothing is wrong any more; gives what was wrong at last.
async fn eventually(wrong: impl Fn() -> Option<String>) -> Result<(), String> {
    let patience = tokio::time::Instant::now() + testkit::WAIT_MAX;
    while let Some(difference) = wrong() {
        if tokio::time::Instant::now() > patience {
            return Err(difference);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
