//! What a story says about a server: what it offers, and what it says in place of an honest answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::say::Said;
use crate::story::compare;

/// A server as a story describes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Offer {
    /// `modern`, `legacy` or both.
    eras: Vec<String>,
    /// Whether it is not there at first.
    pub(super) down: bool,
    /// `http`, or `sse` for the transport of 2024-11-05.
    pub(super) wire: Wire,
    /// Whether legacy clients get a session.
    pub(super) sessions: bool,
    /// Whether `GET` is refused.
    pub(super) no_events: bool,
    /// Merged over what follows from the lists; `null` takes a capability away.
    capabilities: Map<String, Value>,
    instructions: Option<String>,
    ttl_ms: u64,
    scope: String,
    /// Items of one page; without it, all are on one.
    page: Option<usize>,
    /// Adds so many tools `t0000`, `t0001`, ….
    many: usize,
    tools: Vec<Value>,
    prompts: Vec<Value>,
    resources: Vec<Value>,
    templates: Vec<Value>,
    pub(super) answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Wire {
    #[default]
    Http,
    Sse,
}

/// What a server says in place of an honest answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Answer {
    /// The method.
    to: String,
    /// What the params must be like.
    when: Map<String, Value>,
    /// Only in this era.
    era: Option<String>,
    /// Only so often.
    pub(super) times: Option<usize>,
    status: Option<u16>,
    headers: BTreeMap<String, String>,
    /// Messages before the answer; they make it an event stream.
    events: Vec<Value>,
    /// The gate to wait for.
    pub(super) wait: Option<String>,
    stream: bool,
    result: Option<Value>,
    error: Option<Value>,
    /// The whole body.
    body: Option<String>,
    cut: bool,
}

impl Default for Offer {
    fn default() -> Self {
        Self {
            eras: vec!["modern".to_owned(), "legacy".to_owned()],
            down: false,
            wire: Wire::Http,
            sessions: true,
            no_events: false,
            capabilities: Map::new(),
            instructions: None,
            ttl_ms: 0,
            scope: "public".to_owned(),
            page: None,
            many: 0,
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            answers: Vec::new(),
        }
    }
}

/// A value of a story as JSON text: a text is JSON already.
pub(crate) fn raw(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

impl Answer {
    pub(super) fn is_for(&self, method: &str, params: &Value, modern: bool) -> bool {
        let era = if modern { "modern" } else { "legacy" };
        let params = if params.is_null() { &json!({}) } else { params };
        self.to == method
            && self.era.as_deref().is_none_or(|wanted| wanted == era)
            && compare::differs(&Value::Object(self.when.clone()), Some(params)).is_none()
    }

    pub(super) fn said(&self, id: &str, token: &str) -> Said {
        let filled = |text: &str| {
            crate::story::padded(text)
                .replace("${id}", id)
                .replace("${token}", token)
        };
        let answer = match (&self.result, &self.error, &self.body) {
            (Some(result), ..) => Some(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#,
                filled(&raw(result))
            )),
            (_, Some(error), _) => Some(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{}}}"#,
                filled(&raw(error))
            )),
            (.., Some(body)) => Some(filled(body)),
            _ => None,
        };
        Said {
            status: self.status,
            headers: self.headers.clone().into_iter().collect(),
            events: self
                .events
                .iter()
                .map(|event| filled(&raw(event)))
                .collect(),
            stream: self.stream,
            answer,
            cut: self.cut,
            ..Said::default()
        }
    }
}

impl Offer {
    pub(super) fn modern(&self) -> bool {
        self.eras.iter().any(|era| era == "modern")
    }

    pub(super) fn legacy(&self) -> bool {
        self.eras.iter().any(|era| era == "legacy")
    }

    /// The offer with some members replaced.
    pub(super) fn changed(&self, changes: &Value) -> anyhow::Result<Self> {
        let mut next: Self = serde_json::from_value(changes.clone())?;
        let given = |key: &str| changes.get(key).is_some();
        let before = self.clone();
        macro_rules! keep {
            ($($key:literal $field:ident),*) => { $(if !given($key) { next.$field = before.$field; })* };
        }
        keep!(
            "eras" eras, "wire" wire, "sessions" sessions, "no-events" no_events, "capabilities" capabilities,
            "instructions" instructions, "ttl-ms" ttl_ms, "scope" scope, "page" page, "many" many, "tools" tools,
            "prompts" prompts, "resources" resources, "templates" templates, "answers" answers
        );
        Ok(next)
    }

    fn capabilities(&self) -> Value {
        let mut all = Map::new();
        if !self.tools.is_empty() || self.many > 0 {
            all.insert("tools".to_owned(), json!({"listChanged": true}));
        }
        if !self.prompts.is_empty() {
            all.insert("prompts".to_owned(), json!({"listChanged": true}));
        }
        if !self.resources.is_empty() || !self.templates.is_empty() {
            all.insert(
                "resources".to_owned(),
                json!({"listChanged": true, "subscribe": true}),
            );
        }
        all.extend(self.capabilities.clone());
        all.retain(|_, value| !value.is_null());
        Value::Object(all)
    }

