//! Text into nodes: YAML 1.2 (of which JSON is a part), strict and bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::node::{Content, Entry, Node, Position};

mod json;
mod scalar;

/// How large a file may be.
pub const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How many documents a file may hold.
pub const DOCUMENTS_MAX: usize = 1000;
/// How deep lists and mappings may be nested.
pub const DEPTH_MAX: usize = 64;
/// How many values a file may hold, each use of an alias counted in full.
pub const NODES_MAX: usize = 200_000;

/// What is wrong with the text itself.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) position: Position,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    fn new(position: Position, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            position,
            code,
            message: message.into(),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Reads every document of a text. What comes after a fault of syntax is not read.
pub(crate) fn read(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let start = Position { line: 1, column: 1 };
    if text.len() > FILE_BYTES_MAX {
        let message = format!(
            "the file is {} bytes long; at most {FILE_BYTES_MAX} are read",
            text.len()
        );
        return (
            Vec::new(),
            vec![Fault::new(start, "file-too-large", message)],
        );
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = &json::as_yaml(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let result = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(syntax_fault(text, &error)),
        };
        if let Err(fault) = result {
            builder.faults.push(fault);
            break;
        }
    }
    (builder.documents, builder.faults)
}

fn syntax_fault(text: &str, error: &ScanError) -> Fault {
    let position = position(*error.marker());
    let fault = Fault::new(position, "syntax", error.info());
    let line = text
        .lines()
        .nth(position.line.saturating_sub(1) as usize)
        .unwrap_or_default();
    if line.starts_with([' ', '\t']) && line.trim_start_matches(' ').starts_with('\t') {
        return fault.help("indent with spaces; YAML does not allow tabs");
    }
    fault
}

fn position(marker: Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position {
        line: number(marker.line()),
        column: number(marker.col()).saturating_add(1),
    }
}

/// Makes nodes of events, without recursion.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    faults: Vec<Fault>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored>,
    nodes: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    anchor: usize,
    position: Position,
    /// Nodes made before it, to know how many are inside.
    nodes_before: usize,
    /// The deepest nesting inside it.
    height: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    entries: Vec<Entry>,
    /// The key whose value has not come yet.
    key: Option<(String, Position)>,
    /// The value to come belongs to a key that was given before.
    skip_value: bool,
    /// The line of every key so far.
    lines: BTreeMap<String, u32>,
}

struct Anchored {
    node: Node,
    nodes: usize,
    height: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let position = position(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.documents.len() == DOCUMENTS_MAX => Err(Fault::new(
                position,
                "too-many-documents",
                format!("more than {DOCUMENTS_MAX} documents in one file"),
            )),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, position),
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, position)?;
                let content = self.scalar(text, style, tag.as_deref(), position);
                self.finish(Node { position, content }, anchor, 1, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, position, tag.as_deref(), OpenKind::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => self.open(
                anchor,
                position,
                tag.as_deref(),
                OpenKind::Map(OpenMap::default()),
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn count(&mut self, nodes: usize, position: Position) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message =
                format!("more than {NODES_MAX} values in one file, aliases counted in full");
            return Err(Fault::new(position, "too-many-values", message));
        }
        Ok(())
    }

    fn open(
        &mut self,
        anchor: usize,
        position: Position,
        tag: Option<&Tag>,
        kind: OpenKind,
    ) -> Result<(), Fault> {
        if self.open.len() == DEPTH_MAX {
            return Err(Fault::new(
                position,
                "too-deep",
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        self.refuse_tag(tag, position, &["seq", "map"]);
        let nodes_before = self.nodes;
        self.count(1, position)?;
        self.open.push(Open {
            anchor,
            position,
            nodes_before,
            height: 0,
            kind,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let content = match open.kind {
            OpenKind::List(items) => Content::List(items),
            OpenKind::Map(map) => Content::Map(map.entries),
        };
        let node = Node {
            position: open.position,
            content,
        };
        self.finish(
            node,
            open.anchor,
            self.nodes - open.nodes_before,
            open.height + 1,
        )
    }

    fn alias(&mut self, anchor: usize, position: Position) -> Result<(), Fault> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(Fault::new(
                position,
                "syntax",
                "the alias names an anchor that contains it",
            ));
        };
        let (nodes, height) = (anchored.nodes, anchored.height);
        if self.open.len() + height > DEPTH_MAX {
            return Err(Fault::new(
                position,
                "too-deep",
                format!("nested deeper than {DEPTH_MAX} levels"),
            ));
        }
        // Counted before it is copied: this is what stops the "billion laughs".
        let node = anchored.node.clone();
        self.count(nodes, position)?;
        self.place(node, height)
    }

    fn finish(
        &mut self,
        node: Node,
        anchor: usize,
        nodes: usize,
        height: usize,
    ) -> Result<(), Fault> {
        if anchor > 0 {
            self.count(nodes, node.position)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    height,
                },
            );
        }
        self.place(node, height)
    }

    fn place(&mut self, node: Node, height: usize) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.height = open.height.max(height);
        match &mut open.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map(map) => self.faults.extend(map.place(node)?),
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        tag: Option<&Tag>,
        position: Position,
    ) -> Content {
        self.refuse_tag(tag, position, &["str", "int", "float", "bool", "null"]);
        let tagged_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if style != ScalarStyle::Plain || tagged_text {
            return Content::Text(text.into_owned());
        }
        scalar::plain(text)
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, position: Position, known: &[&str]) {
        let Some(tag) = tag else { return };
        // A lone `!` says "not a number": harmless.
        let plain = tag.handle.is_empty() && tag.suffix == "!"
            || tag.handle == "!" && tag.suffix.is_empty();
        let core = tag.is_yaml_core_schema() && known.contains(&tag.suffix.as_str());
        if !plain && !core {
            let fault = Fault::new(position, "unknown-tag", "the YAML tag is not known")
                .help("leave the tag out");
            self.faults.push(fault);
        }
    }
}

impl OpenMap {
    /// Takes the next key or value; gives a fault that does not end the reading.
    fn place(&mut self, node: Node) -> Result<Option<Fault>, Fault> {
        if let Some((key, key_position)) = self.key.take() {
            if !std::mem::take(&mut self.skip_value) {
                self.entries.push(Entry {
                    key,
                    key_position,
                    value: node,
                });
            }
            return Ok(None);
        }
        let position = node.position;
        let Some(text) = key_text(node) else {
            return Err(Fault::new(
                position,
                "bad-key",
                "a list or mapping cannot be a key",
            ));
        };
        let first = self.lines.get(&text).copied();
        self.key = Some((text.clone(), position));
        self.skip_value = first.is_some();
        let Some(line) = first else {
            self.lines.insert(text, position.line);
            return Ok(None);
        };
        let fault = Fault::new(
            position,
            "duplicate-key",
            format!("`{text}` is given twice in this mapping"),
        );
        Ok(Some(fault.help(format!(
            "it is first given in line {line}; keep one of them"
        ))))
    }
}

fn key_text(node: Node) -> Option<String> {
    match node.content {
        Content::Null => Some("null".to_owned()),
        Content::Bool(value) => Some(value.to_string()),
        Content::Number(value) => Some(value.to_string()),
        Content::Text(text) => Some(text),
        Content::List(_) | Content::Map(_) => None,
    }
}

#[cfg(test)]
mod tests;
