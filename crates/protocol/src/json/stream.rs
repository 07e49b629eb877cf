//! Edit scalars at known paths of a JSON text that arrives in pieces.
//!
//! A tool result may be many mebibytes; only its `id` and a few URIs change.
//! The editor walks the text once, remembers nothing but its position, and names the spans to replace.

use std::ops::Range;

use memchr::memchr2;

use super::DEPTH_MAX;

/// The longest scalar at an edited path, in bytes. Longer ones are an error.
const CAPTURE_BYTES_MAX: usize = 64 * 1024;
/// The longest key that is compared with the rules; longer keys match nothing.
const KEY_BYTES_MAX: usize = 128;
const NOWHERE: u16 = u16::MAX;

/// One step of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The member with this key.
    Key(&'static str),
    /// Every element of an array, or every member of an object.
    Each,
}

/// Paths to edit, compiled once.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    keys: Vec<(&'static str, u16)>,
    each: Option<u16>,
    slot: Option<u8>,
}

/// Builds [`Rules`].
#[derive(Debug)]
pub struct RulesBuilder {
    rules: Rules,
}

impl Rules {
    /// Starts an empty set of paths.
    #[must_use]
    pub fn builder() -> RulesBuilder {
        RulesBuilder {
            rules: Self {
                nodes: vec![Node::default()],
            },
        }
    }

    fn child(&self, node: u16, key: &[u8]) -> u16 {
        let Some(node) = self.nodes.get(usize::from(node)) else {
            return NOWHERE;
        };
        let by_key = node
            .keys
            .iter()
            .find(|(name, _)| name.as_bytes() == key)
            .map(|(_, next)| *next);
        by_key.or(node.each).unwrap_or(NOWHERE)
    }

    fn element(&self, node: u16) -> u16 {
        self.nodes
            .get(usize::from(node))
            .and_then(|node| node.each)
            .unwrap_or(NOWHERE)
    }

    fn slot(&self, node: u16) -> Option<u8> {
        self.nodes.get(usize::from(node)).and_then(|node| node.slot)
    }
}

impl RulesBuilder {
    /// Hands scalars at `path` to the edit function under the number `slot`.
    ///
    /// # Panics
    /// When there are 65,535 nodes; rules are written by us.
    #[must_use]
    pub fn path(mut self, path: &[Step], slot: u8) -> Self {
        let mut at = 0_u16;
        for step in path {
            let fresh = u16::try_from(self.rules.nodes.len()).expect("rules are few");
            let node = &mut self.rules.nodes[usize::from(at)];
            let known = match step {
                Step::Key(key) => node
                    .keys
                    .iter()
                    .find(|(name, _)| name == key)
                    .map(|(_, next)| *next),
                Step::Each => node.each,
            };
            at = known.unwrap_or(fresh);
            if known.is_none() {
                match step {
                    Step::Key(key) => node.keys.push((key, fresh)),
                    Step::Each => node.each = Some(fresh),
                }
                self.rules.nodes.push(Node::default());
            }
        }
        self.rules.nodes[usize::from(at)].slot = Some(slot);
        self
    }

    /// The finished rules.
    #[must_use]
    pub fn build(self) -> Rules {
        self.rules
    }
}

/// A replacement in the piece that was fed last.
pub type Edit = (Range<usize>, Vec<u8>);

/// Why a text is not the JSON it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Syntax {
    /// A byte that cannot stand where it stands.
    #[error("unexpected byte in JSON text")]
    Unexpected,
    /// Deeper than [`DEPTH_MAX`].
    #[error("JSON text is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A scalar at an edited path is longer than this editor keeps.
    #[error("a value at an edited path is longer than {CAPTURE_BYTES_MAX} bytes")]
    TooLong,
    /// The text ended too early.
    #[error("JSON text ended early")]
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    InKey { escaped: bool },
    InString { escaped: bool },
    InScalar,
    Done,
}

/// Walks one JSON text piece by piece and names the spans to replace.
#[derive(Debug)]
pub struct StreamEditor<'r> {
    rules: &'r Rules,
    state: State,
    /// One entry per open container: its node, and whether it is an object.
    open: Vec<(u16, bool)>,
    /// The node of the value that comes next or is being read.
    node: u16,
    key: Vec<u8>,
    /// The scalar being captured: its slot and what earlier pieces held of it.
    capture: Option<(u8, Vec<u8>)>,
    capture_from: usize,
}

impl<'r> StreamEditor<'r> {
    /// An editor at the start of a text.
    #[must_use]
    pub fn new(rules: &'r Rules) -> Self {
        Self {
            rules,
            state: State::Value,
            open: Vec::new(),
            node: 0,
            key: Vec::new(),
            capture: None,
            capture_from: 0,
        }
    }

