//! One server: lifted out of its toolset, its sources joined to their folder and looked up.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Builder, spec_path};
use crate::document::{Declared, Document};
use crate::format::is_header_value;
use crate::node::{Content, FieldPath};
use crate::{
    EnvValue, Finding, InlineServer, McpServerSpec, Remote, ResourceId, Secret, Server, ServerId,
    Stdio, ValueSource,
};

/// How a server was written, which decides the paths of its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Document,
    Inline,
}

/// What a value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Variable,
    Header,
    Certificates,
}

/// One value source of a spec: where it stands, what its value is for, what it is.
pub(super) type Sourced<'s> = (FieldPath, Use, &'s ValueSource);

/// Gives every value source of a spec that stands at a path.
pub(super) fn sources<'s>(
    spec: &'s McpServerSpec,
    path: &FieldPath,
    style: Style,
) -> Vec<Sourced<'s>> {
    let mut found: Vec<Sourced<'s>> = Vec::new();
    for (name, value) in spec.stdio.iter().flat_map(|stdio| &stdio.env) {
        if let EnvValue::From(source) = value {
            found.push((
                stdio_path(path, style).field("env").field(name),
                Use::Variable,
                source,
            ));
        }
    }
    if let Some(source) = spec.auth.as_ref().and_then(|auth| auth.bearer.as_ref()) {
        found.push((path.field("auth").field("bearer"), Use::Header, source));
    }
    for (index, header) in spec.headers.iter().enumerate() {
        if let Some(source) = &header.value_from {
            found.push((
                path.field("headers").index(index).field("valueFrom"),
                Use::Header,
                source,
            ));
        }
    }
    if let Some(source) = spec.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
        found.push((path.field("tls").field("ca"), Use::Certificates, source));
    }
    found
}

fn stdio_path(path: &FieldPath, style: Style) -> FieldPath {
    match style {
        Style::Document => path.field("stdio"),
        Style::Inline => path.clone(),
    }
}

/// Gives the spec of a server declared in a toolset.
pub(super) fn lifted(inline: &InlineServer) -> McpServerSpec {
    let remote = inline.url.clone().map(|url| Remote {
        url,
        transport: inline.transport,
    });
    let stdio = (!inline.command.is_empty()).then(|| Stdio {
        command: inline.command.clone(),
        env: inline.env.clone(),
        pass_env: inline.pass_env.clone(),
        working_directory: inline.working_directory.clone(),
    });
    McpServerSpec {
        remote,
        stdio,
        protocol: inline.protocol,
        auth: inline.auth.clone(),
        headers: inline.headers.clone(),
        timeouts: inline.timeouts.clone(),
        failure_mode: inline.failure_mode,
        isolation: inline.isolation,
        tls: inline.tls.clone(),
    }
}

/// Lets the files of a spec start at the folder of their document.
fn rooted(mut spec: McpServerSpec, base_dir: Option<&Path>) -> McpServerSpec {
    let root = |source: &mut ValueSource| *source = source.clone().at(base_dir);
    for value in spec
        .stdio
        .iter_mut()
        .flat_map(|stdio| stdio.env.values_mut())
    {
        if let EnvValue::From(source) = value {
            root(source);
        }
    }
    spec.auth
        .iter_mut()
        .filter_map(|auth| auth.bearer.as_mut())
        .for_each(root);
    spec.headers
        .iter_mut()
        .filter_map(|header| header.value_from.as_mut())
        .for_each(root);
    spec.tls
        .iter_mut()
        .filter_map(|tls| tls.ca.as_mut())
        .for_each(root);
    spec
}

