//! Everything a request needs to know, compiled from the resources and swapped as a whole.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use protocol::mcp::Era;
use resources::{Access, Finding, Listener, ResourceSet, ServerId, Uris};
use tokio::sync::{Notify, watch};

use crate::binding::Binding;
use crate::handles::Handles;
use crate::inventory::ListKind;
use crate::server::{Kept, Server};
use crate::settings::Settings;
use crate::view::{Digest, View};

/// Everything known at one moment.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Toolsets by the path of their endpoint.
    pub(crate) paths: HashMap<Box<str>, Arc<Toolset>>,
    /// Servers by identity; unchanged ones are those of the table before.
    pub(crate) servers: BTreeMap<ServerId, Arc<Kept>>,
}

impl Table {
    /// Whether a server is still this table's, unchanged.
    pub(crate) fn keeps(&self, server: &Arc<Server>) -> bool {
        let kept = self.servers.get(&server.id);
        kept.is_some_and(|kept| Arc::ptr_eq(&kept.server, server))
    }
}

/// One endpoint.
#[derive(Debug)]
pub(crate) struct Toolset {
    /// Its name, unique.
    pub(crate) name: Arc<str>,
    /// Where it is.
    pub(crate) path: Box<str>,
    /// Who gets in without a policy; none when nothing was said.
    pub(crate) access: Option<Access>,
    /// The listeners that serve it, as numbers.
    pub(crate) listeners: Vec<usize>,
    /// Its servers in order.
    pub(crate) bindings: Vec<Binding>,
    /// What seals the handles of its callers.
    pub(crate) handles: Arc<Handles>,
    /// Operator's instructions.
    instructions: Option<String>,
    modern: ArcSwap<View>,
    legacy: ArcSwap<View>,
    /// One merge at a time, so that an older one is never stored over a newer.
    refreshing: Mutex<()>,
    /// Tells open streams what changed; outlives the table.
    pub(crate) changes: Arc<Changes>,
}

/// Tells open streams which lists changed, era by era.
#[derive(Debug)]
pub(crate) struct Changes {
    modern: watch::Sender<Epochs>,
    legacy: watch::Sender<Epochs>,
    seen: Mutex<HashMap<Era, [Digest; 4]>>,
}

impl Epochs {
    /// Takes over the counters of one list.
    pub(crate) const fn catch_up(&mut self, kind: ListKind, now: Self) {
        match kind {
            ListKind::Tools => self.tools = now.tools,
            ListKind::Prompts => self.prompts = now.prompts,
            // Templates are announced with resources: only who has both again is up to date.
            ListKind::Resources | ListKind::Templates => {}
        }
    }
}

/// Counters that grow when clients can see a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    /// Of `tools/list`.
    pub(crate) tools: u64,
    /// Of `prompts/list`.
    pub(crate) prompts: u64,
    /// Of `resources/list` and `resources/templates/list`.
    pub(crate) resources: u64,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            modern: watch::Sender::new(Epochs::default()),
            legacy: watch::Sender::new(Epochs::default()),
            seen: Mutex::default(),
        }
    }
}

impl Changes {
    /// A receiver of changes in one era.
    pub(crate) fn subscribe(&self, era: Era) -> watch::Receiver<Epochs> {
        match era {
            Era::Modern => self.modern.subscribe(),
            Era::Legacy => self.legacy.subscribe(),
        }
    }

    /// What a new toolset shows is where changes begin, even if nobody has asked for it yet.
    fn since(modern: &View, legacy: &View) -> Self {
        let changes = Self::default();
        for (era, view) in [(Era::Modern, modern), (Era::Legacy, legacy)] {
            changes.announce(era, view);
        }
        changes
    }

    /// How often each list has changed so far.
    pub(crate) fn now(&self, era: Era) -> Epochs {
        match era {
            Era::Modern => *self.modern.borrow(),
            Era::Legacy => *self.legacy.borrow(),
        }
    }

    /// Compares with what was announced last; clients hear of exactly what they can see changed.
    fn announce(&self, era: Era, view: &View) {
        let now = ListKind::ALL.map(|kind| view.pages(kind).digest);
        let before = self
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(era, now);
        let Some(before) = before.filter(|before| *before != now) else {
            return;
        };
        let changed = |kind: ListKind| u64::from(before[kind as usize] != now[kind as usize]);
        let sender = if era == Era::Modern {
            &self.modern
        } else {
            &self.legacy
        };
        sender.send_modify(|epochs| {
            epochs.tools += changed(ListKind::Tools);
            epochs.prompts += changed(ListKind::Prompts);
            epochs.resources += changed(ListKind::Resources).max(changed(ListKind::Templates));
        });
    }
}

impl Toolset {
    /// What clients of an era see now.
    pub(crate) fn view(&self, era: Era) -> arc_swap::Guard<Arc<View>> {
        match era {
            Era::Modern => self.modern.load(),
            Era::Legacy => self.legacy.load(),
        }
    }

