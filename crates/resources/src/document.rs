//! Text in, documents out: apiVersion, kind, metadata, and what the kind says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::conform::{Problem, conform};
use crate::kinds::gateway::GatewaySpec;
use crate::kinds::mcp_server::McpServerSpec;
use crate::kinds::secret::{ConfigMapData, SecretData};
use crate::kinds::toolset::ToolsetSpec;
use crate::kinds::{API_VERSION, GROUP};
use crate::literal::literals;
use crate::mcp_json::{self, McpJson};
use crate::nearest::{nearest, suggest};
use crate::node::{Content, FieldPath, Node, Position};
use crate::reference::DEFAULT_NAMESPACE;
use crate::schema::schema;
use crate::{Finding, Kind, Origin, ResourceId, yaml};

pub use crate::conform::PROBLEMS_MAX;
pub use crate::yaml::{DEPTH_MAX, DOCUMENTS_MAX, FILE_BYTES_MAX, NODES_MAX};

/// One document, with its places. What is wrong with it is among the findings of [`parse`].
#[derive(Clone)]
pub struct Document {
    pub(crate) file: Arc<str>,
    pub(crate) base_dir: Option<PathBuf>,
    /// None for an `mcp.json`, and for a document whose name cannot be read.
    pub(crate) id: Option<ResourceId>,
    pub(crate) node: Node,
    pub(crate) declared: Declared,
}

/// What a document declares.
#[derive(Clone)]
pub(crate) enum Declared {
    McpServer(Box<McpServerSpec>),
    Toolset(Box<ToolsetSpec>),
    Gateway(GatewaySpec),
    Secret(SecretData),
    ConfigMap(ConfigMapData),
    McpJson(McpJson),
    /// It has errors. Its name still counts, so that references to it are not errors too.
    Broken,
}

impl fmt::Debug for Document {
    /// Only says which document it is: its text may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("file", &self.file)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Document {
    /// Says which resource it declares; none for an `mcp.json`.
    #[must_use]
    pub const fn id(&self) -> Option<&ResourceId> {
        self.id.as_ref()
    }

    /// Gives the place of a field.
    pub(crate) fn origin(&self, path: &FieldPath) -> Origin {
        self.place(self.node.locate(path))
    }

    /// Puts a finding at a field of this document.
    pub(crate) fn put(&self, finding: Finding, path: &FieldPath) -> Finding {
        let finding = finding.at(self.origin(path)).field(path.to_string());
        match &self.id {
            Some(id) => finding.about(id.clone()),
            None => finding,
        }
    }

    fn place(&self, position: Position) -> Origin {
        place(&self.file, position)
    }

    fn told(&self, problem: Problem) -> Finding {
        let mut finding = Finding::new(problem.severity, problem.code, problem.message)
            .at(self.place(problem.position))
            .field(problem.path.to_string());
        finding.help = problem.help;
        finding.resource.clone_from(&self.id);
        finding
    }
}

fn place(file: &Arc<str>, position: Position) -> Origin {
    Origin {
        file: Arc::clone(file),
        line: position.line,
        column: position.column,
    }
}

/// The documents of one text, and everything that is wrong with them.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The documents, in the order of the text, broken ones included.
    pub documents: Vec<Document>,
    /// What is wrong, or worth knowing.
    pub findings: Vec<Finding>,
}

/// Reads every document of a text.
///
/// `file` names the text in findings; `base_dir` is the folder where its relative paths start.
#[must_use]
pub fn parse(file: &str, base_dir: Option<&Path>, text: &str) -> Parsed {
    let mut reader = Reader {
        file: file.into(),
        base_dir: base_dir.map(Path::to_path_buf),
        schemas: BTreeMap::new(),
        parsed: Parsed::default(),
    };
    let (nodes, faults) = yaml::read(text);
    for fault in faults {
        let mut finding =
            Finding::error(fault.code, fault.message).at(place(&reader.file, fault.position));
        finding.help = fault.help;
        reader.parsed.findings.push(finding);
    }
    for node in nodes {
        reader.document(node);
    }
    reader.parsed
}

struct Reader {
    file: Arc<str>,
    base_dir: Option<PathBuf>,
    /// Made once per kind: making one is slow.
    schemas: BTreeMap<Kind, Value>,
    parsed: Parsed,
}

