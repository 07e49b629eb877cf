//! Documents and values into a set: references are followed, defaults applied, servers lifted out of their toolsets.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Declared, Document};
use crate::kinds::secret::SecretData;
use crate::mcp_json;
use crate::nearest::suggest;
use crate::node::FieldPath;
use crate::{
    Finding, Kind, Origin, ResourceId, ResourceSet, Secret, Server, ServerId, ValueSource, Values,
    Wanted,
};

mod gateway;
mod server;
mod toolset;

/// A set, if nothing declared is an error, and everything found while it was made.
#[derive(Debug)]
pub struct Built {
    /// The set; none if a finding is an error.
    pub set: Option<ResourceSet>,
    /// What is wrong, or worth knowing.
    pub findings: Vec<Finding>,
}

/// Names the variables and files that documents need, for whoever reads them.
#[must_use]
pub fn wanted(documents: &[Document]) -> BTreeSet<Wanted> {
    let mut wanted = BTreeSet::new();
    let mut want = |source: ValueSource| match source {
        ValueSource::Env(name) => {
            wanted.insert(Wanted::Env(name));
        }
        ValueSource::File(path) => {
            wanted.insert(Wanted::File(path));
        }
        ValueSource::SecretRef(_) | ValueSource::ConfigMapRef(_) => {}
    };
    for document in documents {
        let base = document.base_dir.as_deref();
        match &document.declared {
            Declared::McpServer(spec) => {
                for (_, _, source) in server::sources(spec, &spec_path(), server::Style::Document) {
                    want(source.clone().at(base));
                }
            }
            Declared::Toolset(spec) => {
                for spec in spec.servers.iter().map(server::lifted) {
                    for (_, _, source) in
                        server::sources(&spec, &spec_path(), server::Style::Inline)
                    {
                        want(source.clone().at(base));
                    }
                }
            }
            Declared::Gateway(spec) => {
                gateway::sources(spec).for_each(|source| want(source.at(base)))
            }
            Declared::McpJson(json) => {
                json.variables()
                    .into_iter()
                    .for_each(|name| want(ValueSource::Env(name.to_owned())));
            }
            Declared::Secret(_) | Declared::ConfigMap(_) | Declared::Broken => {}
        }
    }
    wanted
}

/// Makes a set of documents and of the values that [`wanted`] named.
///
/// Documents that [`crate::parse`] found broken give no set; their findings are not repeated here.
#[must_use]
pub fn build(documents: &[Document], values: Values) -> Built {
    let mut builder = Builder {
        index: BTreeMap::new(),
        foreign: BTreeMap::new(),
        set: ResourceSet {
            values,
            ..ResourceSet::default()
        },
        findings: Vec::new(),
    };
    builder.index(documents);
    builder.data();
    builder.mcp_json(documents);
    builder.servers();
    builder.gateways();
    builder.toolsets();
    let broken = documents
        .iter()
        .any(|document| matches!(document.declared, Declared::Broken));
    if !broken {
        builder.default_toolset();
        builder.unused_servers();
    }
    builder.paths();
    let whole = !broken && !builder.findings.iter().any(Finding::is_error);
    Built {
        set: whole.then_some(builder.set),
        findings: builder.findings,
    }
}

struct Builder<'d> {
    /// Every named document, the first of each name.
    index: BTreeMap<ResourceId, &'d Document>,
    /// The servers of `mcp.json` files, with their prefix.
    foreign: BTreeMap<ResourceId, Foreign>,
    set: ResourceSet,
    findings: Vec<Finding>,
}

/// A server of an `mcp.json`.
struct Foreign {
    prefix: String,
    origin: Origin,
}

impl<'d> Builder<'d> {
    fn index(&mut self, documents: &'d [Document]) {
        for document in documents {
            let Some(id) = &document.id else { continue };
            if let Some(first) = self.index.get(id) {
                let help = format!(
                    "it is first declared at {}",
                    first.origin(&FieldPath::default())
                );
                self.put(
                    document,
                    &name_path(),
                    Finding::error("duplicate-resource", format!("{id} is declared twice"))
                        .help(help),
                );
            } else {
                self.index.insert(id.clone(), document);
            }
        }
    }