    /// The result of `initialize`.
    pub(super) fn opening(&self, version: &Value, name: &str) -> String {
        let mut result = json!({
            "protocolVersion": version,
            "capabilities": self.capabilities(),
            "serverInfo": {"name": name, "version": "1"},
        });
        if let Some(text) = &self.instructions {
            result["instructions"] = Value::from(text.as_str());
        }
        result.to_string()
    }

    /// The result an honest server gives.
    pub(super) fn honest(
        &self,
        method: &str,
        params: &Value,
        modern: bool,
        server: &str,
    ) -> Result<String, (i64, String)> {
        let named = |key: &str| params[key].as_str().unwrap_or_default().to_owned();
        let result = match method {
            "server/discover" => self.discovery(server),
            "tools/list" => return self.list("tools", &self.all_tools(), params, modern),
            "prompts/list" => {
                return self.list("prompts", &items(&self.prompts, "name"), params, modern);
            }
            "resources/list" => {
                return self.list("resources", &items(&self.resources, "uri"), params, modern);
            }
            "resources/templates/list" => {
                return self.list(
                    "resourceTemplates",
                    &items(&self.templates, "uriTemplate"),
                    params,
                    modern,
                );
            }
            "tools/call" => {
                let name = named("name");
                known(&self.all_tools(), "name", &name)
                    .ok_or_else(|| (-32602, format!("no tool {name}")))?;
                json!({"content": [{"type": "text", "text": format!("{server}: {name}")}]})
            }
            "prompts/get" => {
                let name = named("name");
                known(&items(&self.prompts, "name"), "name", &name)
                    .ok_or_else(|| (-32602, format!("no prompt {name}")))?;
                json!({"messages": [{"role": "user", "content": {"type": "text", "text": format!("{server}: {name}")}}]})
            }
            "resources/read" => {
                json!({"contents": [{"uri": named("uri"), "text": format!("{server}: {}", named("uri"))}]})
            }
            "completion/complete" => json!({"completion": {"values": [server]}}),
            "ping" | "logging/setLevel" => json!({}),
            _ => return Err((-32601, format!("no method {method}"))),
        };
        Ok(self.finished(result, method, modern))
    }

    fn finished(&self, mut result: Value, method: &str, modern: bool) -> String {
        if modern {
            result["resultType"] = "complete".into();
            if method == "resources/read" {
                result["ttlMs"] = self.ttl_ms.into();
                result["cacheScope"] = self.scope.as_str().into();
            }
        }
        result.to_string()
    }

    fn discovery(&self, server: &str) -> Value {
        let mut result = json!({
            "supportedVersions": if self.legacy() { json!(["2025-11-25", "2026-07-28"]) } else { json!(["2026-07-28"]) },
            "capabilities": self.capabilities(),
            "ttlMs": self.ttl_ms,
            "cacheScope": self.scope,
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": server, "version": "1"}},
        });
        if let Some(text) = &self.instructions {
            result["instructions"] = Value::from(text.as_str());
        }
        result
    }

    fn all_tools(&self) -> Vec<String> {
        let mut tools = items(&self.tools, "name");
        tools.extend((0..self.many).map(|at| tool(&format!("t{at:04}")).to_string()));
        tools
    }

    /// One page: its cursor is the number of the first item.
    fn list(
        &self,
        member: &str,
        items: &[String],
        params: &Value,
        modern: bool,
    ) -> Result<String, (i64, String)> {
        let first = match params["cursor"].as_str() {
            None => 0,
            Some(cursor) => cursor
                .parse::<usize>()
                .map_err(|_| (-32602, format!("bad cursor {cursor}")))?,
        };
        let after = self
            .page
            .map_or(items.len(), |page| items.len().min(first + page));
        let next = if after < items.len() {
            format!(r#","nextCursor":"{after}""#)
        } else {
            String::new()
        };
        let hints = format!(
            r#","resultType":"complete","ttlMs":{},"cacheScope":"{}""#,
            self.ttl_ms, self.scope
        );
        let hints = if modern { hints } else { String::new() };
        Ok(format!(
            r#"{{"{member}":[{}]{next}{hints}}}"#,
            items[first.min(after)..after].join(",")
        ))
    }
}

/// A short form is a name or URI; a text that begins like an object is one.
fn items(given: &[Value], key: &str) -> Vec<String> {
    given
        .iter()
        .map(|item| match item.as_str() {
            Some(text) if text.starts_with('{') => text.to_owned(),
            Some(name) if key == "name" => tool(name).to_string(),
            Some(uri) => json!({key: uri, "name": uri}).to_string(),
            None if key == "name" => {
                let mut whole = tool("");
                for (key, value) in item.as_object().into_iter().flatten() {
                    whole[key] = value.clone();
                }
                whole.to_string()
            }
            None => item.to_string(),
        })
        .collect()
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("Does {name}."), "inputSchema": {"type": "object"}})
}

fn known(items: &[String], key: &str, name: &str) -> Option<()> {
    items
        .iter()
        .any(|item| serde_json::from_str::<Value>(item).is_ok_and(|item| item[key] == name))
        .then_some(())
}
