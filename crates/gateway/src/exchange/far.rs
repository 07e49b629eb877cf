//! The server's side of a call, and what is kept of it while the call is under way.

use std::sync::Arc;

use super::lent::Lent;
use super::rounds::Rounds;
use crate::session::{Leg, Session};

/// The server's side of a call.
#[derive(Debug)]
pub(crate) enum Far {
    /// A modern server behind a modern client: nothing is kept.
    Stateless,
    /// A legacy server's session behind the client's own.
    Leg(Arc<Session>, Arc<Leg>),
    /// A modern server behind a legacy client: what it wants to know is asked in requests, and the answers make another round.
    Rounds(Box<Rounds>),
    /// A legacy server behind a modern client: what it asks ends the request, and the call waits for the next one.
    Lent(Box<Lent>),
}

impl Far {
    /// Whether the answer is said in another era, and so is looked at as a whole.
    pub(super) const fn is_bridged(&self) -> bool {
        matches!(self, Self::Rounds(_) | Self::Lent(_))
    }
}
