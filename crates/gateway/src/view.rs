//! What one toolset shows to clients of one era: merged lists, and the way back from every shown name.

mod capabilities;
mod pages;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use protocol::json::quote;
use protocol::mcp::{Era, bridge, headers, own_uri};
use resources::{FailureMode, Uris};

use crate::binding::{self, Binding};
use crate::conversation::name_header;
use crate::digest::sha256;
use crate::inventory::{Inventory, Item, ListKind};
use crate::server::Status;

pub(crate) use pages::{Page, Pages, Text};

/// For so long after it went away, a server is expected to offer what any may.
const OFFER_WAIT: Duration = Duration::from_secs(600);

/// What one toolset shows to clients of one era, at one moment.
#[derive(Debug)]
pub(crate) struct View {
    names: [HashMap<Box<str>, Route>; 2],
    /// Shown URI to binding, for URIs that do not name their server.
    uris: HashMap<Box<str>, usize>,
    /// Templates as shown, in order, with their binding.
    templates: Vec<(Box<str>, usize)>,
    pages: [Pages; 4],
    /// The merged capabilities, raw JSON.
    pub(crate) capabilities: String,
    /// Which lists and methods are offered.
    pub(crate) offers: capabilities::Offers,
    /// Text for the client's model.
    pub(crate) instructions: Option<String>,
    /// `"ttlMs":…,"cacheScope":…` for results that may be cached.
    pub(crate) cache_hints: String,
    /// Servers whose part is missing or may be old.
    pub(crate) degraded: Vec<Degraded>,
    /// What operators should know: collisions, items left out.
    pub(crate) problems: Vec<String>,
}

/// Where a shown tool or prompt leads.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Which binding of the toolset.
    pub(crate) binding: usize,
    /// The server's own name, as a raw JSON string; `None` when it is the shown one.
    pub(crate) own_raw: Option<Bytes>,
    /// The server's own name.
    pub(crate) own: Arc<str>,
    /// The own name as it stands in `Mcp-Name`.
    pub(crate) header: Option<HeaderValue>,
    /// The arguments mirrored into headers.
    pub(crate) params: Arc<[headers::Param]>,
    /// Whether a legacy server runs it only as a task.
    pub(crate) as_task: bool,
}

/// A server whose part is missing or may be old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Degraded {
    /// The server's short name.
    pub(crate) server: Box<str>,
    /// What it is.
    pub(crate) state: Lack,
    /// Whether lists fail when it is missing.
    pub(crate) required: bool,
}

/// In which way a server's part is missing or may be old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// The first attempt is under way.
    Starting,
    /// It does not speak this era. Only what is required lacks then; others are hidden by design.
    NotSpoken,
    /// It is gone, since less than [`OFFER_WAIT`] or more.
    Down {
        /// Whether it may still come back with anything.
        lately: bool,
    },
    /// What it offered last is shown.
    Stale,
}

impl Lack {
    /// One word for clients.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::NotSpoken => "notSpoken",
            Self::Down { .. } => "down",
            Self::Stale => "stale",
        }
    }
}

impl Degraded {
    /// Whether lists fail because of it.
    pub(crate) fn is_missed(&self) -> bool {
        self.required && self.state != Lack::Stale
    }

    /// Whether what it offers is unknown but to be expected.
    fn is_awaited(&self) -> bool {
        self.is_missed() || matches!(self.state, Lack::Starting | Lack::Down { lately: true })
    }
}

impl View {
    /// Merges what the servers of a toolset offer in `era`.
    pub(crate) fn build(bindings: &[Binding], era: Era, instructions: Option<&str>) -> Self {
        let statuses: Vec<Status> = bindings
            .iter()
            .map(|binding| {
                let server = &binding.kept.server;
                server.status(server.era_for(era))
            })
            .collect();
        let parts: Vec<(usize, &Binding, &Arc<Inventory>)> = bindings
            .iter()
            .zip(&statuses)
            .enumerate()
            .filter_map(|(at, (binding, status))| Some((at, binding, status.inventory()?)))
            .collect();
        let mut merge = Merge::new(era, bindings.len() > 1);
        for (at, (binding, status)) in bindings.iter().zip(&statuses).enumerate() {
            if let Some(inventory) = status.inventory() {
                merge.take(at, binding, inventory);
            } else {
                let server = &binding.kept.server;
                if let Some(last) = server.last(server.era_for(era)) {
                    merge.reserve(at, binding, &last);
                }
            }
        }
        let degraded = degraded(bindings, &statuses);
        let waiting = degraded.iter().any(Degraded::is_awaited);
        let offers = capabilities::Offers::of(
            &parts.iter().map(|(_, _, inventory)| inventory.as_ref()),
            waiting,
        );
        let public = degraded.is_empty() && parts.iter().all(|(_, _, inventory)| inventory.public);
        let ttl_ms = ttl_ms(&parts, &degraded);
        let cache_hints = format!(
            "\"ttlMs\":{ttl_ms},\"cacheScope\":\"{}\"",
            if public { "public" } else { "private" }
        );
        let tail = pages::Tail {
            era,
            cache_hints: &cache_hints,
            degraded: &degraded,
        };
        let [tools, prompts, resources, templates] = merge.lists;
        Self {
            pages: [
                Pages::render(ListKind::Tools, &tools, &tail),
                Pages::render(ListKind::Prompts, &prompts, &tail),
                Pages::render(ListKind::Resources, &resources, &tail),
                Pages::render(ListKind::Templates, &templates, &tail),
            ],
            capabilities: offers.render(
                era,
                &parts.iter().map(|(_, _, inventory)| inventory.as_ref()),
            ),
            instructions: instructions
                .map(str::to_owned)
                .or_else(|| capabilities::instructions(&parts)),
            names: merge.names,
            uris: merge.uris,
            templates: merge.templates,
            problems: merge.problems,
            offers,
            cache_hints,
            degraded,
        }
    }

