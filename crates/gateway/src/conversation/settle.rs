//! From the answer to a request of our own to its result, or to a failure that says what was wrong.

use bytes::Bytes;
use protocol::json_rpc::{ErrorObject, Id, Message, Shape};

use super::{ASK_BYTES_MAX, Conversation, is_outage};
use crate::failure::UpstreamFailure;
use crate::upstream::{Answer, Frames};

impl Conversation {
    /// Waits for the answer to request `id` and takes an error for a failure.
    pub(super) async fn settle(
        &self,
        method: &'static str,
        id: u64,
        answer: Answer,
    ) -> Result<Message, UpstreamFailure> {
        let bytes = match answer {
            Answer::Json(body) => {
                body.collect(ASK_BYTES_MAX)
                    .await
                    .map_err(|failure| UpstreamFailure::NoAnswer {
                        server: self.server.clone(),
                        reason: failure.to_string(),
                    })?
            }
            Answer::Frames(frames) => return self.settle_frames(method, id, frames).await,
            Answer::Accepted => {
                return Err(self.garbage(format!("`{method}` was answered 202 without a result")));
            }
            Answer::Failed { status, body } => {
                // A modern error comes with a 4xx status and a JSON-RPC body.
                return match Message::parse(body.clone()) {
                    Ok(message)
                        if matches!(message.shape, Shape::Error(_)) && !is_outage(status) =>
                    {
                        Err(self.refused(method, &message))
                    }
                    Ok(_) | Err(_) => Err(self.status(status, &body)),
                };
            }
        };
        let message = Message::parse(bytes).map_err(|error| self.garbage(error.to_string()))?;
        self.accept(method, id, message)
    }

    async fn settle_frames(
        &self,
        method: &'static str,
        id: u64,
        mut frames: Frames,
    ) -> Result<Message, UpstreamFailure> {
        while let Some(frame) = frames.next().await {
            let message =
                Message::parse(frame?).map_err(|error| self.garbage(error.to_string()))?;
            if matches!(message.shape, Shape::Result(_) | Shape::Error(_)) {
                return self.accept(method, id, message);
            }
        }
        let reason = "the stream ended without an answer".to_owned();
        Err(UpstreamFailure::NoAnswer {
            server: self.server.clone(),
            reason,
        })
    }

    fn accept(
        &self,
        method: &'static str,
        id: u64,
        message: Message,
    ) -> Result<Message, UpstreamFailure> {
        match &message.shape {
            Shape::Result(own) if *own == Id::number(id) => Ok(message),
            Shape::Error(own) if own.as_ref().is_none_or(|own| *own == Id::number(id)) => {
                Err(self.refused(method, &message))
            }
            Shape::Result(_) | Shape::Error(_) => {
                Err(self.garbage(format!("`{method}` was answered with another id")))
            }
            Shape::Request(_) | Shape::Notification => {
                Err(self.garbage(format!("`{method}` was answered with a request")))
            }
        }
    }

    fn refused(&self, method: &'static str, message: &Message) -> UpstreamFailure {
        match serde_json::from_str::<ErrorObject<'_>>(message.body()) {
            Ok(error) => UpstreamFailure::Refused {
                server: self.server.clone(),
                method,
                code: error.code,
                message: error.message.into_owned(),
                data: error.data.map(|data| data.get().to_owned()),
            },
            Err(error) => self.garbage(format!("an error without a code: {error}")),
        }
    }

    pub(super) fn status(&self, status: u16, body: &Bytes) -> UpstreamFailure {
        UpstreamFailure::Status {
            server: self.server.clone(),
            status,
            body: String::from_utf8_lossy(body).trim().to_owned(),
        }
    }

    pub(super) fn garbage(&self, reason: String) -> UpstreamFailure {
        UpstreamFailure::Garbage {
            server: self.server.clone(),
            reason,
        }
    }
}
