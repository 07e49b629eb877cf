//! A request on its way to the replica it belongs to, and the answer on its way back, both as they come.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::header::{CONNECTION, HeaderName, TRANSFER_ENCODING};
use http::{Method, Request, Response};
use transport::body::{Body, BodyError};
use transport::outbound::{Failure, Incoming};

use super::hop::{self, HOP, Hop, Matter};
use super::members::Member;
use super::{Errand, Joined, Replicas};
use crate::clock::unix_now;
use crate::handles::Incarnation;

/// Why a request has no answer of the replica it belongs to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Missed {
    /// It cannot have seen any of it.
    #[error("{0}")]
    Unsent(Failure),
    /// It may have seen it, so nobody else may be asked.
    #[error("{0}")]
    Sent(Failure),
    /// It ended before it answered.
    #[error("the replica ended before it answered")]
    Ended,
}

impl Replicas {
    /// Passes a request on. A client that hangs up drops this or the answer's body, and the other replica sees that it hung up.
    ///
    /// # Errors
    /// [`Missed`]; a replica that could not be reached is forgotten.
    pub(crate) async fn carry(
        &self,
        member: &Arc<Member>,
        errand: &Errand<'_>,
    ) -> Result<Response<Body>, Missed> {
        let Some(joined) = &self.joined else {
            return Err(Missed::Ended);
        };
        let request = self.request(joined, member, errand);
        let sending = async {
            if *errand.method == Method::GET {
                member.target.open_stream(request).await
            } else {
                member.target.send(request).await
            }
        };
        let sent = tokio::select! {
            sent = sending => sent,
            () = joined.members.gone(member.incarnation) => return Err(Missed::Ended),
        };
        match sent {
            Ok(answer) => Ok(joined.passed_back(member.incarnation, answer)),
            Err(failure) if failure.may_have_reached_server() => {
                joined.members.look();
                Err(Missed::Sent(failure))
            }
            Err(failure) => {
                if !matches!(failure, Failure::Busy { .. }) {
                    joined.members.forget(member.incarnation);
                }
                Err(Missed::Unsent(failure))
            }
        }
    }

    fn request(&self, joined: &Joined, member: &Member, errand: &Errand<'_>) -> Request<Bytes> {
        let Errand {
            method,
            path,
            headers,
            body,
            ..
        } = errand;
        let matter = Matter::Errand {
            to: member.incarnation,
            caller: errand.caller.clone(),
            listener: u32::try_from(errand.listener).unwrap_or(u32::MAX),
            digest: hop::digest(method, path, headers, body),
        };
        let sealed = Hop::new(self.own, unix_now(), matter).seal(&joined.ring);
        let mut request = Request::builder()
            .method(*method)
            .uri(*path)
            .header(HOP, sealed)
            .body(body.clone())
            .expect("a path that came in a request may stand in another");
        let travelling = headers.iter().filter(|(name, _)| hop::travels(name));
        for (name, value) in travelling {
            request.headers_mut().append(name, value.clone());
        }
        request
    }
}

impl Joined {
    /// The answer as it comes; it breaks off when the replica ends, even if its connection does not say so.
    fn passed_back(&self, from: Incarnation, answer: Response<Incoming>) -> Response<Body> {
        let (mut parts, body) = answer.into_parts();
        for name in [
            CONNECTION,
            TRANSFER_ENCODING,
            HeaderName::from_static("keep-alive"),
        ] {
            parts.headers.remove(name);
        }
        let Body::Stream(pieces) = Body::forward(body) else {
            return Response::from_parts(parts, Body::empty());
        };
        let gone = Box::pin(self.members.gone(from));
        let state = Some((pieces, gone));
        let pieces = stream::unfold(state, |state| async {
            let (mut pieces, mut gone) = state?;
            tokio::select! {
                biased;
                piece = pieces.next() => Some((piece?, Some((pieces, gone)))),
                () = &mut gone => {
                    let ended = BodyError::new("the replica that answered has ended");
                    Some((Err(ended), None))
                }
            }
        });
        Response::from_parts(parts, Body::stream(pieces))
    }
}