    /// The way back from a shown tool or prompt.
    pub(crate) fn route(&self, kind: ListKind, shown: &str) -> Option<&Route> {
        match kind {
            ListKind::Tools => self.names[0].get(shown),
            ListKind::Prompts => self.names[1].get(shown),
            ListKind::Resources | ListKind::Templates => None,
        }
    }

    /// The binding and own URI behind a shown one.
    pub(crate) fn resource(&self, bindings: &[Binding], shown: &str) -> Option<(usize, String)> {
        if let Some((label, own)) = own_uri(shown)
            && let Some(at) = bindings.iter().position(|binding| *binding.label == *label)
            && bindings[at].uris == Uris::Authority
        {
            return Some((at, own));
        }
        if let Some(at) = self.uris.get(shown) {
            return Some((*at, shown.to_owned()));
        }
        // With one server there is only one it can mean; servers may serve what they do not list.
        if let [only] = bindings
            && only.uris == Uris::Passthrough
        {
            return Some((0, shown.to_owned()));
        }
        let mut owners = self
            .templates
            .iter()
            .filter(|(template, _)| literal_prefix_fits(template, shown));
        let first = owners.next()?.1;
        // Two servers could mean it: better no answer than another server's.
        owners
            .all(|(_, other)| *other == first)
            .then(|| (first, shown.to_owned()))
    }

    /// The own template behind a shown one.
    pub(crate) fn template(&self, bindings: &[Binding], shown: &str) -> Option<(usize, String)> {
        self.templates
            .iter()
            .find(|(template, _)| **template == *shown)
            .map(|(_, at)| {
                let own = own_uri(shown)
                    .filter(|(label, _)| *bindings[*at].label == **label)
                    .map(|(_, own)| own);
                (*at, own.unwrap_or_else(|| shown.to_owned()))
            })
    }

    /// The pages of one list.
    pub(crate) fn pages(&self, kind: ListKind) -> &Pages {
        &self.pages[kind as usize]
    }
}

/// The part of a template before its first expression must begin the URI, and must say more than a scheme.
fn literal_prefix_fits(template: &str, uri: &str) -> bool {
    let prefix = template.split('{').next().unwrap_or_default();
    !prefix.is_empty() && uri.starts_with(prefix)
}

struct Merge {
    /// Whom the lists are for.
    era: Era,
    /// Whether several servers share the toolset.
    several: bool,
    lists: [Vec<String>; 4],
    names: [HashMap<Box<str>, Route>; 2],
    owners: HashMap<(u8, String), String>,
    uris: HashMap<Box<str>, usize>,
    templates: Vec<(Box<str>, usize)>,
    problems: Vec<String>,
}