impl Reader {
    fn document(&mut self, node: Node) {
        match &node.content {
            Content::Null => {}
            Content::Map(_) if is_list(&node) => self.list(&node),
            Content::Map(_) if mcp_json::is_one(&node) => self.mcp_json(node),
            Content::Map(_) => match classify(&node) {
                Class::Known(kind) => self.known(node, kind),
                Class::Other { finding, path } => {
                    let origin = place(&self.file, node.locate(&path));
                    self.parsed
                        .findings
                        .push(finding.at(origin).field(path.to_string()));
                }
            },
            Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => {
                let finding = Finding::error(
                    "wrong-type",
                    format!("found {}, expected a resource", node.what()),
                )
                .at(place(&self.file, node.position))
                .help("a resource is a mapping with `apiVersion`, `kind`, `metadata` and `spec`");
                self.parsed.findings.push(finding);
            }
        }
    }

    /// Reads the items of a `v1 List`, the form in which `kubectl get -o yaml` gives several resources.
    fn list(&mut self, node: &Node) {
        for item in node.field("items").map(Node::items).unwrap_or_default() {
            self.document(item.clone());
        }
    }

    fn mcp_json(&mut self, node: Node) {
        let mut document = self.started(node, None);
        let (read, findings) = mcp_json::read(&document.node);
        document.declared = Declared::McpJson(read);
        let findings = findings
            .into_iter()
            .map(|(finding, path)| document.put(finding, &path));
        self.parsed.findings.extend(findings);
        self.parsed.documents.push(document);
    }

    fn known(&mut self, node: Node, kind: Kind) {
        let schema = self.schemas.entry(kind).or_insert_with(|| schema(kind));
        let (value, problems) = conform(&node, schema);
        let mut document = self.started(node, None);
        document.id = id(&document.node, kind);
        let mut findings: Vec<Finding> = problems
            .into_iter()
            .map(|problem| document.told(problem))
            .collect();
        if kind != Kind::Secret {
            literal_findings(&document, &mut findings);
        }
        if !findings.iter().any(Finding::is_error) {
            match declared(kind, value) {
                Some(declared) => document.declared = declared,
                None => findings.push(document.put(
                    Finding::error("unreadable", format!("this {kind} cannot be read")),
                    &FieldPath::default(),
                )),
            }
        }
        self.parsed.findings.extend(findings);
        self.parsed.documents.push(document);
    }

    fn started(&self, node: Node, id: Option<ResourceId>) -> Document {
        Document {
            file: Arc::clone(&self.file),
            base_dir: self.base_dir.clone(),
            id,
            node,
            declared: Declared::Broken,
        }
    }
}

fn literal_findings(document: &Document, findings: &mut Vec<Finding>) {
    for literal in literals(&document.node, &FieldPath::default()) {
        let path = literal.path.to_string();
        if !findings.iter().any(|other| other.path == path) {
            let finding = Finding::error(
                "literal-secret",
                format!("a secret is written in place: {}", literal.reason),
            );
            findings.push(document.put(finding.help(literal.help), &literal.path));
        }
    }
}

/// Makes the Rust value of a document that fits its schema.
fn declared(kind: Kind, mut value: Value) -> Option<Declared> {
    let spec = value.get_mut("spec").map(Value::take);
    Some(match kind {
        Kind::McpServer => Declared::McpServer(Box::new(McpServerSpec::deserialize(spec?).ok()?)),
        Kind::Toolset => Declared::Toolset(Box::new(ToolsetSpec::deserialize(spec?).ok()?)),
        Kind::Gateway => Declared::Gateway(GatewaySpec::deserialize(spec?).ok()?),
        Kind::Secret => Declared::Secret(SecretData::deserialize(without_head(value)).ok()?),
        Kind::ConfigMap => {
            Declared::ConfigMap(ConfigMapData::deserialize(without_head(value)).ok()?)
        }
    })
}

fn without_head(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    value
}

fn id(node: &Node, kind: Kind) -> Option<ResourceId> {
    let metadata = node.field("metadata")?;
    let name = metadata.field("name")?.text()?;
    let namespace = metadata
        .field("namespace")
        .and_then(Node::text)
        .unwrap_or(DEFAULT_NAMESPACE);
    // Only names that may be shown: this identity is part of every finding.
    (name.parse::<crate::Name>().is_ok() && namespace.parse::<crate::Name>().is_ok())
        .then(|| ResourceId::new(kind, namespace, name))
}

fn is_list(node: &Node) -> bool {
    let is = |field: &str, text: &str| node.field(field).and_then(Node::text) == Some(text);
    is("apiVersion", "v1") && is("kind", "List")
}

/// What kind of document this is.
enum Class {
    Known(Kind),
    Other { finding: Finding, path: FieldPath },
}

impl Class {
    fn other(finding: Finding, field: &str) -> Self {
        Self::Other {
            finding,
            path: FieldPath::of(field),
        }
    }
}

