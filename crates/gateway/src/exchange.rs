//! One call under way: what the server says is turned into what the client gets.

mod carry;
mod far;
mod held;
mod lent;
mod park;
mod polled;
mod rewrite;
mod rounds;
mod turn;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use protocol::json_rpc::{self, Id, Message, Shape, code};
use protocol::mcp::{Era, Method, Version};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use transport::body::BodyError;
use transport::outbound::Incoming;

use crate::failure::UpstreamFailure;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::server::Server;
use crate::session::Ticket;
use crate::upstream::{Answer, Frames};

pub(crate) use far::Far;
pub(crate) use held::{Held, Holding};
pub(crate) use lent::{Asked, Borrowed, Keeper, Lent, may_ask};
pub(crate) use park::Parking;
pub(crate) use rewrite::Rewrite;
pub(crate) use rounds::Rounds;

/// Answers up to this size are looked at as a whole; longer ones stream through.
const WHOLE_BYTES_MAX: usize = 64 * 1024;
/// The longest JSON answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long the end of a server's stream is waited for once its answer is here, so that the connection can be used again: before the reply.
const FINISH_WAIT_BEFORE_REPLY: Duration = Duration::from_millis(2);
/// The same, when the client has its answer already.
const FINISH_WAIT: Duration = Duration::from_millis(500);
/// If nothing came after this long, the client gets the head of an event stream, so that it and every hop between knows that we live.
const FIRST_FRAME_WAIT: Duration = Duration::from_secs(10);

/// One call under way.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) era: Era,
    pub(crate) method: Method,
    /// The client's id, to be restored.
    pub(crate) id: Id,
    /// Our number for the call at the server.
    pub(crate) number: u64,
    pub(crate) rewrite: Rewrite,
    pub(crate) server: Arc<Server>,
    /// The server's side.
    pub(crate) far: Far,
    /// Legacy: the request's place among those under way.
    pub(crate) ticket: Option<Ticket>,
    /// Modern: the lowest log level the client wants.
    pub(crate) log_level: Option<u8>,
    /// When the call ends at the latest.
    pub(crate) deadline: Instant,
    /// The server waits for the client's answer to a question.
    pub(crate) asked: bool,
}

/// The client's cancellation, where the era has such a message.
pub(crate) type Cancelled = Option<oneshot::Receiver<()>>;

/// Resolves when the client cancels; never, when it cannot any more.
pub(crate) async fn fired(cancelled: &mut Cancelled) {
    if let Some(signal) = cancelled {
        let fired = signal.await.is_ok();
        *cancelled = None;
        if fired {
            return;
        }
    }
    std::future::pending().await
}

