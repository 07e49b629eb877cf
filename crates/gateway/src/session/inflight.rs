//! The requests of a session that are under way, and those whose client has hung up.
//!
//! In the legacy era a closed connection is no cancellation: the client may still cancel by id.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use futures_util::future::join_all;
use protocol::json_rpc::Id;
use tokio::sync::oneshot;

use super::{Leg, Session};

/// Requests of one session under way at once.
pub(crate) const INFLIGHT_MAX: usize = 256;

/// The requests of one session, by the client's id.
#[derive(Debug, Default)]
pub(super) struct Inflight(HashMap<Id, Call>);

#[derive(Debug)]
struct Call {
    /// Tells the request that the client cancels it; none once the client has hung up.
    signal: Option<oneshot::Sender<()>>,
    /// Where it was sent, and our number for it there.
    ///
    /// Nobody waits for it there any more once the leg is gone, so this does not keep the leg.
    sent: Option<(Weak<Leg>, u64)>,
}

/// One request under way. Dropped before it is over, its client has hung up.
#[derive(Debug)]
pub(crate) struct Ticket {
    session: Arc<Session>,
    id: Id,
    over: bool,
}

impl Inflight {
    fn begin(&mut self, id: &Id) -> Option<oneshot::Receiver<()>> {
        if self.0.len() >= INFLIGHT_MAX {
            self.0.retain(|_, call| call.signal.is_some());
        }
        let taken = self.0.get(id).is_some_and(|call| call.signal.is_some());
        if taken || self.0.len() >= INFLIGHT_MAX {
            return None;
        }
        let (signal, cancelled) = oneshot::channel();
        self.0.insert(
            id.clone(),
            Call {
                signal: Some(signal),
                sent: None,
            },
        );
        Some(cancelled)
    }

    /// Requests whose client waits.
    #[cfg(feature = "simulated")]
    pub(super) fn waiting(&self) -> usize {
        self.0.values().filter(|call| call.signal.is_some()).count()
    }

    fn hung_up(&mut self, id: &Id) {
        match self.0.get_mut(id) {
            Some(call) if call.sent.is_some() => call.signal = None,
            Some(_) | None => drop(self.0.remove(id)),
        }
    }

    /// Cancels a request: tells it, and gives where to say so to the server.
    ///
    /// The request may be dropped before it hears of this, when its client hangs up at the same moment; so it is not left to it.
    fn cancel(&mut self, id: &Id) -> Option<(Weak<Leg>, u64)> {
        let call = self.0.remove(id)?;
        if let Some(signal) = call.signal {
            let _already_over = signal.send(());
        }
        call.sent
    }
}

impl Session {
    /// Opens a request; the receiver fires when the client cancels it.
    ///
    /// `None` when the id is already in use or too many are open.
    pub(crate) fn begin(self: &Arc<Self>, id: &Id) -> Option<(Ticket, oneshot::Receiver<()>)> {
        let cancelled = self.state().inflight.begin(id)?;
        Some((
            Ticket {
                session: self.clone(),
                id: id.clone(),
                over: false,
            },
            cancelled,
        ))
    }

    /// The client no longer wants an answer to `id`.
    pub(crate) async fn cancel(&self, id: &Id) {
        let sent = self.state().inflight.cancel(id);
        if let Some((leg, number)) = sent
            && let Some(leg) = leg.upgrade()
        {
            leg.conversation().cancel(number).await;
        }
    }
}

impl Session {
    /// The client is gone: no server needs to go on for it.
    pub(super) async fn cancel_all(&self) {
        let calls = std::mem::take(&mut self.state().inflight.0);
        let sent = calls.into_values().filter_map(|call| {
            if let Some(signal) = call.signal {
                let _already_over = signal.send(());
            }
            let (leg, number) = call.sent?;
            Some((leg.upgrade()?, number))
        });
        let telling = sent.map(|(leg, number)| async move {
            leg.conversation().cancel(number).await;
        });
        join_all(telling).await;
    }
}

impl Ticket {
    /// It was sent to a server under this number.
    pub(crate) fn sent(&self, leg: &Arc<Leg>, number: u64) {
        if let Some(call) = self.session.state().inflight.0.get_mut(&self.id) {
            call.sent = Some((Arc::downgrade(leg), number));
        }
    }

    /// It has been answered, or never will be.
    pub(crate) const fn over(&mut self) {
        self.over = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.session.state();
        if !self.over {
            state.inflight.hung_up(&self.id);
            return;
        }
        drop(state.inflight.0.remove(&self.id));
        let withdrawn = state.questions.call_over(&self.id);
        drop(state);
        for notice in withdrawn {
            self.session.deliver(notice);
        }
    }
}
