//! Calls at legacy servers that wait for their modern client to come back with answers (mcp-requirements §2.4 D, authority "Sealed handles").

#[cfg(feature = "simulated")]
mod probe;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use auth::Purpose;
use bytes::Bytes;
use protocol::json::{elements, members};
use protocol::json_rpc::Message;
use protocol::mcp::Method;
use protocol::mcp::bridge::Brought;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Asked, Exchange, Far};
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
/// Messages of a server that are kept while its call waits; more are not read until the client is back.
const AHEAD_MAX: usize = 64;
/// How long servers may take to hear that nobody waits any more, at the end.
const CLOSE_WAIT: Duration = Duration::from_secs(2);
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
    /// The calls themselves; each ends with its wait.
    waits: Mutex<JoinSet<()>>,
}

/// One call that waits.
#[derive(Debug)]
struct Parked {
    caller: Caller,
    /// What a retry must repeat.
    asked: Asked,
    /// Changes with every round: a state can be used once.
    ticket: [u8; TICKET_BYTES],
    /// Gone when nobody will come any more.
    wake: oneshot::Sender<()>,
    woken: oneshot::Receiver<(Exchange, Frames)>,
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
            waits: Mutex::default(),
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
        let (caller, asked) = (lent.caller.clone(), lent.asked.clone());
        let asks = exchange.asks(&sealed);
        let mut calls = self.calls();
        if calls.len() >= PARKED_MAX {
            return Err(Box::new((exchange, full(PARKED_MAX))));
        }
        // A loopback door knows nobody by name: there, all are one.
        let own = || calls.values().filter(|parked| parked.caller == caller);
        if caller != Caller::Anonymous && own().count() >= PARKED_OF_CALLER_MAX {
            return Err(Box::new((exchange, full(PARKED_OF_CALLER_MAX))));
        }
        let (wake, waked) = oneshot::channel();
        let (back, woken) = oneshot::channel();
        let parked = Parked {
            caller,
            asked,
            ticket: state.ticket,
            wake,
            woken,
        };
        calls.insert(state.place, parked);
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        while waits.try_join_next().is_some() {}
        waits.spawn(async move {
            if let Some(call) = wait(exchange, frames, waked).await {
                drop(back.send(call));
            }
        });
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
        let parked = self.take(inbound, method, state)?;
        // Who wakes it a moment too late finds that it has ended.
        let _too_late = parked.wake.send(()).is_err();
        let (exchange, frames) = parked.woken.await.map_err(|_| used())?;
        let answers: Vec<(String, String)> = brought
            .answers
            .iter()
            .map(|(key, raw)| (key.clone().into_owned(), (*raw).to_owned()))
            .collect();
        exchange.go_on(inbound, frames, &answers).await
    }

    fn take(&self, inbound: &Inbound, method: Method, state: &str) -> Result<Parked, Refusal> {
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
        let parked = calls.get(&state.place).ok_or_else(used)?;
        if !parked.is_asked_by(inbound, method)? {
            return Err(foreign());
        }
        if parked.ticket != state.ticket {
            return Err(used());
        }
        calls.remove(&state.place).ok_or_else(used)
    }

    /// Forgets the calls whose wait is over.
    pub(crate) fn sweep(&self) {
        self.calls().retain(|_, parked| !parked.wake.is_closed());
    }

    /// Ends all of them, and waits a bounded time until their servers know.
    pub(crate) async fn close(&self) {
        self.calls().clear();
        let mut waits =
            std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner));
        let ends = async { while waits.join_next().await.is_some() {} };
        drop(timeout(CLOSE_WAIT, ends).await);
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Place, Parked>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parked {
    /// Whether a request repeats the one that waits.
    fn is_asked_by(&self, inbound: &Inbound, method: Method) -> Result<bool, Refusal> {
        let asked = &self.asked;
        let same =
            digest(&asked.message, &asked.parts)? == digest(&inbound.message, &inbound.parts)?;
        Ok(same && asked.method == method)
    }
}

fn used() -> Refusal {
    Refusal::Params("`requestState` was used already, or the call has waited too long".into())
}

/// Keeps a call until its client comes back; what the server says meanwhile is kept for it.
///
/// Nothing when nobody came in time: the server is told, and what is dropped while it is open is cancelled there.
async fn wait(
    mut exchange: Exchange,
    mut frames: Frames,
    mut waked: oneshot::Receiver<()>,
) -> Option<(Exchange, Frames)> {
    let until = Instant::now() + PARK_MAX;
    frames.rest(true);
    let (mut ahead, mut ended) = (VecDeque::new(), false);
    loop {
        let Far::Lent(lent) = &mut exchange.far else {
            return None;
        };
        let is_heard = !ended && ahead.len() < AHEAD_MAX;
        let message = tokio::select! {
            biased;
            woken = &mut waked => {
                if woken.is_err() {
                    lent.give_up().await;
                    return None;
                }
                frames.rest(false);
                return Some((exchange, Frames::Ahead(Box::new((ahead, frames)))));
            }
            () = sleep_until(until) => {
                lent.give_up().await;
                return None;
            }
            said = lent.aside(), if is_heard => Some(said),
            message = frames.next(), if is_heard => message,
        };
        match message {
            Some(Ok(bytes)) => {
                if !lent.hear(&bytes).await {
                    if is_progress(&bytes) {
                        // Newer progress replaces older.
                        ahead.retain(|kept| !matches!(kept, Ok(kept) if is_progress(kept)));
                    }
                    ahead.push_back(Ok(bytes));
                }
            }
            Some(Err(failure)) => {
                ended = true;
                ahead.push_back(Err(failure));
            }
            None => ended = true,
        }
    }
}

fn is_progress(bytes: &Bytes) -> bool {
    Message::parse(bytes.clone()).is_ok_and(|message| &*message.method == "notifications/progress")
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