impl Builder<'_> {
    pub(super) fn servers(&mut self) {
        for (id, document) in self.documents() {
            if let Declared::McpServer(spec) = &document.declared {
                let server = ServerId::declared(&id.namespace, &id.name);
                self.server(
                    server,
                    &id,
                    spec.as_ref().clone(),
                    document,
                    &spec_path(),
                    Style::Document,
                );
            }
        }
    }

    /// Adds a server, after looking at everything its schema cannot say.
    pub(super) fn server(
        &mut self,
        server: ServerId,
        of: &ResourceId,
        spec: McpServerSpec,
        document: &Document,
        path: &FieldPath,
        style: Style,
    ) {
        let spec = rooted(spec, document.base_dir.as_deref());
        self.fields_without_effect(&spec, document, path, style);
        self.command(&spec, document, path, style);
        self.headers(&spec, document, path);
        self.plain_variables(&spec, document, path, style);
        for (at, of_use, source) in sources(&spec, path, style) {
            if let Some(value) = self.value(document, &at, source, &of.namespace) {
                self.usable(&value, of_use, document, &at);
            }
        }
        let namespace = of.namespace.clone();
        let (base_dir, origin) = (document.base_dir.clone(), Some(document.origin(path)));
        self.set.servers.insert(
            server.clone(),
            Server {
                id: server,
                namespace,
                spec,
                base_dir,
                origin,
            },
        );
    }

    /// A field that would silently do nothing is refused: its author expects something of it.
    fn fields_without_effect(
        &mut self,
        spec: &McpServerSpec,
        document: &Document,
        path: &FieldPath,
        style: Style,
    ) {
        let (fields, kind): (&[&str], _) = match (spec.stdio.is_some(), style) {
            (true, Style::Document) => (&["auth", "headers", "tls"], "started as a process"),
            (true, Style::Inline) => (
                &["auth", "headers", "tls", "transport"],
                "started as a process",
            ),
            (false, Style::Document) => (&[], ""),
            (false, Style::Inline) => {
                (&["env", "passEnv", "workingDirectory"], "reached over HTTP")
            }
        };
        for field in fields {
            let at = path.field(field);
            let given = document
                .node
                .at(&at)
                .is_some_and(|node| !matches!(node.content, Content::Null));
            if given {
                let message = format!("`{field}` has no effect on a server that is {kind}");
                self.put(
                    document,
                    &at,
                    Finding::error("field-without-effect", message).help("leave it out"),
                );
            }
        }
    }

    fn command(
        &mut self,
        spec: &McpServerSpec,
        document: &Document,
        path: &FieldPath,
        style: Style,
    ) {
        let Some(stdio) = &spec.stdio else { return };
        let path = stdio_path(path, style).field("command");
        if stdio.command.first().is_some_and(String::is_empty) {
            self.put(
                document,
                &path.index(0),
                Finding::error("empty-text", "the program has no name"),
            );
        }
        for (index, word) in stdio.command.iter().enumerate() {
            if word.contains('\0') {
                let finding =
                    Finding::error("bad-text", "a NUL character cannot be passed to a program");
                self.put(document, &path.index(index), finding);
            }
        }
        let first = stdio
            .command
            .first()
            .map(String::as_str)
            .unwrap_or_default();
        if stdio.command.len() == 1 && first.contains(' ') {
            let finding = Finding::warning(
                "one-word-command",
                "the whole command is one word, so the program's name contains spaces",
            )
            .help("write each word for itself: `[npx, -y, PACKAGE]`");
            self.put(document, &path.index(0), finding);
        }
    }

    fn headers(&mut self, spec: &McpServerSpec, document: &Document, path: &FieldPath) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let bearer = spec.auth.as_ref().is_some_and(|auth| auth.bearer.is_some());
        for (index, header) in spec.headers.iter().enumerate() {
            let at = path.field("headers").index(index).field("name");
            let lower = header.name.to_ascii_lowercase();
            if bearer && lower == "authorization" {
                let finding = Finding::error(
                    "duplicate-header",
                    "`auth.bearer` sends `Authorization` already",
                );
                self.put(document, &at, finding.help("keep one of them"));
            }
            if let Some(first) = seen.insert(lower, index) {
                let message = format!(
                    "the header `{}` is given twice, first in `headers[{first}]`",
                    header.name
                );
                self.put(document, &at, Finding::error("duplicate-header", message));
            }
        }
    }

    /// In a map of variables every text is a value; one that looks like a short source was meant as one.
    fn plain_variables(
        &mut self,
        spec: &McpServerSpec,
        document: &Document,
        path: &FieldPath,
        style: Style,
    ) {
        for (name, value) in spec.stdio.iter().flat_map(|stdio| &stdio.env) {
            let EnvValue::Plain(text) = value else {
                continue;
            };
            let at = stdio_path(path, style).field("env").field(name);
            if let Some(ValueSource::Env(variable)) = ValueSource::from_short(text) {
                let finding = Finding::warning(
                    "literal-source",
                    "the process gets this text as it is, not the variable it names",
                )
                .help(format!(
                    "write `{{env: {variable}}}` to pass the variable on"
                ));
                self.put(document, &at, finding);
            }
            if text.contains('\0') {
                self.put(
                    document,
                    &at,
                    Finding::error("bad-text", "a NUL character cannot be passed to a program"),
                );
            }
        }
    }

    fn usable(&mut self, value: &Secret, of_use: Use, document: &Document, at: &FieldPath) {
        let text = value.expose();
        let finding = match of_use {
            Use::Variable if text.contains('\0') => {
                Finding::error("bad-value", "the value holds a NUL character, which cannot be passed to a program")
            }
            Use::Header if text.is_empty() => Finding::error("bad-value", "the value is empty"),
            Use::Header if !is_header_value(text) => {
                Finding::error("bad-value", "the value cannot be sent in a header: it holds a line break, a control character, or spaces at its edges")
                    .help("a frequent cause is `echo` without `-n` before `base64`")
            }
            Use::Certificates if !text.contains("-----BEGIN CERTIFICATE-----") => {
                Finding::error("bad-value", "the value holds no certificate in PEM")
            }
            Use::Variable | Use::Header | Use::Certificates => return,
        };
        self.put(document, at, finding);
    }
}