impl Merge {
    fn new(era: Era, several: bool) -> Self {
        Self {
            era,
            several,
            lists: Default::default(),
            names: Default::default(),
            owners: HashMap::new(),
            uris: HashMap::new(),
            templates: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Keeps the names of a server that is not there: they do not move to another, and calls say what is the matter.
    fn reserve(&mut self, at: usize, binding: &Binding, last: &Inventory) {
        let (listed, told) = (self.lists.each_ref().map(Vec::len), self.problems.len());
        self.take(at, binding, last);
        for (list, length) in self.lists.iter_mut().zip(listed) {
            list.truncate(length);
        }
        self.problems.truncate(told);
    }

    fn take(&mut self, at: usize, binding: &Binding, inventory: &Inventory) {
        for kind in [ListKind::Tools, ListKind::Prompts] {
            for item in inventory.list(kind) {
                if kind == ListKind::Tools && self.several && binding::is_app_only(&item.raw) {
                    self.problems.push(format!(
                        "tool `{}` of server `{}` is for the apps of its own server only; publish that server in a toolset of its own",
                        item.key, binding.label
                    ));
                } else if let (Some(reason), Era::Modern) = (&item.unfit, self.era) {
                    self.problems
                        .push(format!("{reason} (server `{}`)", binding.label));
                } else if let Some(shown) = binding.shown_name(kind, &item.key) {
                    let item = fitted(item, kind, inventory.version.era(), self.era);
                    self.take_named(at, binding, kind, &item, shown);
                }
            }
        }
        for item in inventory.list(ListKind::Resources) {
            let shown = binding.shown_uri(&item.key);
            if self.uris.contains_key(&*shown) {
                self.problems.push(format!(
                    "resource `{shown}` of server `{}` is already listed by another",
                    binding.label
                ));
                continue;
            }
            self.lists[2].push(binding.shown_item(ListKind::Resources, item, &shown));
            self.uris.insert(shown.into(), at);
        }
        for item in inventory.list(ListKind::Templates) {
            let shown = binding.shown_template(&item.key);
            self.lists[3].push(binding.shown_item(ListKind::Templates, item, &shown));
            self.templates.push((shown.into(), at));
        }
    }

    /// The first owner keeps a name; a later one stays unlisted, with a finding that names both.
    fn take_named(
        &mut self,
        at: usize,
        binding: &Binding,
        kind: ListKind,
        item: &Item,
        shown: String,
    ) {
        let owner = format!("`{}` of server `{}`", item.key, binding.label);
        if let Some(first) = self.owners.get(&(kind as u8, shown.clone())) {
            self.problems.push(format!(
                "{} {owner} is not listed: the name `{shown}` already belongs to {first}; give one of the servers a prefix or the tool another name",
                kind.member().trim_end_matches('s'),
            ));
            return;
        }
        self.lists[kind as usize].push(binding.shown_item(kind, item, &shown));
        let own_raw = (shown != item.key).then(|| Bytes::from(quote(&item.key)));
        let route = Route {
            binding: at,
            own_raw,
            own: item.key.as_str().into(),
            header: name_header(&item.key),
            params: item.params.clone(),
            as_task: item.as_task,
        };
        self.names[kind as usize].insert(shown.clone().into(), route);
        self.owners.insert((kind as u8, shown), owner);
    }
}

/// A tool as the client's era describes it.
fn fitted(item: &Item, kind: ListKind, spoken: Era, client: Era) -> Cow<'_, Item> {
    let raw = match (kind, spoken, client) {
        (ListKind::Tools, Era::Modern, Era::Legacy) => bridge::tool_to_legacy(&item.raw),
        (ListKind::Tools, Era::Legacy, Era::Modern) => bridge::tool_to_modern(&item.raw),
        _ => return Cow::Borrowed(item),
    };
    match raw {
        Cow::Borrowed(_) => Cow::Borrowed(item),
        Cow::Owned(raw) => Cow::Owned(Item {
            raw: raw.into(),
            ..item.clone()
        }),
    }
}

fn degraded(bindings: &[Binding], statuses: &[Status]) -> Vec<Degraded> {
    let state = |status: &Status, required: bool| match status {
        Status::Starting => Some(Lack::Starting),
        Status::Down { last: Some(_), .. } => Some(Lack::Stale),
        Status::Down { since, .. } => Some(Lack::Down {
            lately: since.elapsed() < OFFER_WAIT,
        }),
        Status::NotSpoken(_) => required.then_some(Lack::NotSpoken),
        Status::Ready(_) => None,
    };
    let parts = bindings.iter().zip(statuses);
    parts
        .filter_map(|(binding, status)| {
            let required = binding.kept.server.failure_mode == FailureMode::Required;
            Some(Degraded {
                server: binding.label.clone(),
                state: state(status, required)?,
                required,
            })
        })
        .collect()
}

/// The shortest of the servers' times; nothing may be kept while a part is missing.
fn ttl_ms(parts: &[(usize, &Binding, &Arc<Inventory>)], degraded: &[Degraded]) -> u64 {
    if !degraded.is_empty() {
        return 0;
    }
    parts
        .iter()
        .map(|(_, _, inventory)| inventory.ttl_ms.unwrap_or(0))
        .min()
        .unwrap_or(0)
}

/// What clients can see of one list, in sixteen bytes.
pub(crate) type Digest = [u8; 16];

fn short_digest(bytes: &[u8]) -> Digest {
    let mut short = [0; 16];
    short.copy_from_slice(&sha256(bytes)[..16]);
    short
}
