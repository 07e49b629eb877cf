//! What one server offers: its tools, prompts, resources and templates, as it gave them.

use std::collections::HashSet;
use std::sync::Arc;

use protocol::json::{elements, members, string};
use protocol::json_rpc::{Message, code};
use protocol::mcp::{Era, Version, headers};
use serde::Deserialize;
use serde_json::Value;

use crate::conversation::Conversation;
use crate::failure::{UpstreamFailure, shown};

/// The most pages of one list.
const PAGES_MAX: usize = 1000;
/// The most items of one list of one server.
pub(crate) const ITEMS_MAX: usize = 10_000;
/// The most bytes of all lists of one server.
const INVENTORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most problems that are told of one server's lists.
const PROBLEMS_MAX: usize = 100;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListKind {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
}

impl ListKind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] =
        [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the items.
    pub(crate) const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that identifies it.
    const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The capability without which a server does not have this list.
    const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }
}

/// One tool, prompt, resource or template, as its server gave it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// The server's own name or URI for it.
    pub(crate) key: String,
    /// All of it, raw JSON.
    pub(crate) raw: Arc<str>,
    /// Tools: the arguments that modern clients mirror into headers.
    pub(crate) params: Arc<[headers::Param]>,
    /// Whether a legacy server runs the tool only as a task.
    pub(crate) as_task: bool,
    /// Why modern clients must not see a legacy server's tool.
    pub(crate) unfit: Option<Box<str>>,
}

/// What one server offers in one era.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Inventory {
    /// The revision spoken.
    pub(crate) version: Version,
    /// The server's capabilities.
    pub(crate) capabilities: Value,
    /// The server's instructions.
    pub(crate) instructions: Option<String>,
    /// The lists, in the order of [`ListKind::ALL`].
    lists: [Vec<Item>; 4],
    /// How long the lists hold, in milliseconds; none when the server says nothing.
    pub(crate) ttl_ms: Option<u64>,
    /// Whether the server said that everybody sees the same.
    pub(crate) public: bool,
    /// Items that were left out, and why.
    pub(crate) problems: Vec<String>,
    /// Lists that could not be read; what is there is older, or nothing.
    pub(crate) unread: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Opening {
    capabilities: Value,
    instructions: Option<String>,
}

impl Inventory {
    /// The items of one list.
    pub(crate) fn list(&self, kind: ListKind) -> &[Item] {
        &self.lists[kind as usize]
    }

    /// Whether the server has a capability.
    pub(crate) fn has(&self, capability: &str) -> bool {
        self.capabilities
            .get(capability)
            .is_some_and(|value| !value.is_null())
    }

    /// Whether a call may ask for a task: what a tool says of tasks counts only then (MCP 2025-11-25, basic/utilities/tasks, "Tool-Level Negotiation").
    fn makes_tasks(&self) -> bool {
        let calls = self.capabilities.pointer("/tasks/requests/tools/call");
        calls.is_some_and(|calls| !calls.is_null())
    }

