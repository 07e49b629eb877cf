//! Replies as event streams.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use protocol::mcp::Version;
use protocol::{json_rpc, sse};
use tokio::sync::watch;
use transport::body::{Body, BodyError};

use crate::reply::Messages;
use crate::session::{Event, EventIds, Heard, Numbered, Reader, Session};
use crate::table::{Epochs, Toolset};

/// A comment is sent when nothing else was for this long.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client waits before it comes back for a stream that broke, in milliseconds.
const RETRY_MS: u64 = 1000;
/// Events that are ready are sent together up to this size, in bytes.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// Messages as an event stream that says it lives.
pub(super) fn body(messages: Messages) -> Body {
    Body::stream(encoded(messages))
}

/// As [`body`], to be put behind other events.
pub(super) fn encoded(messages: Messages) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    stream::unfold(messages, |mut messages| async move {
        let piece: Result<Bytes, BodyError> =
            match tokio::time::timeout(KEEP_ALIVE, messages.next()).await {
                Err(_) => Ok(Bytes::from_static(sse::KEEP_ALIVE)),
                Ok(None) => return None,
                Ok(Some(message)) => {
                    let mut out = Vec::new();
                    sse::write_message(&mut out, None, &message);
                    Ok(out.into())
                }
            };
        Some((piece, messages))
    })
}

/// The events of a stream that can be picked up again.
pub(super) fn resumable(stream: Numbered, version: Version) -> Body {
    let Numbered { reader, ids } = stream;
    Written::body(Source::Call(reader), ids, version)
}

/// The events of a session's own stream.
pub(super) fn session_events(
    stream: Numbered,
    session: &Session,
    changes: watch::Receiver<Epochs>,
    closing: watch::Receiver<bool>,
) -> Body {
    let Numbered { reader, ids } = stream;
    let own = SessionStream::new(reader, session, changes, closing);
    Written::body(Source::Own(own), ids, session.version)
}

/// One message, and the end.
pub(super) fn only(message: &[u8], id: &str) -> Body {
    let mut out = Vec::new();
    sse::write_message(&mut out, Some(id), message);
    Body::stream(stream::once(std::future::ready(Ok(out.into()))))
}

/// The client missed notices: it hears of every list that it can see, as if it had never asked.
pub(super) fn forget_heard(session: &Session, toolset: &Toolset) {
    let offers = toolset.view(protocol::mcp::Era::Legacy).offers;
    let mut heard = session.heard.lock().unwrap_or_else(PoisonError::into_inner);
    let never = |offered: bool, heard: u64| if offered { u64::MAX } else { heard };
    *heard = Epochs {
        tools: never(offers.tools, heard.tools),
        prompts: never(offers.prompts, heard.prompts),
        resources: never(offers.resources, heard.resources),
    };
}

/// What a client on a line hears outside its own requests: its session's messages, and changes of lists.
pub(super) fn session_messages(
    session: &Session,
    changes: watch::Receiver<Epochs>,
    closing: watch::Receiver<bool>,
) -> impl Stream<Item = Bytes> + Send + use<> {
    let reader = session.open_stream(None, false);
    let own = SessionStream::new(reader, session, changes, closing);
    stream::unfold(own, |mut own| async move {
        let event = own.next().await?;
        Some((event.message, own))
    })
}

enum Source {
    Call(Reader),
    Own(SessionStream),
}

/// Writes events with ids, and comments between them.
struct Written {
    source: Source,
    ids: EventIds,
    /// Clients of older revisions take an event without data for a broken message.
    primes: bool,
    primed: bool,
    over: bool,
}

impl Written {
    fn body(source: Source, ids: EventIds, version: Version) -> Body {
        let primes = version >= Version::V2025_11_25;
        let written = Self {
            source,
            ids,
            primes,
            primed: false,
            over: false,
        };
        Body::stream(stream::unfold(written, |mut written| async move {
            let piece = written.next().await?;
            Some((Ok(piece), written))
        }))
    }

    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        if self.primes && !std::mem::replace(&mut self.primed, true) {
            let id = self.ids.at(self.source.after());
            sse::write_primer(&mut out, id, RETRY_MS);
            return Some(out.into());
        }
        if self.over {
            return None;
        }
        match tokio::time::timeout(KEEP_ALIVE, self.source.next()).await {
            Err(_) => return Some(Bytes::from_static(sse::KEEP_ALIVE)),
            Ok(Some(event)) => self.write(&mut out, &event),
            Ok(None) => {
                self.over = true;
                if !(self.primes && self.source.is_closing()) {
                    return None;
                }
                // "If the server does close the connection prior to terminating the stream, it SHOULD send an event with a `retry` field."
                sse::write_retry(&mut out, RETRY_MS);
                return Some(out.into());
            }
        }
        while out.len() < PIECE_BYTES_MAX
            && let Some(event) = self.source.ready()
        {
            self.write(&mut out, &event);
        }
        Some(out.into())
    }

    fn write(&mut self, out: &mut Vec<u8>, event: &Event) {
        sse::write_message(out, Some(self.ids.at(event.position)), &event.message);
    }
}

impl Source {
    async fn next(&mut self) -> Option<Event> {
        match self {
            Self::Call(reader) => reader.next().await,
            Self::Own(own) => own.next().await,
        }
    }

    fn reader(&self) -> &Reader {
        match self {
            Self::Call(reader) => reader,
            Self::Own(own) => &own.reader,
        }
    }

    fn ready(&self) -> Option<Event> {
        self.reader().ready()
    }

    fn after(&self) -> u64 {
        self.reader().after()
    }

    /// Whether it ends because the gateway does.
    fn is_closing(&self) -> bool {
        matches!(self, Self::Own(own) if *own.closing.borrow())
    }
}

/// A session's own stream. It must not hold the session itself.
struct SessionStream {
    reader: Reader,
    changes: watch::Receiver<Epochs>,
    closing: watch::Receiver<bool>,
    heard: Arc<Heard>,
}

impl SessionStream {
    fn new(
        reader: Reader,
        session: &Session,
        mut changes: watch::Receiver<Epochs>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        // What changed while no stream was open is said first.
        changes.mark_changed();
        Self {
            reader,
            changes,
            closing,
            heard: session.heard.clone(),
        }
    }

    /// Nothing is lost when this is dropped while it waits.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                biased;
                () = crate::gateway::closed(&mut self.closing) => return None,
                // A stream in whose place another was opened must not take its changes.
                event = self.reader.next() => return event,
                changed = self.changes.changed() => changed.ok()?,
            }
            self.note();
        }
    }

    /// Says which lists have changed, on this very stream.
    fn note(&mut self) {
        let now = *self.changes.borrow_and_update();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = &mut *heard;
        let lists = [
            ("tools", now.tools, &mut heard.tools),
            ("prompts", now.prompts, &mut heard.prompts),
            ("resources", now.resources, &mut heard.resources),
        ];
        for (list, now, heard) in lists {
            let method = format!("notifications/{list}/list_changed");
            if now != *heard && self.reader.offer(json_rpc::notification(&method, "{}")) {
                *heard = now;
            }
        }
    }
}
