//! One toolset: its servers lifted out, its references followed, its names held against each other.

use std::collections::BTreeMap;

use super::{Builder, server, spec_path};
use crate::document::{Declared, Document};
use crate::nearest::suggest;
use crate::node::FieldPath;
use crate::reference::DEFAULT_NAMESPACE;
use crate::{
    Backend, BackendRef, Finding, InlineServer, Kind, Name, Naming, ParentRef, ResourceId,
    Selection, ServerId, Toolset, ToolsetSpec, Uris,
};

/// The name of the toolset that exists when none is declared.
const DEFAULT_TOOLSET: &str = "default";

impl Builder<'_> {
    pub(super) fn toolsets(&mut self) {
        for (id, document) in self.documents() {
            if let Declared::Toolset(spec) = &document.declared {
                self.toolset(id, spec, document);
            }
        }
    }

    fn toolset(&mut self, id: ResourceId, spec: &ToolsetSpec, document: &Document) {
        let mut backends = Vec::new();
        for (index, reference) in spec.backend_refs.iter().enumerate() {
            let path = spec_path().field("backendRefs").index(index);
            backends.extend(
                self.referred(&id, reference, document, &path)
                    .map(|backend| (backend, path)),
            );
        }
        for (index, inline) in spec.servers.iter().enumerate() {
            let path = spec_path().field("servers").index(index);
            backends.push((self.inline(&id, inline, document, &path), path));
        }
        self.equal_names(&backends, document);
        self.equal_renames(&backends, document);
        self.passthrough(spec, &backends, document);
        for (index, parent) in spec.parent_refs.iter().enumerate() {
            self.parent(
                &id,
                parent,
                document,
                &spec_path().field("parentRefs").index(index),
            );
        }
        if spec.backend_refs.is_empty() && spec.servers.is_empty() {
            let finding = Finding::warning("empty-toolset", "the toolset has no server")
                .help("name servers in `backendRefs`, or declare them in `servers`");
            self.put(document, &spec_path(), finding);
        }
        let path = spec
            .path
            .clone()
            .unwrap_or_else(|| format!("/mcp/{}", id.name));
        let backends = backends.into_iter().map(|(backend, _)| backend).collect();
        let origin = Some(document.origin(&FieldPath::default()));
        self.set.toolsets.push(Toolset {
            id,
            path,
            spec: spec.clone(),
            backends,
            origin,
        });
    }

    fn referred(
        &mut self,
        of: &ResourceId,
        reference: &BackendRef,
        document: &Document,
        path: &FieldPath,
    ) -> Option<Backend> {
        let id = ResourceId::new(
            Kind::McpServer,
            of.namespace.as_str(),
            reference.name.as_str(),
        );
        if !self.index.contains_key(&id) && !self.foreign.contains_key(&id) {
            let finding = self.dangling(&id);
            self.put(document, &path.field("name"), finding);
            return None;
        }
        // Servers of an `mcp.json` always have a prefix, so that what a desktop host calls them stays recognizable.
        let prefix = match self.foreign.get(&id) {
            Some(foreign) if reference.prefix.is_empty() => foreign.prefix.clone(),
            _ => reference.prefix.clone(),
        };
        let selection = Selection {
            prefix,
            include: reference.include.clone(),
            exclude: reference.exclude.clone(),
            tools: reference.tools.clone(),
        };
        Some(Backend {
            server: ServerId::declared(&id.namespace, &id.name),
            name: id.name,
            selection,
        })
    }

    fn inline(
        &mut self,
        of: &ResourceId,
        inline: &InlineServer,
        document: &Document,
        path: &FieldPath,
    ) -> Backend {
        let id = ServerId::inline(&of.namespace, &of.name, &inline.name);
        // A second server of the same name is told of by `equal_names`; the first one stays.
        if !self.set.servers.contains_key(&id) {
            self.server(
                id.clone(),
                of,
                server::lifted(inline),
                document,
                path,
                server::Style::Inline,
            );
        }
        let selection = Selection {
            prefix: inline.prefix.clone(),
            include: inline.include.clone(),
            exclude: inline.exclude.clone(),
            tools: inline.tools.clone(),
        };
        Backend {
            server: id,
            name: inline.name.clone(),
            selection,
        }
    }

    fn equal_names(&mut self, backends: &[(Backend, FieldPath)], document: &Document) {
        let mut seen: BTreeMap<&str, &FieldPath> = BTreeMap::new();
        for (backend, path) in backends {
            if let Some(first) = seen.insert(&backend.name, path) {
                let message = format!(
                    "two servers of this toolset are named `{}`, first in `{first}`",
                    backend.name
                );
                self.put(
                    document,
                    &path.field("name"),
                    Finding::error("duplicate-server", message),
                );
            }
        }
    }

    /// Two tools must not be given one name. Names that are not given here are only known when the servers answer.
    fn equal_renames(&mut self, backends: &[(Backend, FieldPath)], document: &Document) {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        for (backend, path) in backends {
            for (own, change) in &backend.selection.tools {
                let Some(shown) = &change.name else { continue };
                let owner = format!("`{own}` of server `{}`", backend.name);
                if let Some(first) = seen.get(shown.as_str()) {
                    let message = format!("{owner} is named `{shown}`, and so is {first}");
                    let at = path.field("tools").field(own).field("name");
                    self.put(document, &at, Finding::error("duplicate-tool", message));
                } else {
                    seen.insert(shown, owner);
                }
            }
        }
    }

    /// Names and URIs can only be left alone where one server gives them all.
    fn passthrough(
        &mut self,
        spec: &ToolsetSpec,
        backends: &[(Backend, FieldPath)],
        document: &Document,
    ) {
        let count = spec.backend_refs.len() + spec.servers.len();
        let fields = [
            ("naming", spec.naming == Naming::Passthrough),
            ("uris", spec.uris == Some(Uris::Passthrough)),
        ];
        for (field, _) in fields
            .into_iter()
            .filter(|(_, passes)| *passes && count > 1)
        {
            let message =
                format!("`Passthrough` needs a toolset with one server; this one has {count}");
            let finding = Finding::error("passthrough-of-several", message)
                .help("leave it out, or publish each server in a toolset of its own");
            self.put(document, &spec_path().field(field), finding);
        }
        if spec.naming != Naming::Passthrough {
            return;
        }
        for (backend, path) in backends {
            let renames = backend
                .selection
                .tools
                .iter()
                .filter(|(_, change)| change.name.is_some());
            let renamed = renames.map(|(own, _)| path.field("tools").field(own).field("name"));
            let prefix = (!backend.selection.prefix.is_empty()).then(|| path.field("prefix"));
            for at in renamed.chain(prefix) {
                let finding = Finding::error(
                    "field-without-effect",
                    "`naming: Passthrough` leaves names as the server gave them",
                );
                self.put(
                    document,
                    &at,
                    finding.help("leave out this field, or `naming`"),
                );
            }
        }
    }

    fn parent(
        &mut self,
        of: &ResourceId,
        parent: &ParentRef,
        document: &Document,
        path: &FieldPath,
    ) {
        let namespace = parent.namespace.as_deref().unwrap_or(&of.namespace);
        let id = ResourceId::new(Kind::Gateway, namespace, parent.name.as_str());
        let Some(gateway) = self.index.get(&id) else {
            let finding = self.dangling(&id);
            return self.put(document, &path.field("name"), finding);
        };
        let (Declared::Gateway(spec), Some(section)) = (&gateway.declared, &parent.section_name)
        else {
            return;
        };
        let names: Vec<&str> = spec
            .listeners
            .iter()
            .map(|listener| listener.name.as_str())
            .collect();
        if !names.contains(&section.as_str()) {
            let finding = Finding::error(
                "dangling-reference",
                format!("{id} has no listener of this name"),
            )
            .help(suggest(section, names, "listener"));
            self.put(document, &path.field("sectionName"), finding);
        }
    }

    /// Without any toolset there is one over every server.
    pub(super) fn default_toolset(&mut self) {
        let declared = self.index.keys().any(|id| id.kind == Kind::Toolset);
        if declared || self.set.servers.is_empty() {
            return;
        }
        let mut backends: Vec<Backend> = Vec::new();
        for server in self.set.servers.values() {
            let own = server.id.as_str().split('.').next().unwrap_or_default();
            let prefix = self.foreign.get(&ResourceId::new(
                Kind::McpServer,
                server.namespace.as_str(),
                own,
            ));
            let name = if server.namespace == DEFAULT_NAMESPACE {
                own.to_owned()
            } else {
                Name::closest(&format!("{own}-{}", server.namespace))
                    .map_or_else(|| own.to_owned(), |name| name.to_string())
            };
            if let Some(other) = backends.iter().find(|backend| backend.name == name) {
                let message = format!(
                    "MCPServer {} and {} would both be called `{name}`",
                    other.server, server.id
                );
                let mut finding = Finding::error("duplicate-server", message)
                    .help("declare a Toolset, or rename one of them");
                finding.origin.clone_from(&server.origin);
                self.findings.push(finding);
                continue;
            }
            let prefix = prefix
                .map(|foreign| foreign.prefix.clone())
                .unwrap_or_default();
            let selection = Selection {
                prefix,
                ..Selection::default()
            };
            backends.push(Backend {
                server: server.id.clone(),
                name,
                selection,
            });
        }
        let id = ResourceId::new(Kind::Toolset, DEFAULT_NAMESPACE, DEFAULT_TOOLSET);
        let path = format!("/mcp/{DEFAULT_TOOLSET}");
        self.set.toolsets.push(Toolset {
            id,
            path,
            spec: ToolsetSpec::default(),
            backends,
            origin: None,
        });
    }
}
