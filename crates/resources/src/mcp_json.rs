//! The `mcp.json` that editors and desktop hosts write: `{"mcpServers": {KEY: {command, args, env, cwd} | {url, headers, type}}}`.
//!
//! It is a foreign format: unknown fields are warnings, secrets may be written in place with a warning,
//! and `${VAR}` and `${VAR:-default}` are filled in. Visual Studio Code's `{"servers": …}` means the same.

use std::collections::BTreeMap;

use crate::format;
use crate::literal::{is_secret_header, is_secret_variable, text_reason};
use crate::nearest::suggest;
use crate::node::{Content, FieldPath, Node};
use crate::value::is_variable;
use crate::{Finding, Name, RemoteTransport};

mod fill;

/// What an `mcp.json` declares, variables not yet filled in.
#[derive(Clone, Default)]
pub(crate) struct McpJson {
    pub(crate) entries: Vec<Entry>,
}

/// One server of it.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The key made safe for names of tools.
    pub(crate) key: String,
    /// The key made a name.
    pub(crate) name: Name,
    pub(crate) path: FieldPath,
    how: How,
}

#[derive(Clone)]
enum How {
    Command {
        words: Vec<Text>,
        env: BTreeMap<String, Text>,
        cwd: Option<Text>,
    },
    Url {
        url: Text,
        transport: RemoteTransport,
        headers: Vec<(String, Text)>,
    },
}

/// A text in which variables may stand.
#[derive(Clone)]
struct Text {
    path: FieldPath,
    pieces: Vec<Piece>,
}

#[derive(Clone)]
enum Piece {
    Plain(String),
    Variable {
        name: String,
        default: Option<String>,
    },
}

const FIELDS: [&str; 7] = ["command", "args", "env", "cwd", "url", "headers", "type"];

/// Says whether a document is an `mcp.json`.
pub(crate) fn is_one(node: &Node) -> bool {
    node.field("apiVersion").is_none() && node.field("kind").is_none() && servers(node).is_some()
}

fn servers(node: &Node) -> Option<(&'static str, &Node)> {
    ["mcpServers", "servers"].into_iter().find_map(|name| {
        let servers = node.field(name)?;
        let of_servers = |node: &Node| {
            node.entries().iter().all(|entry| {
                ["command", "url"]
                    .iter()
                    .any(|field| entry.value.field(field).is_some())
            })
        };
        // `servers` alone is a common word: only what looks like servers counts.
        (name == "mcpServers" || !servers.entries().is_empty() && of_servers(servers))
            .then_some((name, servers))
    })
}

/// What is wrong, each with the field that it is about.
pub(crate) type Findings = Vec<(Finding, FieldPath)>;

/// Reads an `mcp.json`.
pub(crate) fn read(node: &Node) -> (McpJson, Findings) {
    let mut reader = Reader::default();
    let mut read = McpJson::default();
    if let Some((field, servers)) = servers(node) {
        let path = FieldPath::of(field);
        if !matches!(servers.content, Content::Map(_) | Content::Null) {
            reader.error(
                "wrong-type",
                format!("found {}, expected a mapping of servers", servers.what()),
                &path,
            );
        }
        for entry in servers.entries() {
            read.entries
                .extend(reader.server(&entry.key, &entry.value, &path.field(&entry.key)));
        }
    }
    (read, reader.findings)
}

#[derive(Default)]
struct Reader {
    findings: Findings,
}

impl Reader {
    fn error(&mut self, code: &'static str, message: impl Into<String>, path: &FieldPath) {
        self.put(Finding::error(code, message), path);
    }

    fn put(&mut self, finding: Finding, path: &FieldPath) {
        self.findings.push((finding, path.clone()));
    }

    fn server(&mut self, key: &str, node: &Node, path: &FieldPath) -> Option<Entry> {
        if matches!(
            node.field("disabled").map(|node| &node.content),
            Some(Content::Bool(true))
        ) {
            self.put(
                Finding::note("disabled", "the server is disabled and not served"),
                path,
            );
            return None;
        }
        let Some(name) = Name::closest(key) else {
            let finding = Finding::error("bad-name", "no name can be made of this key");
            self.put(finding.help("use letters and digits"), path);
            return None;
        };
        self.unknown_fields(node, path);
        let how = match (node.field("command"), node.field("url")) {
            (Some(command), None) => self.command(command, node, path)?,
            (None, Some(url)) => self.url(url, node, path)?,
            (Some(_), Some(_)) => {
                self.error(
                    "exactly-one-of",
                    "exactly one of `command`, `url` is needed; both are given",
                    path,
                );
                return None;
            }
            (None, None) => {
                self.error(
                    "exactly-one-of",
                    "exactly one of `command`, `url` is needed; none of them is given",
                    path,
                );
                return None;
            }
        };
        Some(Entry {
            key: safe_key(key),
            name,
            path: path.clone(),
            how,
        })
    }

    fn unknown_fields(&mut self, node: &Node, path: &FieldPath) {
        for entry in node.entries() {
            if !FIELDS.contains(&entry.key.as_str()) && entry.key != "disabled" {
                let finding = Finding::warning(
                    "unknown-field",
                    format!("the field `{}` is ignored", entry.key),
                )
                .help(suggest(&entry.key, FIELDS, "field"));
                self.put(finding, &path.field(&entry.key));
            }
        }
    }