    /// Reads the next piece and returns what to replace in it, in order.
    ///
    /// `edit` gets the slot and the raw scalar (quotes included) and returns the raw replacement, or `None` to keep it.
    ///
    /// # Errors
    /// When the text is not JSON; the editor is of no further use then.
    pub fn feed(
        &mut self,
        piece: &[u8],
        mut edit: impl FnMut(u8, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<Vec<Edit>, Syntax> {
        let mut edits = Vec::new();
        let mut at = 0;
        self.capture_from = 0;
        while at < piece.len() {
            at = match self.state {
                State::InString { escaped } => {
                    self.string(piece, at, escaped, &mut edits, &mut edit)?
                }
                State::InKey { escaped } => self.key(piece, at, escaped)?,
                State::InScalar => self.scalar(piece, at, &mut edits, &mut edit)?,
                _ => self.structure(piece[at], at)?,
            };
        }
        self.hold_back(piece, &mut edits)?;
        Ok(edits)
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`Syntax::Ended`] when it is not complete.
    pub fn finish(&self) -> Result<(), Syntax> {
        if self.state == State::Done {
            Ok(())
        } else {
            Err(Syntax::Ended)
        }
    }

    fn structure(&mut self, byte: u8, at: usize) -> Result<usize, Syntax> {
        let next = at + 1;
        match (self.state, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Value | State::ValueOrEnd, b'{') => self.enter(true)?,
            (State::Value | State::ValueOrEnd, b'[') => self.enter(false)?,
            (State::Value | State::ValueOrEnd, b'"') => {
                self.begin_capture(at);
                self.state = State::InString { escaped: false };
            }
            (State::Value | State::ValueOrEnd, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.begin_capture(at);
                self.state = State::InScalar;
            }
            (State::Key | State::KeyOrEnd, b'"') => {
                self.key.clear();
                self.state = State::InKey { escaped: false };
            }
            (State::KeyOrEnd, b'}') | (State::ValueOrEnd, b']') => self.leave(),
            (State::Colon, b':') => self.state = State::Value,
            (State::CommaOrEnd, b',') => self.next_in_container(),
            (State::CommaOrEnd, b'}') if self.in_object() => self.leave(),
            (State::CommaOrEnd, b']') if !self.in_object() => self.leave(),
            _ => return Err(Syntax::Unexpected),
        }
        Ok(next)
    }

    fn in_object(&self) -> bool {
        self.open.last().is_some_and(|(_, object)| *object)
    }

    fn enter(&mut self, object: bool) -> Result<(), Syntax> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Syntax::TooDeep);
        }
        self.open.push((self.node, object));
        if object {
            self.state = State::KeyOrEnd;
        } else {
            self.node = self.rules.element(self.node);
            self.state = State::ValueOrEnd;
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.open.pop();
        self.value_ended();
    }

    fn value_ended(&mut self) {
        self.state = if self.open.is_empty() {
            State::Done
        } else {
            State::CommaOrEnd
        };
    }

    fn next_in_container(&mut self) {
        match self.open.last() {
            Some((_, true)) => self.state = State::Key,
            Some((node, false)) => {
                self.node = self.rules.element(*node);
                self.state = State::Value;
            }
            None => self.state = State::Done,
        }
    }

    fn begin_capture(&mut self, at: usize) {
        if let Some(slot) = self.rules.slot(self.node) {
            self.capture = Some((slot, Vec::new()));
            self.capture_from = at;
        }
    }

    fn key(&mut self, piece: &[u8], at: usize, escaped: bool) -> Result<usize, Syntax> {
        let (end, done, pending) = string_end(piece, at, escaped);
        let part = &piece[at..if done { end - 1 } else { end }];
        let room = KEY_BYTES_MAX.saturating_sub(self.key.len());
        self.key.extend_from_slice(&part[..part.len().min(room)]);
        self.state = State::InKey { escaped: pending };
        if done {
            let Some((node, _)) = self.open.last() else {
                return Err(Syntax::Unexpected);
            };
            // An escaped key is the same key: a reader decodes it.
            if *node != NOWHERE && self.key.contains(&b'\\') {
                self.key = decoded(&self.key).ok_or(Syntax::Unexpected)?;
            }
            self.node = if *node == NOWHERE {
                NOWHERE
            } else {
                self.rules.child(*node, &self.key)
            };
            self.state = State::Colon;
        }
        Ok(end)
    }

    fn string(
        &mut self,
        piece: &[u8],
        at: usize,
        escaped: bool,
        edits: &mut Vec<Edit>,
        edit: &mut impl FnMut(u8, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<usize, Syntax> {
        let (end, done, pending) = string_end(piece, at, escaped);
        self.state = State::InString { escaped: pending };
        if done {
            self.end_capture(piece, end, edits, edit)?;
            self.value_ended();
        }
        Ok(end)
    }

    fn scalar(
        &mut self,
        piece: &[u8],
        at: usize,
        edits: &mut Vec<Edit>,
        edit: &mut impl FnMut(u8, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<usize, Syntax> {
        let rest = &piece[at..];
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'E' | b'.' | b'-' | b'+'))
            .unwrap_or(rest.len());
        let end = at + length;
        if length < rest.len() {
            self.end_capture(piece, end, edits, edit)?;
            self.value_ended();
        }
        Ok(end)
    }

    fn end_capture(
        &mut self,
        piece: &[u8],
        end: usize,
        edits: &mut Vec<Edit>,
        edit: &mut impl FnMut(u8, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<(), Syntax> {
        let Some((slot, mut held)) = self.capture.take() else {
            return Ok(());
        };
        let span = self.capture_from..end;
        if held.is_empty() {
            if span.len() > CAPTURE_BYTES_MAX {
                return Err(Syntax::TooLong);
            }
            if let Some(with) = edit(slot, &piece[span.clone()]) {
                edits.push((span, with));
            }
            return Ok(());
        }
        if held.len() + span.len() > CAPTURE_BYTES_MAX {
            return Err(Syntax::TooLong);
        }
        held.extend_from_slice(&piece[span.clone()]);
        let with = edit(slot, &held).unwrap_or(held);
        edits.push((span, with));
        Ok(())
    }

    /// Keeps an unfinished captured scalar back until its end is known.
    fn hold_back(&mut self, piece: &[u8], edits: &mut Vec<Edit>) -> Result<(), Syntax> {
        let Some((_, held)) = &mut self.capture else {
            return Ok(());
        };
        let span = self.capture_from..piece.len();
        if held.len() + span.len() > CAPTURE_BYTES_MAX {
            return Err(Syntax::TooLong);
        }
        held.extend_from_slice(&piece[span.clone()]);
        edits.push((span, Vec::new()));
        Ok(())
    }
}

/// A key without its escapes; keys cut at [`KEY_BYTES_MAX`] match nothing and may end in half an escape.
fn decoded(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() >= KEY_BYTES_MAX {
        return Some(key.to_vec());
    }
    let text = [b"\"", key, b"\""].concat();
    serde_json::from_slice::<String>(&text)
        .ok()
        .map(String::into_bytes)
}

/// Walks a string's content from `at`: the index after what was read, whether its closing quote was read,
/// and whether the piece ended on a backslash.
fn string_end(piece: &[u8], mut at: usize, mut escaped: bool) -> (usize, bool, bool) {
    if escaped {
        at += 1;
        escaped = false;
    }
    while at < piece.len() {
        let Some(found) = memchr2(b'"', b'\\', &piece[at..]) else {
            return (piece.len(), false, false);
        };
        at += found + 1;
        if piece[at - 1] == b'"' {
            return (at, true, false);
        }
        if at == piece.len() {
            return (at, false, true);
        }
        at += 1;
    }
    (at.min(piece.len()), false, escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: [Step; 4] = [
        Step::Key("result"),
        Step::Key("content"),
        Step::Each,
        Step::Key("uri"),
    ];

    fn rules() -> Rules {
        Rules::builder()
            .path(&[Step::Key("id")], 0)
            .path(&URI, 1)
            .build()
    }

    /// Feeds `text` in pieces of `size` bytes and returns the edited text.
    fn edited(text: &str, size: usize) -> Result<String, Syntax> {
        let rules = rules();
        let mut editor = StreamEditor::new(&rules);
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            let edits = editor.feed(piece, |slot, raw| {
                (slot == 0 || raw != b"\"keep\"")
                    .then(|| format!("<{slot}:{}>", String::from_utf8_lossy(raw)).into())
            })?;
            let mut at = 0;
            for (span, with) in edits {
                out.extend_from_slice(&piece[at..span.start]);
                out.extend_from_slice(&with);
                at = span.end;
            }
            out.extend_from_slice(&piece[at..]);
        }
        editor.finish()?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn check(text: &str, expected: &str) {
        for size in 1..=text.len() {
            assert_eq!(
                edited(text, size).as_deref(),
                Ok(expected),
                "pieces of {size}"
            );
        }
    }

    #[test]
    fn edits_only_named_paths_whatever_the_pieces() {
        check(
            r#"{"jsonrpc" : "2.0","id":12, "result":{"uri":"x","content":[{"uri":"a\"b"},{"uri":"keep"},{"uri":{"uri":1}}],"n":1.50}}"#,
            r#"{"jsonrpc" : "2.0","id":<0:12>, "result":{"uri":"x","content":[{"uri":<1:"a\"b">},{"uri":"keep"},{"uri":{"uri":1}}],"n":1.50}}"#,
        );
        check(
            r#"{"id":"a\\","x":[[],{},"\\\"",true,null,-1e+5]}"#,
            r#"{"id":<0:"a\\">,"x":[[],{},"\\\"",true,null,-1e+5]}"#,
        );
    }

    #[test]
    fn an_escaped_key_is_the_same_key() {
        check(
            r#"{"\u0069d":1,"result":{}}"#,
            r#"{"\u0069d":<0:1>,"result":{}}"#,
        );
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "{",
            "{]",
            "[1,]x",
            "{\"a\":1,}",
            "nope nope",
            "{\"a\" 1}",
            "{}{}",
            "]",
            "",
            "\"abc",
        ] {
            for size in 1..=text.len().max(1) {
                assert!(edited(text, size).is_err(), "{text:?} in pieces of {size}");
            }
        }
        assert_eq!(edited(&"[".repeat(DEPTH_MAX + 1), 7), Err(Syntax::TooDeep));
    }
}
