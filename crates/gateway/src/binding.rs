//! One server as one toolset shows it.

use std::borrow::Cow;
use std::sync::Arc;

use protocol::json::{members, quote, set_member, string};
use protocol::mcp::{own_uri, safe_name, shown_template, shown_uri};
use resources::{Filter, Naming, Selection, Uris};

use crate::digest::sha256;
use crate::inventory::{Item, ListKind};
use crate::server::Kept;

/// One server of one toolset.
#[derive(Debug)]
pub(crate) struct Binding {
    /// The server, kept alive as long as a table uses it.
    pub(crate) kept: Arc<Kept>,
    /// The server's short name in this toolset, used in URIs and shown to people.
    pub(crate) label: Box<str>,
    /// Which tools are shown, and how.
    pub(crate) selection: Selection,
    /// The compiled globs of the selection.
    pub(crate) filter: Filter,
    pub(crate) naming: Naming,
    pub(crate) uris: Uris,
}

impl Binding {
    /// The name under which a tool or prompt is shown, or `None` when it is not shown.
    pub(crate) fn shown_name(&self, kind: ListKind, own: &str) -> Option<String> {
        if kind == ListKind::Tools && !self.filter.admits(own) {
            return None;
        }
        if self.naming == Naming::Passthrough {
            return Some(own.to_owned());
        }
        let changed = (kind == ListKind::Tools)
            .then(|| self.selection.tools.get(own)?.name.clone())
            .flatten();
        let wanted = changed.unwrap_or_else(|| format!("{}{own}", self.selection.prefix));
        Some(safe_name(&wanted, sha256).into_owned())
    }

    /// The URI under which a resource is shown.
    pub(crate) fn shown_uri<'a>(&self, uri: &'a str) -> Cow<'a, str> {
        match self.uris {
            Uris::Authority => shown_uri(&self.label, uri),
            Uris::Passthrough => Cow::Borrowed(uri),
        }
    }

    /// The URI template under which a template is shown.
    pub(crate) fn shown_template<'a>(&self, template: &'a str) -> Cow<'a, str> {
        match self.uris {
            Uris::Authority => shown_template(&self.label, template),
            Uris::Passthrough => Cow::Borrowed(template),
        }
    }

    /// The item as clients see it: name, URI and overrides changed, every other byte kept.
    pub(crate) fn shown_item(&self, kind: ListKind, item: &Item, shown: &str) -> String {
        let key = match kind {
            ListKind::Tools | ListKind::Prompts => "name",
            ListKind::Resources => "uri",
            ListKind::Templates => "uriTemplate",
        };
        let mut raw = if shown == item.key {
            item.raw.to_string()
        } else {
            set(&item.raw, key, &quote(shown))
        };
        if kind == ListKind::Tools {
            raw = self.overridden(&item.key, raw);
            if self.uris == Uris::Authority {
                raw = self.with_shown_ui(raw);
            }
        }
        raw
    }

    fn overridden(&self, own: &str, mut raw: String) -> String {
        let Some(change) = self.selection.tools.get(own) else {
            return raw;
        };
        if let Some(description) = &change.description {
            raw = set(&raw, "description", &quote(description));
        }
        if !change.annotations.is_empty() {
            let known = member(&raw, "annotations").unwrap_or_else(|| "{}".to_owned());
            let merged = change.annotations.iter().fold(known, |all, (key, value)| {
                set(&all, key, &value.to_string())
            });
            raw = set(&raw, "annotations", &merged);
        }
        raw
    }

    /// `_meta.ui.resourceUri` and the older `_meta["ui/resourceUri"]` name a resource of the same server.
    fn with_shown_ui(&self, raw: String) -> String {
        let Some(meta) = member(&raw, "_meta") else {
            return raw;
        };
        let mut changed = meta.clone();
        if let Some(uri) = member(&meta, "ui/resourceUri").as_deref().and_then(string) {
            changed = set(&changed, "ui/resourceUri", &quote(&self.shown_uri(&uri)));
        }
        if let Some(ui) = member(&meta, "ui")
            && let Some(uri) = member(&ui, "resourceUri").as_deref().and_then(string)
        {
            changed = set(
                &changed,
                "ui",
                &set(&ui, "resourceUri", &quote(&self.shown_uri(&uri))),
            );
        }
        if changed == meta {
            raw
        } else {
            set(&raw, "_meta", &changed)
        }
    }
}

/// Whether a tool may be called only by an app of its own server (MCP Apps, `_meta.ui.visibility`).
///
/// A toolset of several servers erases that boundary, so it cannot show such a tool.
pub(crate) fn is_app_only(tool: &str) -> bool {
    let visibility = member(tool, "_meta")
        .and_then(|meta| member(&meta, "ui"))
        .and_then(|ui| member(&ui, "visibility"));
    visibility.is_some_and(|raw| {
        serde_json::from_str::<Vec<String>>(&raw).is_ok_and(|who| who == ["app"])
    })
}

/// Whether a URI names something below another.
pub(crate) fn is_part(uri: &str, whole: &str) -> bool {
    let rest = uri.strip_prefix(whole);
    rest.is_some_and(|rest| whole.ends_with('/') || rest.starts_with(['/', '#', '?']))
}

/// A server's URI in the way another of the same server is shown.
pub(crate) fn shown_beside(shown: &str, own: &str) -> String {
    match own_uri(shown) {
        Some((label, _)) => shown_uri(&label, own).into_owned(),
        None => own.to_owned(),
    }
}

fn set(object: &str, key: &str, value: &str) -> String {
    set_member(object, key, value).unwrap_or_else(|| object.to_owned())
}

fn member(object: &str, key: &str) -> Option<String> {
    let found = members(object).ok()?;
    found
        .iter()
        .find(|member| member.key == key)
        .map(|member| member.value.to_owned())
}