    fn documents(&self) -> Vec<(ResourceId, &'d Document)> {
        self.index
            .iter()
            .map(|(id, document)| (id.clone(), *document))
            .collect()
    }

    fn put(&mut self, document: &Document, path: &FieldPath, finding: Finding) {
        self.findings.push(document.put(finding, path));
    }

    fn data(&mut self) {
        for (id, document) in self.documents() {
            match &document.declared {
                Declared::Secret(secret) => self.secret(id, secret, document),
                Declared::ConfigMap(map) => {
                    let values = map
                        .data
                        .iter()
                        .map(|(key, text)| (key.clone(), Some(Secret::new(text.as_str()))));
                    self.set.data.insert(id, values.collect());
                }
                Declared::McpServer(_)
                | Declared::Toolset(_)
                | Declared::Gateway(_)
                | Declared::McpJson(_)
                | Declared::Broken => {}
            }
        }
    }

    fn secret(&mut self, id: ResourceId, secret: &SecretData, document: &Document) {
        let (values, broken) = secret.values();
        for key in broken {
            let finding = Finding::error("bad-base64", "the value is not base64")
                .help("encode it, or write it as it is under `stringData`");
            self.put(document, &FieldPath::of("data").field(&key), finding);
        }
        self.set.data.insert(id, values);
    }

    fn mcp_json(&mut self, documents: &'d [Document]) {
        for document in documents {
            let Declared::McpJson(json) = &document.declared else {
                continue;
            };
            for entry in &json.entries {
                self.foreign_server(document, entry);
            }
        }
    }

    fn foreign_server(&mut self, document: &Document, entry: &mcp_json::Entry) {
        let id = ResourceId::new(
            Kind::McpServer,
            crate::reference::DEFAULT_NAMESPACE,
            entry.name.as_str(),
        );
        let origin = document.origin(&entry.path);
        let first = self
            .index
            .get(&id)
            .map(|first| first.origin(&FieldPath::default()));
        if let Some(first) =
            first.or_else(|| self.foreign.get(&id).map(|first| first.origin.clone()))
        {
            let finding = Finding::error("duplicate-resource", format!("{id} is declared twice"))
                .help(format!(
                    "it is first declared at {first}; upper and lower case are the same here"
                ));
            return self.put(document, &entry.path, finding);
        }
        let prefix = format!("{}__", entry.key);
        self.foreign.insert(
            id.clone(),
            Foreign {
                prefix,
                origin: origin.clone(),
            },
        );
        let filled = match entry.filled(&self.set.values) {
            Ok(filled) => filled,
            Err(findings) => {
                for (finding, path) in findings {
                    self.put(document, &path, finding);
                }
                return;
            }
        };
        self.set.data.insert(entry.data_id(), filled.data);
        let server = ServerId::declared(&id.namespace, &id.name);
        self.set.servers.insert(
            server.clone(),
            Server {
                id: server,
                namespace: id.namespace,
                spec: filled.spec,
                base_dir: document.base_dir.clone(),
                origin: Some(origin),
            },
        );
    }

    /// Gives the value of a source, or tells why there is none. What a broken document would hold is not missed.
    fn value(
        &mut self,
        document: &Document,
        path: &FieldPath,
        source: &ValueSource,
        namespace: &str,
    ) -> Option<Secret> {
        if self.names_broken(source, namespace) {
            return None;
        }
        match self.set.value(source, namespace) {
            Ok(value) => Some(value),
            Err(finding) => {
                let at = self.fault_in(source, namespace, path);
                let at = if document.node.at(&at).is_some() {
                    &at
                } else {
                    path
                };
                self.put(document, at, *finding);
                None
            }
        }
    }