impl Exchange {
    /// The client has its answer, or will get none: it has nothing more to cancel.
    fn over(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.over();
        }
    }

    /// Turns the server's answer into the client's.
    pub(crate) async fn settle(
        mut self,
        answer: Answer,
        cancelled: Cancelled,
    ) -> Result<Reply, Refusal> {
        if self.is_read_whole() {
            let frames = self.frames(answer)?;
            return self.settle_frames(frames, cancelled).await;
        }
        match answer {
            Answer::Json(body) => self.settle_json(body, cancelled).await,
            Answer::Frames(frames) => self.settle_frames(frames, cancelled).await,
            Answer::Accepted => {
                self.over();
                Err(self.garbage("202 to a request".to_owned()).into())
            }
            Answer::Failed { status, body } => self.settle_failed(status, &body),
        }
    }

    /// Whether the answer may have to change in more than scalars: in another era, or for a client of an old revision.
    fn is_read_whole(&self) -> bool {
        match &self.far {
            Far::Leg(session, _) => session.version < Version::V2025_06_18,
            far => far.is_bridged(),
        }
    }

    /// The answer as messages, whatever its form.
    fn frames(&mut self, answer: Answer) -> Result<Frames, Refusal> {
        Frames::of(&self.server.name, self.number, answer).map_err(|failure| {
            self.over();
            failure.into()
        })
    }

    fn status(&self, status: u16, body: &Bytes) -> UpstreamFailure {
        UpstreamFailure::Status {
            server: self.server.name.clone(),
            status,
            body: String::from_utf8_lossy(body).trim().to_owned(),
        }
    }

    /// A modern error comes with its status; anything else is the server's failure.
    fn settle_failed(mut self, status: u16, body: &Bytes) -> Result<Reply, Refusal> {
        self.over();
        let failure = self.status(status, body);
        let Ok(message) = Message::parse(body.clone()) else {
            return Err(failure.into());
        };
        if !matches!(message.shape, Shape::Error(_)) {
            return Err(failure.into());
        }
        let Ok(error) = serde_json::from_str::<json_rpc::ErrorObject<'_>>(message.body()) else {
            return Err(failure.into());
        };
        if self.is_between_us(error.code) {
            return Err(failure.into());
        }
        let status = match (self.era, StatusCode::from_u16(status)) {
            (Era::Modern, Ok(status @ (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND))) => status,
            _ => StatusCode::OK,
        };
        let body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{}}}",
            raw(&self.id),
            message.body()
        );
        Ok(Reply::Message(
            status,
            self.rewrite
                .whole(body.as_bytes(), None)
                .unwrap_or_else(|_| body.into()),
        ))
    }

    async fn settle_json(
        mut self,
        mut body: Incoming,
        mut cancelled: Cancelled,
    ) -> Result<Reply, Refusal> {
        // Pieces are kept as they came: a long answer passes on without being copied.
        let mut pieces: VecDeque<Bytes> = VecDeque::new();
        let mut bytes = 0;
        while let Some(chunk) = self.chunk(&mut body, &mut cancelled).await? {
            if pieces.is_empty() && body.is_end_stream() {
                return self.whole(chunk);
            }
            bytes += chunk.len();
            pieces.push_back(chunk);
            if bytes > WHOLE_BYTES_MAX {
                let text = self.no_answer(String::new()).for_caller();
                let broken = json_rpc::error(Some(&self.id), code::INTERNAL_ERROR, &text, None);
                let pieces = carry::large(self, pieces, body, cancelled);
                return Ok(Reply::Large(pieces, broken));
            }
        }
        self.whole(Vec::from(pieces).concat().into())
    }

    fn whole(&mut self, bytes: Bytes) -> Result<Reply, Refusal> {
        self.over();
        let message = Message::parse(bytes).map_err(|error| self.garbage(error.to_string()))?;
        let ours = matches!(&message.shape, Shape::Result(id) | Shape::Error(Some(id)) if *id == Id::number(self.number));
        if !ours {
            return Err(self
                .garbage("the answer has no id, or a foreign one".to_owned())
                .into());
        }
        let bytes = self
            .rewrite
            .answer(&message, self.number, &self.id)
            .map_err(|reason| self.garbage(reason))?;
        match self.era {
            Era::Modern => self.answered(rewrite::with_result_type(bytes)),
            Era::Legacy => self.answered(bytes),
        }
    }

    /// A complete answer, with the status that its error asks for.
    fn answered(&self, bytes: Bytes) -> Result<Reply, Refusal> {
        match self.reserved(&bytes) {
            Some(code) if self.is_between_us(code) => Err(self.refused(code).into()),
            Some(code) if code == i64::from(code::MISSING_CAPABILITY) => {
                Ok(Reply::Message(StatusCode::BAD_REQUEST, bytes))
            }
            Some(_) | None => Ok(Reply::message(bytes)),
        }
    }

    /// The code of a modern error that has a meaning for the transport, wherever the server put it.
    fn reserved(&self, bytes: &Bytes) -> Option<i64> {
        // Few answers hold these digits at all, and few of those are errors.
        memchr::memmem::find(bytes, b"-3202").filter(|_| self.era == Era::Modern)?;
        let message = Message::parse(bytes.clone()).ok()?;
        let error = serde_json::from_str::<json_rpc::ErrorObject<'_>>(message.body());
        matches!(message.shape, Shape::Error(_)).then_some(error.ok()?.code)
    }

    /// Relayed, these two would make the client renegotiate with us.
    fn is_between_us(&self, code: i64) -> bool {
        let found = [code::HEADER_MISMATCH, code::UNSUPPORTED_VERSION]
            .map(i64::from)
            .contains(&code);
        if found {
            self.server.look_again();
        }
        found
    }

    fn refused(&self, code: i64) -> UpstreamFailure {
        UpstreamFailure::Refused {
            server: self.server.name.clone(),
            method: "the request",
            code,
            message: "it wants other headers or another version".to_owned(),
            data: None,
        }
    }

    /// The next piece of an answer, while the client wants it.
    async fn chunk(
        &mut self,
        body: &mut Incoming,
        cancelled: &mut Cancelled,
    ) -> Result<Option<Bytes>, Refusal> {
        let chunk = self.next_chunk(body, cancelled).await;
        if !matches!(chunk, Ok(Some(_))) {
            self.over();
        }
        chunk
    }

    async fn next_chunk(
        &self,
        body: &mut Incoming,
        cancelled: &mut Cancelled,
    ) -> Result<Option<Bytes>, Refusal> {
        let next = tokio::select! {
            biased;
            // Whoever took the cancellation has told the server.
            () = fired(cancelled) => return Err(Refusal::Cancelled),
            next = timeout_at(self.deadline, body.chunk()) => next,
        };
        match next {
            Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
            Ok(Some(Err(failure))) => Err(self.no_answer(failure.to_string()).into()),
            Ok(None) => Ok(None),
            Err(_) => {
                self.cancel().await;
                Err(self.too_late().into())
            }
        }
    }

    fn no_answer(&self, reason: String) -> UpstreamFailure {
        UpstreamFailure::NoAnswer {
            server: self.server.name.clone(),
            reason,
        }
    }

    fn too_late(&self) -> UpstreamFailure {
        self.no_answer(format!(
            "the call took longer than {} s",
            self.server.total.as_secs()
        ))
    }

    fn garbage(&self, reason: String) -> UpstreamFailure {
        UpstreamFailure::Garbage {
            server: self.server.name.clone(),
            reason,
        }
    }

    fn broken(&self, reason: &str) -> BodyError {
        tracing::warn!(server = %self.server.name, reason, "a large answer broke off");
        BodyError::new(reason.to_owned())
    }
}

fn raw(id: &Id) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(id.raw())
}
