//! Calls at legacy servers that wait for their modern client to come back with answers (mcp-requirements §2.4 D, authority "Sealed handles").

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::Purpose;
use bytes::Bytes;
use futures_util::future::join_all;
use protocol::json::{elements, members};
use protocol::json_rpc::Message;
use protocol::mcp::Method;
use protocol::mcp::bridge::Brought;
use tokio::time::Instant;

use super::{Exchange, Far, Lent};
use crate::digest::sha256;
use crate::handles::{Handles, INCARNATION_BYTES, Incarnation, random};
use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::reply::Reply;
use crate::request::{Inbound, Parts};
use crate::upstream::Frames;

/// How long a call waits for its client.
const PARK_MAX: Duration = Duration::from_secs(600);
/// Calls that wait at once.
const PARKED_MAX: usize = 10_000;
/// Calls of one caller that wait at once.
const PARKED_OF_CALLER_MAX: usize = 256;
/// The deepest arguments that are compared.
const DEPTH_MAX: usize = 128;
const PLACE_BYTES: usize = 16;
const TICKET_BYTES: usize = 8;

/// Where a call waits.
type Place = [u8; PLACE_BYTES];

/// Calls that wait for their client.
#[derive(Debug)]
pub(crate) struct Parking {
    handles: Arc<Handles>,
    calls: Mutex<HashMap<Place, Parked>>,
}

#[derive(Debug)]
struct Parked {
    exchange: Exchange,
    frames: Frames,
    /// Changes with every round: a state can be used once.
    ticket: [u8; TICKET_BYTES],
    until: Instant,
}

/// What a request state seals.
struct State {
    owner: Incarnation,
    place: Place,
    ticket: [u8; TICKET_BYTES],
}

impl State {
    fn bytes(&self) -> Vec<u8> {
        [&self.owner.0[..], &self.place, &self.ticket].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk::<INCARNATION_BYTES>()?;
        let (place, rest) = rest.split_first_chunk::<PLACE_BYTES>()?;
        Some(Self {
            owner: Incarnation(*owner),
            place: *place,
            ticket: rest.try_into().ok()?,
        })
    }
}

impl Parking {
    pub(crate) fn new(handles: Arc<Handles>) -> Self {
        Self {
            handles,
            calls: Mutex::default(),
        }
    }

    /// Lets a call wait, and gives the state that goes on with it.
    pub(crate) fn park(
        &self,
        exchange: Exchange,
        frames: Frames,
    ) -> Result<Bytes, Box<(Exchange, Refusal)>> {
        let full = |limit: usize| Refusal::Busy(format!("{limit} calls wait for answers already"));
        let state = State {
            owner: self.handles.own(),
            place: random(),
            ticket: random(),
        };
        let Far::Lent(lent) = &exchange.far else {
            let refusal = Refusal::Unanswered("this call cannot wait".to_owned());
            return Err(Box::new((exchange, refusal)));
        };
        let sealed = self.handles.seal(
            Purpose::RequestState,
            &lent.caller,
            &lent.toolset,
            &state.bytes(),
        );
        let caller = lent.caller.clone();
        let asks = exchange.asks(&sealed);
        let mut calls = self.calls();
        if calls.len() >= PARKED_MAX {
            return Err(Box::new((exchange, full(PARKED_MAX))));
        }
        // A loopback door knows nobody by name: there, all are one.
        let own = calls
            .values()
            .filter(|parked| parked.is_of(&caller))
            .count();
        if caller != Caller::Anonymous && own >= PARKED_OF_CALLER_MAX {
            return Err(Box::new((exchange, full(PARKED_OF_CALLER_MAX))));
        }
        calls.insert(
            state.place,
            Parked {
                exchange,
                frames,
                ticket: state.ticket,
                until: Instant::now() + PARK_MAX,
            },
        );
        Ok(asks)
    }

    /// The process in which the call behind a request state waits.
    pub(crate) fn owner(
        handles: &Handles,
        caller: &Caller,
        toolset: &str,
        state: &str,
    ) -> Option<Incarnation> {
        let bytes = handles.open(Purpose::RequestState, caller, toolset, state.as_bytes());
        State::read(&bytes.ok()?).map(|state| state.owner)
    }

