//! Ids of events: which stream of which session, and which event in it.
//!
//! The stream is sealed, once for each connection; the position behind the dot is not.
//! Who changes it asks for another event of the same stream, which is his own.

use auth::Purpose;
use protocol::json_rpc::Id;

use crate::handles::{Handles, INCARNATION_BYTES, Incarnation};
use crate::session::Session;

/// The longest id of a request that an event id carries, in bytes; with a longer one, nobody can be told what was lost.
const REQUEST_BYTES_MAX: usize = 64;
const SESSION_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;
/// Between the sealed name and the position: it stands in no sealed text.
const DOT: char = '.';
/// The number of the stream on which a session hears what belongs to none of its requests.
pub(super) const OWN: u64 = 0;
/// The position after all others.
pub(super) const AFTER_ALL: u64 = u64::MAX;

/// One stream of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamName {
    /// The process that holds it.
    pub(super) owner: Incarnation,
    /// Which of the session's streams it is.
    pub(super) number: u64,
    /// The request it answers, if that is one and its id is short.
    pub(super) request: Option<Id>,
}

impl StreamName {
    /// The name as it stands in event ids, for this session only.
    pub(super) fn sealed(&self, handles: &Handles, session: &Session) -> String {
        let request = self.request.as_ref().map_or(&b""[..], Id::raw);
        let mut plain =
            Vec::with_capacity(INCARNATION_BYTES + SESSION_BYTES + NUMBER_BYTES + request.len());
        plain.extend_from_slice(&self.owner.0);
        plain.extend_from_slice(&session.id.0);
        plain.extend_from_slice(&self.number.to_be_bytes());
        if request.len() <= REQUEST_BYTES_MAX {
            plain.extend_from_slice(request);
        }
        handles.seal(Purpose::Event, &session.caller, &session.toolset, &plain)
    }

    /// The stream and the position that an event id of this session names.
    pub(super) fn open(handles: &Handles, session: &Session, text: &[u8]) -> Option<(Self, u64)> {
        let (sealed, position) = std::str::from_utf8(text).ok()?.rsplit_once(DOT)?;
        let plain = handles.open(
            Purpose::Event,
            &session.caller,
            &session.toolset,
            sealed.as_bytes(),
        );
        let plain = plain.ok()?;
        let (owner, rest) = plain.split_first_chunk::<INCARNATION_BYTES>()?;
        let (of, rest) = rest.split_first_chunk::<SESSION_BYTES>()?;
        let (number, request) = rest.split_first_chunk::<NUMBER_BYTES>()?;
        if *of != session.id.0 {
            return None;
        }
        let name = Self {
            owner: Incarnation(*owner),
            number: u64::from_be_bytes(*number),
            request: std::str::from_utf8(request).ok().and_then(Id::from_raw),
        };
        Some((name, position.parse().ok()?))
    }
}

/// Writes the ids of one connection's events.
#[derive(Debug)]
pub(crate) struct EventIds {
    text: String,
    name_bytes: usize,
}

impl EventIds {
    pub(super) fn new(mut name: String) -> Self {
        name.push(DOT);
        Self {
            name_bytes: name.len(),
            text: name,
        }
    }

    /// The id of the event at `position`.
    pub(crate) fn at(&mut self, position: u64) -> &str {
        self.text.truncate(self.name_bytes);
        self.text.push_str(&position.to_string());
        &self.text
    }
}
