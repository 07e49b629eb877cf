//! The steps of a story.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};

/// One step, and where it is left out.
#[derive(Debug)]
pub(super) struct Step {
    /// `modern`, `legacy`, `http` or a way; everywhere when empty.
    pub(super) only: Option<String>,
    /// The client, by name.
    pub(super) client: String,
    pub(super) verb: Verb,
}

#[derive(Debug)]
pub(super) enum Verb {
    /// A client sends a request.
    Send(Box<Send>),
    /// A client sends any HTTP request.
    Http(Box<Http>),
    /// A client sends a notification.
    Tell(Tell),
    /// A client answers the question it heard last.
    Reply(Reply),
    /// What the gateway says of itself.
    Opening(Value),
    /// A client opens what tells of changes.
    Follow(Follow),
    /// A client hears a message, or the end.
    Hear(Hear),
    /// The answer to a request sent `later` comes.
    Finish(Box<Finish>),
    /// A client closes the connection of what it opened.
    HangUp(String),
    /// A client ends its session.
    Leave(String),
    /// Servers offer something else.
    Change(Map<String, Value>),
    /// A server says something by itself.
    Say(Say),
    /// Answers that wait for the gate go on.
    Release(Release),
    /// Servers go away, come back, forget their sessions.
    Stop(String),
    Start(String),
    Forget(String),
    /// Other resources.
    Apply(Apply),
    /// What is reported, sooner or later.
    Report(Value),
    /// The gateway gives its streams their end.
    Close,
    /// What a server saw.
    Saw(Box<Saw>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    #[serde(rename = "send")]
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: Option<Value>,
    #[serde(default)]
    pub(super) id: Option<Value>,
    #[serde(default)]
    pub(super) meta: Option<Value>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Option<String>>,
    /// The name under which the answer is asked for later.
    #[serde(default)]
    pub(super) later: Option<String>,
    /// Sent again until the answer fits.
    #[serde(default)]
    pub(super) until: bool,
    #[serde(flatten)]
    pub(super) expected: Expected,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finish {
    pub(super) finish: String,
    #[serde(flatten)]
    pub(super) expected: Expected,
}

/// What must come back.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expected {
    pub(super) status: Option<u16>,
    #[serde(rename = "answer headers")]
    pub(super) headers: BTreeMap<String, Value>,
    pub(super) result: Option<Value>,
    pub(super) error: Option<Value>,
    /// The result, byte for byte.
    #[serde(rename = "result text")]
    pub(super) result_text: Option<String>,
    /// The messages before the answer.
    pub(super) events: Option<Vec<Value>>,
    /// Names for values of the answer, by JSON pointer.
    pub(super) keep: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    #[serde(rename = "http")]
    pub(super) method: String,
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: Option<String>,
    pub(super) status: u16,
    #[serde(default, rename = "answer headers")]
    pub(super) answer_headers: BTreeMap<String, Value>,
    /// The body as JSON.
    #[serde(default)]
    pub(super) answer: Option<Value>,
    /// The events of the answer, in any order.
    #[serde(default)]
    pub(super) events: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tell {
    pub(super) tell: String,
    #[serde(default)]
    pub(super) params: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reply {
    /// The raw result.
    pub(super) reply: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Follow {
    pub(super) follow: String,
    #[serde(default)]
    pub(super) filter: Option<Value>,
    /// What the acknowledgement must say.
    #[serde(default)]
    pub(super) honored: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hear {
    /// The message, or the word `end`.
    pub(super) hear: Value,
    #[serde(default)]
    pub(super) on: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Say {
    /// The server.
    pub(super) say: String,
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: Value,
    /// How many streams must be open for it.
    #[serde(default = "one")]
    pub(super) streams: usize,
}

fn one() -> usize {
    1
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Release {
    pub(super) release: String,
    pub(super) server: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    pub(super) apply: String,
    /// A part of the finding with which it is refused.
    #[serde(default)]
    pub(super) refused: Option<String>,
}

/// What a server saw.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saw {
    pub(super) server: String,
    /// The MCP method, or the HTTP method of what is no message.
    pub(super) method: String,
    /// What the params must be like for a request to count.
    #[serde(default)]
    pub(super) when: Map<String, Value>,
    #[serde(default)]
    pub(super) count: Option<usize>,
    /// How many sessions they belong to.
    #[serde(default)]
    pub(super) sessions: Option<usize>,
    /// Of the last of them.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) params: Option<Value>,
    /// A part of its body.
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) only: Option<String>,
}

impl Step {
    /// Reads one step: its verb is the key that is known as one.
    pub(super) fn read(mut step: Value) -> anyhow::Result<Self> {
        let all = step.as_object_mut().context("a step is a mapping")?;
        let mut word = |key: &str| {
            let value = all.remove(key)?;
            value.as_str().map(str::to_owned)
        };
        let only = word("only");
        let client = word("as").unwrap_or_else(|| "somebody".to_owned());
        let verb = Verb::read(step)?;
        let only = match &verb {
            Verb::Saw(saw) => saw.only.clone().or(only),
            _ => only,
        };
        Ok(Self { only, client, verb })
    }

    pub(super) fn saw(saw: Saw) -> Self {
        Self {
            only: saw.only.clone(),
            client: String::new(),
            verb: Verb::Saw(Box::new(saw)),
        }
    }
}

impl Verb {
    fn read(step: Value) -> anyhow::Result<Self> {
        let has = |key: &str| step.get(key).is_some();
        let one = |key: &str| only(&step, key);
        Ok(match () {
            () if has("send") => Self::Send(serde_json::from_value(step)?),
            () if has("http") => Self::Http(serde_json::from_value(step)?),
            () if has("tell") => Self::Tell(serde_json::from_value(step)?),
            () if has("reply") => Self::Reply(serde_json::from_value(step)?),
            () if has("opening") => Self::Opening(one("opening")?.clone()),
            () if has("follow") => Self::Follow(serde_json::from_value(step)?),
            () if has("hear") => Self::Hear(serde_json::from_value(step)?),
            () if has("finish") => Self::Finish(serde_json::from_value(step)?),
            () if has("hang up") => Self::HangUp(text(one("hang up")?)?),
            () if has("leave") => Self::Leave(text(one("leave")?)?),
            () if has("change") => Self::Change(
                one("change")?
                    .as_object()
                    .context("`change` maps servers")?
                    .clone(),
            ),
            () if has("say") => Self::Say(serde_json::from_value(step)?),
            () if has("release") => Self::Release(serde_json::from_value(step)?),
            () if has("stop") => Self::Stop(text(one("stop")?)?),
            () if has("start") => Self::Start(text(one("start")?)?),
            () if has("forget") => Self::Forget(text(one("forget")?)?),
            () if has("apply") => Self::Apply(serde_json::from_value(step)?),
            () if has("report") => Self::Report(one("report")?.clone()),
            () if has("close") => one("close").map(|_| Self::Close)?,
            () if has("saw") => Self::Saw(serde_json::from_value(one("saw")?.clone())?),
            () => anyhow::bail!("no step: {step}"),
        })
    }
}

/// The value of a step that has nothing else.
fn only<'v>(step: &'v Value, key: &str) -> anyhow::Result<&'v Value> {
    if step.as_object().is_some_and(|all| all.len() > 1) {
        anyhow::bail!("`{key}` stands alone: {step}");
    }
    step.get(key).context("no value")
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).context("a name is text")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn misspelled_words_are_refused() {
        let right = [
            json!({"send": "tools/list", "result": {}, "as": "alice", "only": "modern"}),
            json!({"stop": "one", "only": "legacy"}),
            json!({"saw": {"server": "one", "method": "tools/list", "count": 1}}),
        ];
        for step in right {
            assert!(Step::read(step.clone()).is_ok(), "{step}");
        }
        let wrong = [
            json!({"send": "tools/list", "reslt": {}}),
            json!({"finish": "call", "reslt": {}}),
            json!({"snd": "tools/list"}),
            json!({"stop": "one", "start": "one"}),
            json!({"hear": {}, "an": "changes"}),
            json!({"saw": {"server": "one", "method": "tools/list", "cuont": 1}}),
        ];
        for step in wrong {
            assert!(Step::read(step.clone()).is_err(), "{step}");
        }
    }
}