    /// Goes on with a call that waits: the same caller, method, name and arguments, and a state that was not used yet.
    pub(crate) async fn resume(
        &self,
        inbound: &Inbound,
        method: Method,
        state: &str,
        brought: &Brought<'_>,
    ) -> Result<Reply, Refusal> {
        let (exchange, frames) = self.take(inbound, method, state)?;
        let answers: Vec<(String, String)> = brought
            .answers
            .iter()
            .map(|(key, raw)| (key.clone().into_owned(), (*raw).to_owned()))
            .collect();
        exchange.go_on(inbound, frames, &answers).await
    }

    fn take(
        &self,
        inbound: &Inbound,
        method: Method,
        state: &str,
    ) -> Result<(Exchange, Frames), Refusal> {
        let foreign = || Refusal::Params("`requestState` is not one of this call".into());
        let (caller, toolset) = (&inbound.caller, &inbound.toolset.name);
        let bytes = self
            .handles
            .open(Purpose::RequestState, caller, toolset, state.as_bytes())
            .map_err(|_| foreign())?;
        let state = State::read(&bytes).ok_or_else(foreign)?;
        if state.owner != self.handles.own() {
            return Err(Refusal::Lost);
        }
        let mut calls = self.calls();
        let used = || {
            Refusal::Params(
                "`requestState` was used already, or the call has waited too long".into(),
            )
        };
        let parked = calls.get(&state.place).ok_or_else(used)?;
        if !parked.is_asked_by(inbound, method)? {
            return Err(foreign());
        }
        if parked.ticket != state.ticket {
            return Err(used());
        }
        let parked = calls.remove(&state.place).ok_or_else(used)?;
        Ok((parked.exchange, parked.frames))
    }

    /// Ends the calls whose client did not come back in time.
    pub(crate) async fn sweep(&self) {
        let now = Instant::now();
        self.end(|parked| parked.until <= now).await;
    }

    /// Ends all of them.
    pub(crate) async fn close(&self) {
        self.end(|_| true).await;
    }

    async fn end(&self, over: impl Fn(&Parked) -> bool) {
        let gone: Vec<Parked> = self
            .calls()
            .extract_if(|_, parked| over(parked))
            .map(|(_, parked)| parked)
            .collect();
        join_all(gone.into_iter().map(|mut parked| async move {
            if let Far::Lent(lent) = &mut parked.exchange.far {
                lent.give_up().await;
            }
            // What is dropped while it is open is cancelled at the server.
        }))
        .await;
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Place, Parked>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parked {
    fn lent(&self) -> Option<&Lent> {
        match &self.exchange.far {
            Far::Lent(lent) => Some(lent),
            Far::Stateless | Far::Leg(..) | Far::Rounds(_) => None,
        }
    }

    fn is_of(&self, caller: &Caller) -> bool {
        self.lent().is_some_and(|lent| lent.caller == *caller)
    }

    /// Whether a request repeats the one that waits.
    fn is_asked_by(&self, inbound: &Inbound, method: Method) -> Result<bool, Refusal> {
        let Some(asked) = self.lent().map(|lent| &lent.asked) else {
            return Ok(false);
        };
        let same =
            digest(&asked.message, &asked.parts)? == digest(&inbound.message, &inbound.parts)?;
        Ok(same && asked.method == method)
    }
}

/// What a retry must repeat: name and arguments, whatever their order and spacing.
fn digest(message: &Message, parts: &Parts) -> Result<[u8; 32], Refusal> {
    let mut text = String::new();
    for span in [&parts.name, &parts.uri, &parts.arguments] {
        text.push('\n');
        if let Some(span) = span {
            canonical(message.part(span), DEPTH_MAX, &mut text).ok_or(Refusal::Params(
                "the arguments are nested too deeply".into(),
            ))?;
        }
    }
    Ok(sha256(text.as_bytes()))
}

/// The same text for the same value: members in order, no spaces. Numbers and texts stay as they are spelled.
fn canonical(raw: &str, depth: usize, out: &mut String) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    if let Ok(mut found) = members(raw) {
        found.sort_by(|one, other| one.key.cmp(&other.key));
        out.push('{');
        for member in found {
            out.push_str(&protocol::json::quote(&member.key));
            out.push(':');
            canonical(member.value, depth, out)?;
            out.push(',');
        }
        out.push('}');
    } else if let Ok(items) = elements(raw) {
        out.push('[');
        for item in items {
            canonical(item, depth, out)?;
            out.push(',');
        }
        out.push(']');
    } else {
        match protocol::json::string(raw) {
            Some(text) => out.push_str(&protocol::json::quote(&text)),
            None => out.push_str(raw),
        }
    }
    Some(())
}
