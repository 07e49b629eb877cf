//! Answers that take time: messages one after the other, and one message in pieces.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use protocol::json::{Edit, StreamEditor};
use tokio::time::Instant;
use transport::outbound::Incoming;

use super::turn::Turn;
use super::{ANSWER_BYTES_MAX, Cancelled, Exchange, FINISH_WAIT};
use crate::refuse::Refusal;
use crate::reply::Pieces;
use crate::upstream::Frames;

/// Longer than any call.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// A stream of messages to the client.
#[derive(Debug)]
pub(crate) struct Carry {
    pub(super) exchange: Exchange,
    pub(super) frames: Frames,
    pub(super) cancelled: Cancelled,
    pub(super) first: Option<Bytes>,
    pub(super) done: bool,
}

impl Carry {
    /// The next message for the client; after the answer, none.
    pub(super) async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        if let Some(first) = self.first.take() {
            return Some((first, Some(self)));
        }
        while !self.done {
            // The client has a stream: it need not be told that nothing came.
            let end = Instant::now() + FOREVER;
            match self
                .exchange
                .turn(&mut self.frames, &mut self.cancelled, end)
                .await
            {
                Ok(Turn::Forward(bytes)) => return Some((bytes, Some(self))),
                Ok(Turn::Nothing | Turn::Quiet) => {}
                Ok(Turn::Keep) => {
                    let (era, id) = (self.exchange.era, self.exchange.id.clone());
                    let kept = self.exchange.keep(self.frames);
                    let kept = kept.unwrap_or_else(|refusal| refusal.message(era, Some(&id)));
                    return Some((kept, None));
                }
                Ok(Turn::Final(bytes)) => {
                    self.done = true;
                    return Some((bytes, Some(self)));
                }
                // "must not send any further messages" for a cancelled request.
                Err(Refusal::Cancelled) => return None,
                Err(refusal) => {
                    self.done = true;
                    let bytes = refusal.message(self.exchange.era, Some(&self.exchange.id));
                    return Some((bytes, Some(self)));
                }
            }
        }
        // The client has its answer; its stream ends now or, at most, a moment later.
        self.frames.finish(FINISH_WAIT).await;
        None
    }
}

/// One long JSON answer in pieces: the first ones, and those to come.
pub(super) fn large(
    exchange: Exchange,
    head: VecDeque<Bytes>,
    body: Incoming,
    cancelled: Cancelled,
) -> Pieces {
    let rules = exchange.rewrite.rules_for_pieces(exchange.method);
    let large = Large {
        editor: StreamEditor::new(rules),
        exchange,
        body,
        cancelled,
        head,
        ready: VecDeque::new(),
        id_seen: false,
        bytes: 0,
        ended: false,
    };
    Box::pin(stream::unfold(large, Large::next))
}

struct Large {
    exchange: Exchange,
    editor: StreamEditor<'static>,
    body: Incoming,
    cancelled: Cancelled,
    head: VecDeque<Bytes>,
    ready: VecDeque<Bytes>,
    id_seen: bool,
    bytes: usize,
    ended: bool,
}

type Piece = Result<Bytes, transport::body::BodyError>;

impl Large {
    async fn next(mut self) -> Option<(Piece, Self)> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some((Ok(piece), self));
            }
            if self.ended {
                return None;
            }
            let chunk = match self.head.pop_front() {
                Some(head) => Some(head),
                None => match self
                    .exchange
                    .chunk(&mut self.body, &mut self.cancelled)
                    .await
                {
                    Ok(chunk) => chunk,
                    Err(failure) => return Some(self.fail(&failure.to_string())),
                },
            };
            let outcome = match chunk {
                Some(chunk) => self.take(&chunk),
                None => self.finish(),
            };
            if let Err(reason) = outcome {
                return Some(self.fail(&reason));
            }
        }
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), String> {
        self.bytes += chunk.len();
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(format!(
                "the answer is longer than {ANSWER_BYTES_MAX} bytes"
            ));
        }
        let Self {
            editor,
            exchange,
            id_seen,
            ..
        } = self;
        let mut foreign = false;
        let ids = Some((exchange.number, exchange.id.raw()));
        let edits = editor
            .feed(chunk, |slot, raw| {
                exchange.rewrite.edit(slot, raw, ids, id_seen, &mut foreign)
            })
            .map_err(|error| error.to_string())?;
        if foreign {
            return Err("the answer has a foreign id".to_owned());
        }
        self.cut(chunk, edits);
        Ok(())
    }

    /// Unchanged parts are passed on without a copy.
    fn cut(&mut self, chunk: &Bytes, edits: Vec<Edit>) {
        let mut at = 0;
        for (span, with) in edits {
            self.push(chunk.slice(at..span.start));
            self.push(with.into());
            at = span.end;
        }
        self.push(chunk.slice(at..));
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.ready.push_back(piece);
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        self.ended = true;
        self.editor.finish().map_err(|error| error.to_string())?;
        if self.id_seen {
            Ok(())
        } else {
            Err("the answer has no id".to_owned())
        }
    }

    /// The head has been sent; all that is left is to break off, so that nobody takes a part for the whole.
    fn fail(mut self, reason: &str) -> (Piece, Self) {
        self.ended = true;
        self.ready.clear();
        (Err(self.exchange.broken(reason)), self)
    }
}
