//! Event streams of a session that can be picked up again (MCP 2025-11-25, basic/transports, "Resumability and Redelivery").
//!
//! A call that is answered on a stream is driven by a task of its session: a client that hangs up has not cancelled it.

mod event_id;
mod track;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use protocol::json_rpc::Id;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::Session;
use crate::handles::Handles;
use crate::refuse::Refusal;
use event_id::{AFTER_ALL, OWN, StreamName};
use track::{Budget, Rest, Track};

pub(crate) use event_id::EventIds;
pub(crate) use track::{Event, Reader};

/// Streams of one session that are kept; one more, and the one that ended first is forgotten.
const STREAMS_MAX: usize = 256;

/// What a request yields, the last of it the answer.
pub(crate) trait Messages: Stream<Item = Bytes> + Send + Unpin + 'static {}

impl<S: Stream<Item = Bytes> + Send + Unpin + 'static> Messages for S {}

/// The streams of one session.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// What belongs to no request.
    own: Option<Arc<Track>>,
    /// Those that answer requests, oldest first.
    calls: VecDeque<Call>,
    /// Drives the calls; made with the first.
    drivers: Option<JoinSet<()>>,
    opened: u64,
    budget: Arc<Budget>,
    /// No call begins any more.
    ended: bool,
}

#[derive(Debug)]
struct Call {
    number: u64,
    track: Arc<Track>,
    driver: AbortHandle,
}

/// A stream with the ids of its events.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) reader: Reader,
    pub(crate) ids: EventIds,
}

/// What a client gets that comes back with the id of an event.
#[derive(Debug)]
pub(crate) enum Resumed {
    /// The rest of the stream that answers a request.
    Call(Numbered),
    /// The session's own stream.
    Own {
        /// It goes on.
        stream: Numbered,
        /// Something was missed: the lists may have changed.
        missed: bool,
    },
    /// Instead of the answer, which is not kept any more: an error with the id of its event.
    Lost(Bytes, String),
}

impl Streams {
    /// Reads the session's own stream, after some position or where the last reader ended.
    pub(super) fn read_own(&mut self, after: Option<u64>, replays: bool) -> Reader {
        self.own().read(after, replays)
    }

    /// Appends to the session's own stream, unless its client has too much to take already.
    pub(super) fn offer_own(&mut self, message: Bytes) -> bool {
        self.own().offer(message)
    }

    fn own(&mut self) -> &Arc<Track> {
        self.own
            .get_or_insert_with(|| Track::new(self.budget.clone()))
    }

    pub(super) fn is_own_read(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.is_read())
    }

    /// Whether a call goes on, with or without its client.
    pub(super) fn has_calls(&self) -> bool {
        self.calls.iter().any(|call| call.track.is_live())
    }

    pub(super) fn end_own(&self) {
        if let Some(own) = &self.own {
            own.end();
        }
    }

    /// Opens a stream and has `messages` driven into it; `None`, and nothing is done with them, when no call begins any more.
    fn open(
        &mut self,
        session: &Arc<Session>,
        messages: &mut Option<impl Messages>,
    ) -> Option<(u64, Reader)> {
        let messages = messages.take_if(|_| !self.ended)?;
        // If none has ended, the oldest goes on, but cannot be picked up again.
        if self.calls.len() >= STREAMS_MAX && !self.forget_ended() {
            self.calls.pop_front();
        }
        self.opened += 1;
        let track = Track::new(self.budget.clone());
        // Its reader is there before the first message: what a client waits for is not dropped.
        let reader = track.read(None, true);
        self.reap();
        let drivers = self.drivers.get_or_insert_default();
        let driving = drive(Arc::downgrade(session), track.clone(), messages);
        self.calls.push_back(Call {
            number: self.opened,
            track,
            driver: drivers.spawn(driving),
        });
        Some((self.opened, reader))
    }

    /// Forgets the oldest stream that ended; says whether there was one.
    fn forget_ended(&mut self) -> bool {
        let ended = self.calls.iter().position(|call| !call.track.is_live());
        ended.is_some_and(|at| self.calls.remove(at).is_some())
    }

    fn reap(&mut self) {
        if let Some(drivers) = &mut self.drivers {
            while drivers.try_join_next().is_some() {}
        }
        self.drivers.take_if(|drivers| drivers.is_empty());
    }

    fn find(&self, number: u64) -> Option<Arc<Track>> {
        let call = self.calls.iter().find(|call| call.number == number)?;
        Some(call.track.clone())
    }

    /// Begins nothing any more; gives what has to end.
    fn end(&mut self) -> VecDeque<Call> {
        self.ended = true;
        self.end_own();
        std::mem::take(&mut self.calls)
    }
}

