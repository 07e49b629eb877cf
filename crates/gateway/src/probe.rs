//! What a simulation looks at from inside: what is open, what is kept, and chance that comes from a seed.

use std::any::Any;
use std::sync::{Arc, Weak};

use crate::gateway::Gateway;

pub use crate::chance::seed;

/// What is open and kept in a gateway.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Sessions of legacy clients.
    pub sessions: usize,
    /// Servers' sessions behind them.
    pub legs: usize,
    /// Requests of legacy clients that wait for an answer.
    pub requests: usize,
    /// Questions put to legacy clients in their calls.
    pub questions: usize,
    /// Calls of modern clients that wait for answers.
    pub parked: usize,
    /// Legacy servers' sessions that rest, or are shared, behind modern clients.
    pub lent: usize,
}

/// Something that must be gone when the gateway is.
#[derive(Debug, Clone)]
pub struct Kept {
    /// What it is.
    pub what: &'static str,
    thing: Weak<dyn Any + Send + Sync>,
}

impl Kept {
    pub(crate) fn new<T: Any + Send + Sync>(what: &'static str, thing: &Arc<T>) -> Self {
        let thing: Arc<dyn Any + Send + Sync> = thing.clone();
        Self {
            what,
            thing: Arc::downgrade(&thing),
        }
    }

    /// Whether it is still there.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.thing.strong_count() > 0
    }
}

impl Gateway {
    /// What is open now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            parked: self.parking.count(),
            ..Counts::default()
        };
        for session in self.sessions.all() {
            counts.sessions += 1;
            let (legs, requests, questions) = session.counts();
            counts.legs += legs;
            counts.requests += requests;
            counts.questions += questions;
        }
        for kept in self.table().servers.values() {
            counts.lent += kept.server.leases.count();
        }
        counts
    }

    /// What must be gone when this is.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        let mut kept = Vec::new();
        for session in self.sessions.all() {
            let legs = session.legs();
            kept.extend(legs.iter().map(|leg| Kept::new("a server's session", leg)));
            kept.push(Kept::new("a session", &session));
        }
        for server in self.table().servers.values() {
            kept.push(Kept::new("a server", &server.server));
        }
        kept
    }
}
