//! Replies as event streams.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use protocol::{json_rpc, sse};
use tokio::sync::{mpsc, watch};
use transport::body::{Body, BodyError};

use crate::reply::Messages;
use crate::session::{Heard, Session};
use crate::table::Epochs;

/// A comment is sent when nothing else was for this long.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

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

/// What a legacy client hears outside its own requests: its session's messages, and changes of lists.
pub(super) fn session_messages(
    session: &Session,
    mut changes: watch::Receiver<Epochs>,
    closing: watch::Receiver<bool>,
) -> impl Stream<Item = Bytes> + Send + use<> {
    // What changed while no stream was open is said first.
    changes.mark_changed();
    let state = SessionStream {
        outbox: session.open_stream(),
        changes,
        closing,
        heard: session.heard.clone(),
        told: None,
        ready: Vec::new(),
    };
    stream::unfold(state, SessionStream::next)
}

struct SessionStream {
    outbox: mpsc::Receiver<Bytes>,
    changes: watch::Receiver<Epochs>,
    closing: watch::Receiver<bool>,
    /// Outlives the stream; the stream must not hold the session itself.
    heard: Arc<Heard>,
    /// What the client has heard once it has taken all that is ready.
    told: Option<Epochs>,
    ready: Vec<Bytes>,
}

impl SessionStream {
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if let Some(message) = self.ready.pop() {
                return Some((message, self));
            }
            if let Some(told) = self.told.take() {
                *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = told;
            }
            let message = tokio::select! {
                biased;
                () = crate::gateway::closed(&mut self.closing) => return None,
                // A stream in whose place another was opened must not take its changes.
                message = self.outbox.recv() => Some(message?),
                changed = self.changes.changed() => { changed.ok()?; None }
            };
            match message {
                Some(message) => return Some((message, self)),
                None => self.note(),
            }
        }
    }

    fn note(&mut self) {
        let now = *self.changes.borrow_and_update();
        let before = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        self.told = Some(now);
        let lists = [
            (
                now.tools != before.tools,
                "notifications/tools/list_changed",
            ),
            (
                now.prompts != before.prompts,
                "notifications/prompts/list_changed",
            ),
            (
                now.resources != before.resources,
                "notifications/resources/list_changed",
            ),
        ];
        let changed = lists.into_iter().filter(|(changed, _)| *changed);
        self.ready
            .extend(changed.map(|(_, method)| json_rpc::notification(method, "{}")));
    }
}