impl Session {
    /// Begins to answer `request` on a stream that can be picked up again.
    pub(crate) fn keep(
        self: &Arc<Self>,
        handles: &Handles,
        request: Option<Id>,
        messages: impl Messages,
    ) -> Numbered {
        let mut messages = Some(messages);
        let opened = self.state().streams.open(self, &mut messages);
        let (number, reader) = opened.unwrap_or_else(|| {
            let track = Track::new(Arc::default());
            track.end();
            (OWN, track.read(None, true))
        });
        self.numbered(handles, number, request, reader)
    }

    /// Opens the session's own stream; an older reader gets nothing any more.
    pub(crate) fn open_numbered(&self, handles: &Handles) -> Numbered {
        self.numbered(handles, OWN, None, self.open_stream(None, true))
    }

    /// Picks up the stream whose event the client saw last.
    ///
    /// # Errors
    /// When the id is none of this session's, or nothing follows it.
    pub(crate) fn resume(&self, handles: &Handles, last: &[u8]) -> Result<Resumed, Refusal> {
        let (name, position) =
            StreamName::open(handles, self, last).ok_or(Refusal::UnknownEvent)?;
        let is_ours = name.owner == handles.own();
        if name.number == OWN {
            return self.resume_own(handles, position, is_ours);
        }
        if position == AFTER_ALL {
            return Err(Refusal::StreamOver);
        }
        let track = is_ours.then(|| self.state().streams.find(name.number));
        let Some(track) = track.flatten() else {
            return self.lost(handles, &name);
        };
        match track.rest(position) {
            Rest::Unknown => Err(Refusal::UnknownEvent),
            Rest::Over => Err(Refusal::StreamOver),
            Rest::Lost => self.lost(handles, &name),
            rest @ (Rest::Whole | Rest::Holed) => {
                tracing::debug!(session = ?self.id, ?rest, "a stream is picked up again");
                let reader = track.read(Some(position), true);
                let number = self.numbered(handles, name.number, name.request, reader);
                Ok(Resumed::Call(number))
            }
        }
    }

    fn resume_own(
        &self,
        handles: &Handles,
        position: u64,
        is_ours: bool,
    ) -> Result<Resumed, Refusal> {
        let rest = if is_ours {
            self.state().streams.own().rest(position)
        } else {
            Rest::Lost
        };
        let (after, missed) = match rest {
            Rest::Unknown => return Err(Refusal::UnknownEvent),
            Rest::Whole | Rest::Over => (Some(position), false),
            // What is kept is told after the position: nobody gets it twice.
            Rest::Holed => (Some(position), true),
            Rest::Lost => (is_ours.then_some(position), true),
        };
        let reader = self.open_stream(after, true);
        if missed {
            self.missed_all();
        }
        let stream = self.numbered(handles, OWN, None, reader);
        Ok(Resumed::Own { stream, missed })
    }

    /// An error in place of the answer: clients wait for an answer, and most of them for ever when they get a status instead.
    fn lost(&self, handles: &Handles, name: &StreamName) -> Result<Resumed, Refusal> {
        let request = name.request.as_ref().ok_or(Refusal::UnknownEvent)?;
        let error = Refusal::AnswerLost.message(protocol::mcp::Era::Legacy, Some(request));
        let mut ids = EventIds::new(name.sealed(handles, self));
        Ok(Resumed::Lost(error, ids.at(AFTER_ALL).to_owned()))
    }

    fn numbered(
        &self,
        handles: &Handles,
        number: u64,
        request: Option<Id>,
        reader: Reader,
    ) -> Numbered {
        let name = StreamName {
            owner: handles.own(),
            number,
            request,
        };
        let ids = EventIds::new(name.sealed(handles, self));
        Numbered { reader, ids }
    }

    /// Ends all streams, and the calls that are answered on them, here and at the servers.
    pub(crate) async fn end_calls(&self) {
        // Outside the lock, which calls take when they end.
        let calls = self.state().streams.end();
        for call in calls {
            call.driver.abort();
            call.track.end();
        }
        self.cancel_all().await;
    }

    /// Forgets what clients that came back would have asked for by now.
    pub(crate) fn forget_old_streams(&self, now: Instant) {
        let mut state = self.state();
        let streams = &mut state.streams;
        if let Some(own) = &streams.own {
            own.forget_read(now);
        }
        streams.calls.retain(|call| !call.track.is_past(now));
        if streams.calls.is_empty() {
            streams.calls.shrink_to_fit();
        }
        streams.reap();
    }

    /// Forgets streams that ended until there is room for so many bytes, or none is left.
    fn make_room(&self, bytes: usize) {
        let mut state = self.state();
        while !state.streams.budget.takes(bytes) && state.streams.forget_ended() {}
    }
}

/// Carries a call to its end, whoever listens.
async fn drive(session: Weak<Session>, track: Arc<Track>, mut messages: impl Messages) {
    loop {
        track.has_room().await;
        let Some(message) = messages.next().await else {
            break;
        };
        if !track.budget().takes(message.len())
            && let Some(session) = session.upgrade()
        {
            session.make_room(message.len());
        }
        track.push(message);
    }
    track.end();
}