    fn command(&mut self, command: &Node, node: &Node, path: &FieldPath) -> Option<How> {
        let mut words = vec![self.text(command, &path.field("command"))?];
        let args = node.field("args");
        if args.is_some_and(|args| !matches!(args.content, Content::List(_))) {
            self.error(
                "wrong-type",
                "expected a list of texts",
                &path.field("args"),
            );
        }
        for (index, arg) in args.map(Node::items).unwrap_or_default().iter().enumerate() {
            words.extend(self.text(arg, &path.field("args").index(index)));
        }
        let mut env = BTreeMap::new();
        for (name, value) in self.texts(node, "env", path) {
            if !is_variable(&name) {
                self.error(
                    "bad-variable",
                    "not the name of an environment variable",
                    &value.path,
                );
            }
            self.warn_of_literal(&value, is_secret_variable(&name));
            env.insert(name, value);
        }
        let cwd = node
            .field("cwd")
            .and_then(|cwd| self.text(cwd, &path.field("cwd")));
        Some(How::Command { words, env, cwd })
    }

    fn url(&mut self, url: &Node, node: &Node, path: &FieldPath) -> Option<How> {
        let url = self.text(url, &path.field("url"))?;
        self.warn_of_literal(&url, false);
        self.warn_of_visible(&url);
        let transport = match node.field("type").and_then(Node::text) {
            Some("sse") => RemoteTransport::SSE,
            None | Some("http" | "streamable-http" | "streamableHttp" | "streamable_http") => {
                RemoteTransport::StreamableHTTP
            }
            Some(other) => {
                let message = if format::may_be_shown(other) {
                    format!("`{other}` is not a type for a `url`")
                } else {
                    "not a type for a `url`".to_owned()
                };
                let finding = Finding::error("unknown-value", message).help("known: `http`, `sse`");
                self.put(finding, &path.field("type"));
                return None;
            }
        };
        let headers = self.texts(node, "headers", path);
        for (name, value) in &headers {
            if let Err(refusal) = format::check("marque-header", name) {
                self.put(
                    Finding::error(refusal.code, refusal.message).help(refusal.help),
                    &value.path,
                );
            }
            self.warn_of_literal(value, is_secret_header(name));
        }
        Some(How::Url {
            url,
            transport,
            headers,
        })
    }

    fn texts(&mut self, node: &Node, field: &str, path: &FieldPath) -> Vec<(String, Text)> {
        let path = path.field(field);
        let Some(map) = node.field(field) else {
            return Vec::new();
        };
        if !matches!(map.content, Content::Map(_) | Content::Null) {
            self.error(
                "wrong-type",
                format!("found {}, expected a mapping of texts", map.what()),
                &path,
            );
        }
        let entries = map.entries().iter();
        entries
            .filter_map(|entry| {
                Some((
                    entry.key.clone(),
                    self.text(&entry.value, &path.field(&entry.key))?,
                ))
            })
            .collect()
    }

    fn text(&mut self, node: &Node, path: &FieldPath) -> Option<Text> {
        let text = match &node.content {
            Content::Text(text) => text.clone(),
            // Hosts pass these on as text; so does Marque.
            Content::Number(number) => number.to_string(),
            Content::Bool(value) => value.to_string(),
            Content::Null | Content::List(_) | Content::Map(_) => {
                self.error(
                    "wrong-type",
                    format!("found {}, expected a text", node.what()),
                    path,
                );
                return None;
            }
        };
        match pieces(&text) {
            Ok(pieces) => Some(Text {
                path: path.clone(),
                pieces,
            }),
            Err(placeholder) => {
                let finding = Finding::error(
                    "unknown-placeholder",
                    format!("`${{{placeholder}}}` cannot be filled in"),
                );
                self.put(
                    finding.help(
                        "write `${VAR}` or `${VAR:-default}` for a variable of the environment",
                    ),
                    path,
                );
                None
            }
        }
    }

    /// A URL is shown in logs and findings, and so is what is filled into it.
    fn warn_of_visible(&mut self, url: &Text) {
        let secret = url.pieces.iter().find_map(|piece| match piece {
            Piece::Variable { name, .. } if is_secret_variable(name) => Some(name),
            Piece::Plain(_) | Piece::Variable { .. } => None,
        });
        if let Some(name) = secret {
            let finding = Finding::warning(
                "secret-in-url",
                format!("the value of `{name}` becomes part of a URL, which is not kept secret"),
            );
            self.put(
                finding.help("send it in a header if the server allows it"),
                &url.path,
            );
        }
    }

    fn warn_of_literal(&mut self, text: &Text, named_like_secret: bool) {
        let plain = text.pieces.iter().filter_map(|piece| match piece {
            Piece::Plain(plain) => Some(plain.as_str()),
            Piece::Variable { .. } => None,
        });
        let filled_in = text
            .pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Variable { .. }));
        let found = plain
            .filter(|plain| !plain.is_empty())
            .any(|plain| text_reason(plain).is_some());
        if found || named_like_secret && !filled_in && !text.pieces.is_empty() {
            let finding =
                Finding::warning("literal-secret", "a secret seems to be written in place");
            self.put(
                finding.help("write `${VAR}` and set VAR in the environment"),
                &text.path,
            );
        }
    }
}

/// Makes a key safe for names of tools.
fn safe_key(key: &str) -> String {
    key.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// Cuts a text at its variables; gives the placeholder that is none.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inside, after)) = after.split_once('}') else {
            break;
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (inside, None),
        };
        let name = name.strip_prefix("env:").unwrap_or(name);
        if !is_variable(name) {
            return Err(if format::may_be_shown(inside) {
                inside.to_owned()
            } else {
                "…".to_owned()
            });
        }
        if !before.is_empty() {
            pieces.push(Piece::Plain(before.to_owned()));
        }
        pieces.push(Piece::Variable {
            name: name.to_owned(),
            default,
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Plain(rest.to_owned()));
    }
    Ok(pieces)
}
