//! Ids of tasks as clients know them: sealed for one caller of one toolset, and naming their server.

use std::sync::Arc;

use auth::{Caller, Purpose};

use crate::handles::Handles;
use crate::table::Toolset;

/// Whose tasks are spoken of.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    handles: Arc<Handles>,
    caller: Caller,
    toolset: Arc<str>,
}

/// Between the server's short name and its own id; no name of a server holds it.
const BETWEEN: char = '~';

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
        let plain = format!("{label}{BETWEEN}{own}");
        let (caller, toolset) = (&self.caller, &self.toolset);
        self.handles
            .seal_same(Purpose::Task, caller, toolset, plain.as_bytes())
    }

    /// The server's short name and its own id behind a task that this caller was given.
    pub(crate) fn own(&self, shown: &str) -> Option<(String, String)> {
        let (caller, toolset) = (&self.caller, &self.toolset);
        let plain = self
            .handles
            .open(Purpose::Task, caller, toolset, shown.as_bytes())
            .ok()?;
        let plain = String::from_utf8(plain).ok()?;
        let (label, own) = plain.split_once(BETWEEN)?;
        Some((label.to_owned(), own.to_owned()))
    }
}