fn classify(node: &Node) -> Class {
    let text = |field: &str| {
        node.field(field)
            .and_then(Node::text)
            .filter(|text| !text.is_empty())
    };
    match (text("apiVersion"), text("kind")) {
        (Some(api_version), Some(kind)) => classify_named(api_version, kind),
        (None, Some(kind)) => match Kind::named(kind) {
            Some(kind) => Class::other(
                Finding::error("missing-field", "the field `apiVersion` is missing")
                    .help(format!("write `apiVersion: {}`", kind.api_version())),
                "apiVersion",
            ),
            None => incomplete(node, "apiVersion"),
        },
        (_, None) => incomplete(node, "kind"),
    }
}

/// Tells an unfinished resource, which is an error, from a file that is something else.
fn incomplete(node: &Node, missing: &str) -> Class {
    let resource_like = node
        .entries()
        .iter()
        .any(|entry| nearest(&entry.key, ["apiVersion", "kind", "metadata", "spec"]).is_some());
    if !resource_like {
        let finding = Finding::warning("not-a-resource", "this is not a resource and is ignored")
            .help("a resource has `apiVersion` and `kind`");
        return Class::Other {
            finding,
            path: FieldPath::default(),
        };
    }
    let help = match missing {
        "kind" => format!("kinds: {}", Kind::ALL.map(Kind::as_str).join(", ")),
        _ => format!("write `apiVersion: {API_VERSION}` for kinds of Marque"),
    };
    let misspelled = node
        .entries()
        .iter()
        .find(|entry| nearest(&entry.key, [missing]).is_some());
    if let Some(entry) = misspelled.filter(|entry| entry.key != missing) {
        let finding = Finding::error("unknown-field", format!("unknown field `{}`", entry.key))
            .help(format!("did you mean `{missing}`?"));
        return Class::other(finding, &entry.key);
    }
    Class::other(
        Finding::error("missing-field", format!("the field `{missing}` is missing")).help(help),
        missing,
    )
}

fn classify_named(api_version: &str, kind: &str) -> Class {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let known = Kind::ALL
        .into_iter()
        .find(|one| one.as_str() == kind && one.api_version() == api_version);
    if let Some(known) = known {
        return Class::Known(known);
    }
    if group == GROUP && version == "v1alpha1" {
        return unknown_kind(kind);
    }
    if group == GROUP {
        let message = format!("version `{version}` of `{GROUP}` is not known");
        let finding =
            Finding::error("unknown-api-version", message).help(format!("write `{API_VERSION}`"));
        return Class::other(finding, "apiVersion");
    }
    let meant = Kind::ALL
        .into_iter()
        .find(|one| one.as_str() == kind && is_near(api_version, group, one.api_version()));
    if let Some(meant) = meant {
        let message = format!("`{api_version}` is not the apiVersion of {meant}");
        let help = format!("write `{}`", meant.api_version());
        return Class::other(
            Finding::error("unknown-api-version", message).help(help),
            "apiVersion",
        );
    }
    let message = format!("{api_version} {kind} is not a kind that Marque reads; it is ignored");
    Class::other(Finding::note("foreign-kind", message), "kind")
}

/// Says whether somebody who wrote this apiVersion probably meant that one.
fn is_near(written: &str, group: &str, meant: &str) -> bool {
    let meant_group = meant.rsplit_once('/').map_or("", |(group, _)| group);
    if meant_group.is_empty() {
        return nearest(written, [meant]).is_some() && !written.contains('/');
    }
    group == meant_group
        || strsim::damerau_levenshtein(group, meant_group) <= 2
        || written == meant_group
}

fn unknown_kind(kind: &str) -> Class {
    if Kind::PLANNED.contains(&kind) {
        let finding = Finding::error(
            "unsupported-kind",
            format!("the kind {kind} is not supported yet"),
        )
        .help("remove this document until a version of Marque that serves it");
        return Class::other(finding, "kind");
    }
    let own = Kind::ALL
        .into_iter()
        .filter(|one| one.api_version() == API_VERSION)
        .map(Kind::as_str);
    if let Some(foreign) = Kind::named(kind) {
        let message = format!("`{kind}` is not a kind of `{GROUP}`");
        let help = format!("write `apiVersion: {}`", foreign.api_version());
        return Class::other(
            Finding::error("unknown-api-version", message).help(help),
            "apiVersion",
        );
    }
    let known: Vec<&str> = own.chain(Kind::PLANNED).collect();
    let finding = Finding::error("unknown-kind", format!("`{GROUP}` has no kind `{kind}`"))
        .help(suggest(kind, known, "kind"));
    Class::other(finding, "kind")
}
