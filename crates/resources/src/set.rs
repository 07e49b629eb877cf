//! Everything known at one moment, normalized: above here nobody can tell how it was written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::nearest::suggest;
use crate::{
    EnvValue, Finding, Kind, Listener, McpServerSpec, Origin, ResourceId, Secret, Selection,
    ServerId, ToolsetSpec, ValueSource, Values,
};

/// Everything known at one moment. It exists only when nothing declared is an error.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceSet {
    /// The endpoints, in the order of their identity.
    pub toolsets: Vec<Toolset>,
    /// The servers, wherever they were declared.
    pub servers: BTreeMap<ServerId, Server>,
    /// The declared Gateways; see [`Self::listeners`] for where to listen.
    pub gateways: Vec<Gateway>,
    pub(crate) data: Data,
    pub(crate) values: Values,
}

/// The contents of Secret and ConfigMap documents; `None` for a value that is not text.
pub(crate) type Data = BTreeMap<ResourceId, BTreeMap<String, Option<Secret>>>;

/// One MCP endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Toolset {
    /// Its identity.
    pub id: ResourceId,
    /// Where the endpoint is, default applied.
    pub path: String,
    /// What was declared. `backendRefs` and `servers` are already worked into `backends`.
    pub spec: ToolsetSpec,
    /// Its servers, in the order in which their tools are listed.
    pub backends: Vec<Backend>,
    /// Where it was declared; none for the default toolset.
    pub origin: Option<Origin>,
}

/// One server of a toolset.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Which server.
    pub server: ServerId,
    /// Its short name, shown to people and used in URIs: a DNS label, unique in the toolset.
    pub name: String,
    /// Which of its tools are shown, and how.
    pub selection: Selection,
}

/// One tool backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Its identity.
    pub id: ServerId,
    /// The namespace in which its references are looked up.
    pub namespace: String,
    /// How to reach it. File sources are already joined to the folder of their document.
    pub spec: McpServerSpec,
    /// The folder of the document, where relative paths start.
    pub base_dir: Option<PathBuf>,
    /// Where it was declared.
    pub origin: Option<Origin>,
}

/// One declared Gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// Its identity.
    pub id: ResourceId,
    /// Its listeners, one per address.
    pub listeners: Vec<Listener>,
    /// Where it was declared.
    pub origin: Option<Origin>,
}

impl ResourceSet {
    /// Gives where to listen: what the Gateways say, else `127.0.0.1:8484`.
    #[must_use]
    pub fn listeners(&self) -> Vec<Listener> {
        if self.gateways.is_empty() {
            return vec![Listener::default()];
        }
        self.gateways
            .iter()
            .flat_map(|gateway| gateway.listeners.iter().cloned())
            .collect()
    }

    /// Looks up a value.
    ///
    /// # Errors
    /// A finding without a place, when there is no such value. A set has none of these for the sources in it.
    pub fn value(&self, source: &ValueSource, namespace: &str) -> Result<Secret, Box<Finding>> {
        match source {
            ValueSource::SecretRef(key) => {
                self.data_value(Kind::Secret, namespace, &key.name, &key.key)
            }
            ValueSource::ConfigMapRef(key) => {
                self.data_value(Kind::ConfigMap, namespace, &key.name, &key.key)
            }
            ValueSource::Env(name) => self.values.env(name).cloned().ok_or_else(|| {
                Finding::error(
                    "missing-variable",
                    format!("environment variable `{name}` is not set"),
                )
                .help(format!("set {name} in the environment that starts marque"))
                .into()
            }),
            ValueSource::File(path) => self.values.file(path).cloned().map_err(|reason| {
                Finding::error(
                    "missing-file",
                    format!("file `{}` cannot be read: {reason}", path.display()),
                )
                .help("relative paths start at the folder of the document")
                .into()
            }),
        }
    }

    fn data_value(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<Secret, Box<Finding>> {
        let id = ResourceId::new(kind, namespace, name);
        let finding = match self.data.get(&id).map(|data| (data, data.get(key))) {
            Some((_, Some(Some(value)))) => return Ok(value.clone()),
            Some((_, Some(None))) => {
                Finding::error("not-text", format!("key `{key}` of {id} is not UTF-8 text"))
            }
            Some((data, None)) => {
                Finding::error("dangling-reference", format!("{id} has no key `{key}`"))
                    .help(suggest(key, data.keys().map(String::as_str), "key"))
            }
            None => {
                let known = self.data.keys();
                let known =
                    known.filter(|other| other.kind == kind && other.namespace == namespace);
                let what = format!("{kind} in namespace `{namespace}`");
                Finding::error("dangling-reference", format!("there is no {id}")).help(suggest(
                    name,
                    known.map(|other| other.name.as_str()),
                    &what,
                ))
            }
        };
        Err(finding.into())
    }
}

impl Listener {
    /// Says whether a toolset is served here: it names this listener, its whole Gateway, or nothing at all.
    #[must_use]
    pub fn serves(&self, toolset: &Toolset) -> bool {
        let refs = &toolset.spec.parent_refs;
        let Some(gateway) = &self.gateway else {
            return refs.is_empty();
        };
        refs.is_empty()
            || refs.iter().any(|parent| {
                parent.name == gateway.name
                    && parent.namespace.as_deref().unwrap_or(&toolset.id.namespace)
                        == gateway.namespace
                    && parent
                        .section_name
                        .as_ref()
                        .is_none_or(|section| *section == self.name)
            })
    }
}

impl Server {
    /// Sums up everything that decides how the server is reached, resolved values included.
    ///
    /// Two servers of equal fingerprint are the same to a reload. Only meant for comparison within one process.
    #[must_use]
    pub fn fingerprint(&self, set: &ResourceSet) -> [u8; 32] {
        let mut hash = Sha256::new();
        // The spec cannot hold a secret, so its debug text is complete and safe to hash.
        hash.update(format!(
            "{:?}\0{:?}\0{}",
            self.spec, self.base_dir, self.namespace
        ));
        for source in self.sources() {
            let value = set.value(source, &self.namespace);
            let text = value.as_ref().map_or("", Secret::expose);
            hash.update(text.len().to_le_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    /// Gives every value source in the spec, in a fixed order.
    pub fn sources(&self) -> impl Iterator<Item = &ValueSource> {
        let spec = &self.spec;
        let env = spec
            .stdio
            .iter()
            .flat_map(|stdio| stdio.env.values())
            .filter_map(|value| match value {
                EnvValue::Plain(_) => None,
                EnvValue::From(source) => Some(source),
            });
        let bearer = spec.auth.iter().filter_map(|auth| auth.bearer.as_ref());
        let headers = spec
            .headers
            .iter()
            .filter_map(|header| header.value_from.as_ref());
        let ca = spec.tls.iter().filter_map(|tls| tls.ca.as_ref());
        env.chain(bearer).chain(headers).chain(ca)
    }
}
