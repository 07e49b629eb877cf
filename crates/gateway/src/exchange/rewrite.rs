//! What changes in the messages of one call: the id, the progress token, URIs, task ids, and who asks.

use std::sync::LazyLock;

use bytes::Bytes;
use protocol::json::Step::{Each, Key};
use protocol::json::{Rules, Step, StreamEditor, quote, string};
use protocol::json_rpc::{Id, Message, Shape};
use protocol::mcp::{Method, severity, shown_uri};

use crate::task::Tasks;

const ID: u8 = 0;
const URI: u8 = 1;
const TASK: u8 = 2;
const ASKS: u8 = 3;
const TOKEN: u8 = 4;
const METHOD_ASKS: u8 = 5;
const METHOD: u8 = 6;

/// What changes in the messages of one call.
#[derive(Debug, Clone)]
pub(crate) struct Rewrite {
    /// The server's short name, if its URIs carry it and its questions are marked.
    pub(crate) label: Option<Box<str>>,
    /// The server's short name, for its tasks.
    pub(crate) server: Box<str>,
    /// How the client knows tasks.
    pub(crate) tasks: Tasks,
    /// The client's progress token, raw.
    pub(crate) token: Option<Bytes>,
}

/// The paths of URIs in results and errors (`mcp-requirements` §2.1: read, tool and prompt results, links, apps).
const URIS: [&[Step]; 12] = [
    &[Key("result"), Key("content"), Each, Key("uri")],
    &[
        Key("result"),
        Key("content"),
        Each,
        Key("resource"),
        Key("uri"),
    ],
    &[Key("result"), Key("contents"), Each, Key("uri")],
    &[
        Key("result"),
        Key("messages"),
        Each,
        Key("content"),
        Key("uri"),
    ],
    &[
        Key("result"),
        Key("messages"),
        Each,
        Key("content"),
        Key("resource"),
        Key("uri"),
    ],
    &[Key("result"), Key("_meta"), Key("ui"), Key("resourceUri")],
    &[Key("result"), Key("_meta"), Key("ui/resourceUri")],
    &[
        Key("result"),
        Key("result"),
        Key("content"),
        Each,
        Key("uri"),
    ],
    &[
        Key("result"),
        Key("result"),
        Key("content"),
        Each,
        Key("resource"),
        Key("uri"),
    ],
    &[
        Key("result"),
        Key("result"),
        Key("_meta"),
        Key("ui"),
        Key("resourceUri"),
    ],
    &[
        Key("result"),
        Key("result"),
        Key("_meta"),
        Key("ui/resourceUri"),
    ],
    &[Key("error"), Key("data"), Key("uri")],
];
const TASK_ID: [Step; 2] = [Key("result"), Key("taskId")];
const INPUT_MESSAGE: [Step; 5] = [
    Key("result"),
    Key("inputRequests"),
    Each,
    Key("params"),
    Key("message"),
];

static PLAIN: LazyLock<Rules> = LazyLock::new(|| {
    Rules::builder()
        .path(&[Key("id")], ID)
        .path(&[Key("method")], METHOD)
        .path(&TASK_ID, TASK)
        .build()
});
/// As [`PLAIN`], where no task can be meant: what is in the result need not be looked at.
static ENVELOPE: LazyLock<Rules> = LazyLock::new(|| {
    Rules::builder()
        .path(&[Key("id")], ID)
        .path(&[Key("method")], METHOD)
        .build()
});
static LABELLED: LazyLock<Rules> = LazyLock::new(|| {
    let builder = Rules::builder()
        .path(&[Key("id")], ID)
        .path(&[Key("method")], METHOD)
        .path(&TASK_ID, TASK)
        .path(&INPUT_MESSAGE, ASKS);
    URIS.iter()
        .fold(builder, |builder, path| builder.path(path, URI))
        .build()
});
static PROGRESS: LazyLock<Rules> = LazyLock::new(|| {
    Rules::builder()
        .path(&[Key("params"), Key("progressToken")], TOKEN)
        .build()
});
static QUESTION: LazyLock<Rules> = LazyLock::new(|| {
    Rules::builder()
        .path(&[Key("params"), Key("message")], METHOD_ASKS)
        .build()
});

/// Our number for the call, and the client's id.
pub(crate) type Ids<'a> = Option<(u64, &'a [u8])>;

