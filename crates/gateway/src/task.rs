//! Ids of tasks as clients know them: sealed for one caller of one toolset.
//!
//! A modern server's task names its server; a task that is held here, for a legacy server, names the process that holds it.

use std::sync::Arc;

use auth::{Caller, Purpose};

use crate::handles::{Handles, INCARNATION_BYTES, Incarnation};
use crate::table::Toolset;

/// Whose tasks are spoken of.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    handles: Arc<Handles>,
    caller: Caller,
    toolset: Arc<str>,
}

/// Where a task is held in its process.
pub(crate) type Place = [u8; PLACE_BYTES];

/// A task that a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldId {
    /// The process.
    pub(crate) owner: Incarnation,
    /// Where in it.
    pub(crate) place: Place,
}

/// Between the server's short name and its own id; no name of a server holds it.
const BETWEEN: char = '~';
/// What stands before a process instead of a server's short name, which is never empty.
const HELD: &[u8] = b"~";
const PLACE_BYTES: usize = 16;

impl Tasks {
    /// The tasks of a caller of a toolset.
    pub(crate) fn of(caller: &Caller, toolset: &Toolset) -> Self {
        Self {
            handles: toolset.handles.clone(),
            caller: caller.clone(),
            toolset: toolset.name.clone(),
        }
    }

    /// A server's task as the client knows it; the same task always looks the same.
    pub(crate) fn shown(&self, label: &str, own: &str) -> String {
        self.seal(format!("{label}{BETWEEN}{own}").as_bytes())
    }

    /// The server's short name and its own id behind a task that this caller was given.
    pub(crate) fn own(&self, shown: &str) -> Option<(String, String)> {
        let plain = String::from_utf8(self.open(shown)?).ok()?;
        let (label, own) = plain.split_once(BETWEEN)?;
        (!label.is_empty()).then(|| (label.to_owned(), own.to_owned()))
    }

    /// A task that is held for a server, as the client knows it.
    pub(crate) fn shown_held(&self, id: &HeldId) -> String {
        self.seal(&[HELD, &id.owner.0, &id.place].concat())
    }

    /// The task behind one that this caller was given, if it is held for a server.
    pub(crate) fn held(&self, shown: &str) -> Option<HeldId> {
        let plain = self.open(shown)?;
        let (owner, place) = plain
            .strip_prefix(HELD)?
            .split_first_chunk::<INCARNATION_BYTES>()?;
        Some(HeldId {
            owner: Incarnation(*owner),
            place: place.try_into().ok()?,
        })
    }

    fn seal(&self, plain: &[u8]) -> String {
        let (caller, toolset) = (&self.caller, &self.toolset);
        self.handles
            .seal_same(Purpose::Task, caller, toolset, plain)
    }

    fn open(&self, shown: &str) -> Option<Vec<u8>> {
        let (caller, toolset) = (&self.caller, &self.toolset);
        self.handles
            .open(Purpose::Task, caller, toolset, shown.as_bytes())
            .ok()
    }
}