    /// Merges the servers' lists again, and tells open streams what changed.
    pub(crate) fn refresh(&self) {
        let _one = self
            .refreshing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for era in [Era::Modern, Era::Legacy] {
            let view = View::build(&self.bindings, era, self.instructions.as_deref());
            let slot = if era == Era::Modern {
                &self.modern
            } else {
                &self.legacy
            };
            for problem in &view.problems {
                if !slot.load().problems.contains(problem) {
                    tracing::warn!(toolset = %self.name, era = era.as_str(), problem, "part of a toolset is not shown");
                }
            }
            slot.store(Arc::new(view));
        }
        self.announce();
    }

    /// Tells open streams what changed since the last time.
    pub(crate) fn announce(&self) {
        for era in [Era::Modern, Era::Legacy] {
            self.changes.announce(era, &self.view(era));
        }
    }
}

/// Builds a whole new table beside `before`; servers that did not change are taken over with their connections.
///
/// # Errors
/// Everything that makes the resources unusable. Nothing half-valid is ever served.
pub(crate) fn build(
    set: &ResourceSet,
    before: &Table,
    settings: &Settings,
    bell: &Arc<Notify>,
) -> Result<Table, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut servers = BTreeMap::new();
    for (id, resource) in &set.servers {
        match keep(set, resource, before, &settings.supervisor, bell) {
            Ok(kept) => drop(servers.insert(id.clone(), kept)),
            Err(finding) => findings.push(*finding),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let listeners = set.listeners();
    let known: HashMap<&Arc<str>, &Arc<Toolset>> = before
        .paths
        .values()
        .map(|toolset| (&toolset.name, toolset))
        .collect();
    let mut paths = HashMap::new();
    for resource in &set.toolsets {
        match toolset(resource, &servers, &listeners, &known, &settings.handles) {
            Ok(toolset) => drop(paths.insert(toolset.path.clone(), Arc::new(toolset))),
            Err(finding) => findings.push(*finding),
        }
    }
    if findings.is_empty() {
        Ok(Table { paths, servers })
    } else {
        Err(findings)
    }
}

fn keep(
    set: &ResourceSet,
    resource: &resources::Server,
    before: &Table,
    supervisor: &PathBuf,
    bell: &Arc<Notify>,
) -> Result<Arc<Kept>, Box<Finding>> {
    let fingerprint = resource.fingerprint(set);
    if let Some(kept) = before
        .servers
        .get(&resource.id)
        .filter(|kept| kept.fingerprint == fingerprint)
    {
        return Ok(kept.clone());
    }
    let server = Server::new(set, resource, supervisor, bell.clone())?;
    Ok(Arc::new(Kept::start(server, fingerprint)))
}

fn toolset(
    resource: &resources::Toolset,
    servers: &BTreeMap<ServerId, Arc<Kept>>,
    listeners: &[Listener],
    before: &HashMap<&Arc<str>, &Arc<Toolset>>,
    handles: &Arc<Handles>,
) -> Result<Toolset, Box<Finding>> {
    let several = resource.backends.len() > 1;
    let uris = resource.spec.uris.unwrap_or(if several {
        Uris::Authority
    } else {
        Uris::Passthrough
    });
    let mut bindings = Vec::new();
    for backend in &resource.backends {
        let bad = |message: String| {
            Box::new(Finding::error("unusable-toolset", message).about(resource.id.clone()))
        };
        let kept = servers
            .get(&backend.server)
            .ok_or_else(|| bad(format!("there is no server `{}`", backend.server)))?;
        let filter = backend
            .selection
            .filter()
            .map_err(|error| bad(error.to_string()))?;
        bindings.push(Binding {
            kept: kept.clone(),
            label: backend.name.as_str().into(),
            selection: backend.selection.clone(),
            filter,
            naming: resource.spec.naming,
            uris,
        });
    }
    let name: Arc<str> = qualified(resource).into();
    let instructions = resource.spec.instructions.clone();
    let [modern, legacy] =
        [Era::Modern, Era::Legacy].map(|era| View::build(&bindings, era, instructions.as_deref()));
    let changes = before.get(&name).map_or_else(
        || Arc::new(Changes::since(&modern, &legacy)),
        |known| known.changes.clone(),
    );
    Ok(Toolset {
        path: resource.path.as_str().into(),
        access: resource.spec.access,
        listeners: (0..listeners.len())
            .filter(|at| listeners[*at].serves(resource))
            .collect(),
        modern: ArcSwap::from_pointee(modern),
        legacy: ArcSwap::from_pointee(legacy),
        refreshing: Mutex::new(()),
        handles: handles.clone(),
        name,
        bindings,
        instructions,
        changes,
    })
}

fn qualified(resource: &resources::Toolset) -> String {
    if resource.id.namespace == "default" {
        resource.id.name.clone()
    } else {
        format!("{}.{}", resource.id.name, resource.id.namespace)
    }
}