impl Rewrite {
    pub(super) fn rules(&self) -> &'static Rules {
        if self.label.is_some() {
            &LABELLED
        } else {
            &PLAIN
        }
    }

    /// The rules for a long answer, which passes in pieces. One that tells of a task is short, but for the task's own state.
    pub(super) fn rules_for_pieces(&self, method: Method) -> &'static Rules {
        match method {
            Method::TasksGet => self.rules(),
            _ if self.label.is_some() => &LABELLED,
            _ => &ENVELOPE,
        }
    }

    /// A checked answer as the client gets it.
    ///
    /// # Errors
    /// As [`Self::whole`].
    pub(crate) fn answer(&self, message: &Message, number: u64, id: &Id) -> Result<Bytes, String> {
        // With nothing but the id to change, its place is known already.
        let tells_of_task = || memchr::memmem::find(&message.bytes, b"\"taskId\"").is_some();
        match (&self.label, message.id_span()) {
            (None, Some(span)) if !tells_of_task() => {
                Ok(applied(&message.bytes, vec![(span, id.raw().to_vec())]))
            }
            _ => self.whole(&message.bytes, Some((number, id.raw()))),
        }
    }

    /// The whole of an answer as the client gets it.
    ///
    /// # Errors
    /// When it is not JSON, or not the answer to this call.
    pub(crate) fn whole(&self, bytes: &[u8], ids: Ids<'_>) -> Result<Bytes, String> {
        let (mut seen, mut foreign) = (false, false);
        let mut editor = StreamEditor::new(self.rules());
        let edits = editor
            .feed(bytes, |slot, raw| {
                self.edit(slot, raw, ids, &mut seen, &mut foreign)
            })
            .map_err(|error| error.to_string())?;
        editor.finish().map_err(|error| error.to_string())?;
        if foreign || (ids.is_some() && !seen) {
            return Err("the answer has no id, or a foreign one".to_owned());
        }
        Ok(applied(bytes, edits))
    }

    /// The replacement of one scalar.
    pub(super) fn edit(
        &self,
        slot: u8,
        raw: &[u8],
        ids: Ids<'_>,
        seen: &mut bool,
        foreign: &mut bool,
    ) -> Option<Vec<u8>> {
        match (slot, &self.label) {
            (ID, _) => {
                let (number, id) = ids?;
                *foreign |= *seen || raw != number.to_string().as_bytes();
                *seen = true;
                Some(id.to_vec())
            }
            (METHOD, _) => {
                // What has a method asks; it cannot be an answer.
                *foreign |= ids.is_some();
                None
            }
            (URI, Some(label)) => {
                let uri = string(std::str::from_utf8(raw).ok()?)?;
                Some(quote(&shown_uri(label, &uri)).into_bytes())
            }
            (TASK, _) => {
                let task = string(std::str::from_utf8(raw).ok()?)?;
                Some(quote(&self.tasks.shown(&self.server, &task)).into_bytes())
            }
            (ASKS | METHOD_ASKS, Some(label)) => {
                let text = string(std::str::from_utf8(raw).ok()?)?;
                Some(quote(&format!("[{label}] {text}")).into_bytes())
            }
            _ => None,
        }
    }

    /// Progress with the client's own token, or `None` when the client asked for none.
    pub(crate) fn progress(&self, bytes: &Bytes, number: u64) -> Option<Bytes> {
        let token = self.token.as_ref()?;
        let mut own = false;
        let mut editor = StreamEditor::new(&PROGRESS);
        let edits = editor
            .feed(bytes, |_, raw| {
                own = raw == number.to_string().as_bytes();
                Some(token.to_vec())
            })
            .ok()?;
        own.then(|| applied(bytes, edits))
    }

    /// A question as the client gets it: with several servers, it must be clear which one asks (client/elicitation, "Security").
    pub(crate) fn question(&self, bytes: &Bytes) -> Bytes {
        let mut editor = StreamEditor::new(&QUESTION);
        let (mut seen, mut foreign) = (false, false);
        let edits = editor.feed(bytes, |slot, raw| {
            self.edit(slot, raw, None, &mut seen, &mut foreign)
        });
        edits.map_or_else(|_| bytes.clone(), |edits| applied(bytes, edits))
    }

    /// Whether a modern client asked for this log message (server/utilities/logging: only at or above its level).
    #[expect(clippy::unused_self, reason = "a rule of this room")]
    pub(crate) fn wanted_log(&self, message: &Message, lowest: Option<u8>) -> bool {
        let Some(lowest) = lowest else { return false };
        let level = protocol::json::members(message.body())
            .ok()
            .and_then(|found| {
                found
                    .iter()
                    .find(|member| member.key == "level")
                    .and_then(|member| string(member.value).map(|text| severity(&text)))
            });
        level.flatten().is_some_and(|level| level >= lowest)
    }
}

/// A result without its kind, which only older servers leave out, is complete (MCP 2026-07-28, basic/index, "Responses").
pub(super) fn with_result_type(bytes: Bytes) -> Bytes {
    if memchr::memmem::find(&bytes, b"\"resultType\"").is_some() {
        return bytes;
    }
    let Ok(message) = Message::parse(bytes.clone()) else {
        return bytes;
    };
    let is_object = message.body().starts_with('{');
    match (&message.shape, message.body_span()) {
        (Shape::Result(_), Some(span)) if is_object => {
            let is_empty = message.body()[1..].trim_start() == "}";
            let kind = if is_empty {
                "\"resultType\":\"complete\""
            } else {
                ",\"resultType\":\"complete\""
            };
            applied(&bytes, vec![(span.end - 1..span.end - 1, kind.into())])
        }
        _ => bytes,
    }
}

fn applied(bytes: &[u8], edits: Vec<protocol::json::Edit>) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut at = 0;
    for (span, with) in edits {
        out.extend_from_slice(&bytes[at..span.start]);
        out.extend_from_slice(&with);
        at = span.end;
    }
    out.extend_from_slice(&bytes[at..]);
    out.into()
}