    /// Names the part of a source that is at fault.
    fn fault_in(&self, source: &ValueSource, namespace: &str, path: &FieldPath) -> FieldPath {
        let part = |kind: Kind, name: &str| {
            let found = self
                .set
                .data
                .contains_key(&ResourceId::new(kind, namespace, name));
            if found { "key" } else { "name" }
        };
        match source {
            ValueSource::SecretRef(key) => {
                path.field("secretRef").field(part(Kind::Secret, &key.name))
            }
            ValueSource::ConfigMapRef(key) => path
                .field("configMapRef")
                .field(part(Kind::ConfigMap, &key.name)),
            ValueSource::Env(_) => path.field("env"),
            ValueSource::File(_) => path.field("file"),
        }
    }

    fn names_broken(&self, source: &ValueSource, namespace: &str) -> bool {
        let (kind, key) = match source {
            ValueSource::SecretRef(key) => (Kind::Secret, key),
            ValueSource::ConfigMapRef(key) => (Kind::ConfigMap, key),
            ValueSource::Env(_) | ValueSource::File(_) => return false,
        };
        self.is_broken(&ResourceId::new(kind, namespace, key.name.as_str()))
    }

    fn is_broken(&self, id: &ResourceId) -> bool {
        self.index
            .get(id)
            .is_some_and(|document| matches!(document.declared, Declared::Broken))
    }

    /// Names what is declared of a kind in a namespace, for suggestions.
    fn names(&self, kind: Kind, namespace: &str) -> Vec<String> {
        let ids = self.index.keys().chain(self.foreign.keys());
        ids.filter(|id| id.kind == kind && id.namespace == namespace)
            .map(|id| id.name.clone())
            .collect()
    }

    fn dangling(&self, id: &ResourceId) -> Finding {
        let names = self.names(id.kind, &id.namespace);
        let what = format!("{} in namespace `{}`", id.kind, id.namespace);
        let shown = if crate::format::may_be_shown(&id.name) {
            format!("there is no {id}")
        } else {
            format!("there is no such {}", id.kind)
        };
        Finding::error("dangling-reference", shown).help(suggest(
            &id.name,
            names.iter().map(String::as_str),
            &what,
        ))
    }

    /// Two toolsets of one listener must not share a path: no request could tell them apart.
    fn paths(&mut self) {
        let listeners = self.set.listeners();
        for (position, toolset) in self.set.toolsets.iter().enumerate() {
            let clash = self.set.toolsets[..position].iter().find(|other| {
                other.path == toolset.path
                    && listeners
                        .iter()
                        .any(|listener| listener.serves(other) && listener.serves(toolset))
            });
            let Some(other) = clash else { continue };
            let finding = Finding::error(
                "duplicate-path",
                format!("{} is served at `{}` too", other.id, toolset.path),
            )
            .help("give one of them another `spec.path`, or other `parentRefs`");
            let path = FieldPath::of("spec").field("path");
            match self.index.get(&toolset.id) {
                Some(document) => self.findings.push(document.put(finding, &path)),
                None => self.findings.push(finding.about(toolset.id.clone())),
            }
        }
    }

    fn unused_servers(&mut self) {
        let used: BTreeSet<&ServerId> = self
            .set
            .toolsets
            .iter()
            .flat_map(|toolset| &toolset.backends)
            .map(|backend| &backend.server)
            .collect();
        for server in self
            .set
            .servers
            .values()
            .filter(|server| !used.contains(&server.id))
        {
            let message = format!("MCPServer {} is in no toolset and is not served", server.id);
            let mut finding = Finding::warning("unused-server", message)
                .help("name it in `spec.backendRefs` of a Toolset");
            finding.origin.clone_from(&server.origin);
            self.findings.push(finding);
        }
    }
}

fn name_path() -> FieldPath {
    FieldPath::of("metadata").field("name")
}

fn spec_path() -> FieldPath {
    FieldPath::of("spec")
}