    /// Reads everything a server lists. `opening` is its answer to `initialize` or `server/discover`.
    ///
    /// A list that the server refuses stays as it was in `last`; the others are read.
    ///
    /// # Errors
    /// The server is not there, or has refused everything it says it has.
    pub(crate) async fn fetch(
        conversation: &Conversation,
        opening: &Message,
        last: Option<&Self>,
    ) -> Result<Self, UpstreamFailure> {
        let Opening {
            capabilities,
            instructions,
        } = serde_json::from_str(opening.body()).unwrap_or_default();
        let mut inventory = Self {
            version: conversation.version(),
            capabilities,
            instructions,
            lists: Default::default(),
            ttl_ms: None,
            public: true,
            problems: Vec::new(),
            unread: 0,
        };
        let mut hints = Hints::default();
        let mut refused = None;
        for kind in ListKind::ALL {
            if !inventory.has(kind.capability()) {
                continue;
            }
            match inventory.fetch_list(conversation, kind, &mut hints).await {
                Ok(()) => {}
                Err(
                    failure @ (UpstreamFailure::Refused { .. } | UpstreamFailure::Garbage { .. }),
                ) => {
                    inventory.problem(&format!("`{}` cannot be read: {failure}", kind.method()));
                    inventory.unread += 1;
                    inventory.lists[kind as usize] =
                        last.map_or_else(Vec::new, |last| last.list(kind).to_vec());
                    refused = Some(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        // Nothing known, now or before: that is no server with empty lists.
        if let Some(failure) = refused.filter(|_| last.is_none() && hints.pages == 0) {
            return Err(failure);
        }
        inventory.ttl_ms = hints.ttl_ms;
        inventory.public = hints.pages > 0 && !hints.private;
        Ok(inventory)
    }

    async fn fetch_list(
        &mut self,
        conversation: &Conversation,
        kind: ListKind,
        hints: &mut Hints,
    ) -> Result<(), UpstreamFailure> {
        let mut cursor: Option<String> = None;
        let (mut known, mut listed) = (HashSet::new(), HashSet::new());
        for _ in 0..PAGES_MAX {
            let params = cursor.as_ref().map_or_else(
                || "{}".to_owned(),
                |cursor| format!("{{\"cursor\":{cursor}}}"),
            );
            let answer = match conversation.ask(kind.method(), &params).await {
                // A server may have resources but no templates.
                Err(UpstreamFailure::Refused { code, .. })
                    if code == i64::from(code::METHOD_NOT_FOUND) =>
                {
                    return Ok(());
                }
                other => other?,
            };
            hints.bytes += answer.bytes.len();
            if hints.bytes > INVENTORY_BYTES_MAX {
                self.problem(&format!(
                    "the lists are longer than {INVENTORY_BYTES_MAX} bytes; `{}` is cut",
                    kind.method()
                ));
                return Ok(());
            }
            let next = self.take_page(kind, &answer, hints, &mut listed);
            // An empty cursor is a cursor; only its absence ends the list. One seen before would lead in a circle.
            let again = next.clone().is_some_and(|next| !known.insert(next));
            if next.is_none() || again || self.lists[kind as usize].len() >= ITEMS_MAX {
                if next.is_some() {
                    self.problem(&format!(
                        "`{}` does not end; cut at {} items",
                        kind.method(),
                        self.list(kind).len()
                    ));
                }
                return Ok(());
            }
            cursor = next;
        }
        self.problem(&format!(
            "`{}` has more than {PAGES_MAX} pages; the rest is left out",
            kind.method()
        ));
        Ok(())
    }

    /// Takes the items of one page and returns its cursor, raw.
    fn take_page(
        &mut self,
        kind: ListKind,
        answer: &Message,
        hints: &mut Hints,
        listed: &mut HashSet<String>,
    ) -> Option<String> {
        let Ok(found) = members(answer.body()) else {
            self.problem(&format!(
                "`{}` was answered with something that is not an object",
                kind.method()
            ));
            return None;
        };
        let mut cursor = None;
        let page = PageHints::default();
        let page = found.iter().fold(page, |page, member| {
            page.with(member.key.as_ref(), member.value)
        });
        hints.take(&page);
        for member in found {
            match member.key.as_ref() {
                key if key == kind.member() => self.take_items(kind, member.value, listed),
                "nextCursor" if member.value.starts_with('"') => {
                    cursor = Some(member.value.to_owned())
                }
                _ => {}
            }
        }
        cursor
    }

    fn take_items(&mut self, kind: ListKind, array: &str, listed: &mut HashSet<String>) {
        let Ok(items) = elements(array) else {
            self.problem(&format!("`{}` was answered without a list", kind.method()));
            return;
        };
        for raw in items {
            if self.lists[kind as usize].len() >= ITEMS_MAX {
                return;
            }
            match self.item(kind, raw, listed) {
                Ok(item) => self.lists[kind as usize].push(item),
                Err(problem) => self.problem(&problem),
            }
        }
    }

    /// Notes a problem; a server may make more of them than anybody reads.
    fn problem(&mut self, problem: &str) {
        match self.problems.len() {
            PROBLEMS_MAX.. => {}
            at if at + 1 == PROBLEMS_MAX => self
                .problems
                .push("there are more problems than are told here".to_owned()),
            _ => self.problems.push(shown(problem)),
        }
    }

    fn item(
        &self,
        kind: ListKind,
        raw: &str,
        listed: &mut HashSet<String>,
    ) -> Result<Item, String> {
        let found =
            members(raw).map_err(|_| format!("an item of `{}` is not an object", kind.method()))?;
        let keys: Vec<_> = found
            .iter()
            .filter(|member| member.key == kind.key())
            .collect();
        let [key] = keys.as_slice() else {
            return Err(format!(
                "an item of `{}` has no `{}`, or two",
                kind.method(),
                kind.key()
            ));
        };
        let key = string(key.value).ok_or_else(|| {
            format!(
                "an item of `{}` has a `{}` that is no text",
                kind.method(),
                kind.key()
            )
        })?;
        if listed.contains(&*key) {
            return Err(format!(
                "`{}` is listed twice by `{}`; the first counts",
                key,
                kind.method()
            ));
        }
        let (params, unfit) = match (kind, self.version.era()) {
            (ListKind::Tools, Era::Modern) => (mirrored(&key, &found)?, None),
            (ListKind::Tools, Era::Legacy) => match mirrored(&key, &found) {
                Ok(params) => (params, None),
                Err(reason) => (Vec::new(), Some(reason.into())),
            },
            _ => (Vec::new(), None),
        };
        listed.insert(key.to_string());
        Ok(Item {
            key: key.into_owned(),
            raw: raw.into(),
            params: params.into(),
            as_task: kind == ListKind::Tools && self.makes_tasks() && runs_as_task(&found),
            unfit,
        })
    }
}

/// MCP 2025-11-25, basic/utilities/tasks: `execution.taskSupport` says `required`.
fn runs_as_task(found: &[protocol::json::Member<'_>]) -> bool {
    let execution = found.iter().find(|member| member.key == "execution");
    let support = execution
        .and_then(|member| members(member.value).ok())
        .and_then(|found| {
            let support = found.iter().find(|member| member.key == "taskSupport")?;
            string(support.value).map(std::borrow::Cow::into_owned)
        });
    support.as_deref() == Some("required")
}

/// Clients must drop tools whose annotations are invalid (MCP 2026-07-28, "Custom headers").
fn mirrored(
    tool: &str,
    found: &[protocol::json::Member<'_>],
) -> Result<Vec<headers::Param>, String> {
    let Some(schema) = found.iter().find(|member| member.key == "inputSchema") else {
        return Ok(Vec::new());
    };
    if memchr::memmem::find(schema.value.as_bytes(), b"x-mcp-header").is_none() {
        return Ok(Vec::new());
    }
    let schema: Value =
        serde_json::from_str(schema.value).map_err(|error| format!("tool `{tool}`: {error}"))?;
    headers::params(&schema).map_err(|error| format!("tool `{tool}` is left out: {error}"))
}

/// What the pages of all lists together say about caching.
#[derive(Debug, Default)]
struct Hints {
    ttl_ms: Option<u64>,
    private: bool,
    pages: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct PageHints {
    ttl_ms: Option<u64>,
    public: bool,
}

impl PageHints {
    fn with(mut self, key: &str, value: &str) -> Self {
        match key {
            "ttlMs" => self.ttl_ms = value.parse().ok(),
            "cacheScope" => self.public = value == "\"public\"",
            _ => {}
        }
        self
    }
}

impl Hints {
    fn take(&mut self, page: &PageHints) {
        self.pages += 1;
        self.private |= !page.public;
        self.ttl_ms = match (self.ttl_ms, page.ttl_ms) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}
