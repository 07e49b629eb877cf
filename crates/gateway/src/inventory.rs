//! What one server offers: its tools, prompts, resources and templates, as it gave them.

use std::sync::Arc;

use protocol::json::{elements, members, string};
use protocol::json_rpc::{Message, code};
use protocol::mcp::{Era, Version, headers};
use serde::Deserialize;
use serde_json::Value;

use crate::conversation::Conversation;
use crate::failure::UpstreamFailure;

/// The most pages of one list.
const PAGES_MAX: usize = 1000;
/// The most items of one list of one server.
pub(crate) const ITEMS_MAX: usize = 10_000;

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
    /// Modern tools: the arguments mirrored into headers.
    pub(crate) params: Arc<[headers::Param]>,
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

    /// Reads everything a server lists. `opening` is its answer to `initialize` or `server/discover`.
    pub(crate) async fn fetch(
        conversation: &Conversation,
        opening: &Message,
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
        };
        let mut hints = Hints::default();
        for kind in ListKind::ALL {
            if inventory.has(kind.capability()) {
                inventory.fetch_list(conversation, kind, &mut hints).await?;
            }
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
            let next = self.take_page(kind, &answer, hints);
            // An empty cursor is a cursor; only its absence ends the list. A repeated one would never end.
            if next.is_none() || next == cursor || self.lists[kind as usize].len() >= ITEMS_MAX {
                if next.is_some() {
                    self.problems.push(format!(
                        "`{}` does not end; cut at {} items",
                        kind.method(),
                        self.list(kind).len()
                    ));
                }
                return Ok(());
            }
            cursor = next;
        }
        self.problems.push(format!(
            "`{}` has more than {PAGES_MAX} pages; the rest is left out",
            kind.method()
        ));
        Ok(())
    }

    /// Takes the items of one page and returns its cursor, raw.
    fn take_page(&mut self, kind: ListKind, answer: &Message, hints: &mut Hints) -> Option<String> {
        let Ok(found) = members(answer.body()) else {
            self.problems.push(format!(
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
                key if key == kind.member() => self.take_items(kind, member.value),
                "nextCursor" if member.value.starts_with('"') => {
                    cursor = Some(member.value.to_owned())
                }
                _ => {}
            }
        }
        cursor
    }

    fn take_items(&mut self, kind: ListKind, array: &str) {
        let Ok(items) = elements(array) else {
            self.problems
                .push(format!("`{}` was answered without a list", kind.method()));
            return;
        };
        for raw in items {
            if self.lists[kind as usize].len() >= ITEMS_MAX {
                return;
            }
            match self.item(kind, raw) {
                Ok(item) => self.lists[kind as usize].push(item),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn item(&self, kind: ListKind, raw: &str) -> Result<Item, String> {
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
        if self.list(kind).iter().any(|other| other.key == key) {
            return Err(format!(
                "`{}` is listed twice by `{}`; the first counts",
                key,
                kind.method()
            ));
        }
        let params = match (kind, self.version.era()) {
            (ListKind::Tools, Era::Modern) => mirrored(&key, &found)?,
            _ => Vec::new(),
        };
        Ok(Item {
            key: key.into_owned(),
            raw: raw.into(),
            params: params.into(),
        })
    }
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
