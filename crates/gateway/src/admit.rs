//! May it happen: a passed check becomes a [`Permit`], and only a permit reaches a server.

use std::sync::Arc;

use resources::Access;

use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::server::Server;
use crate::table::Toolset;

/// Proof that this call may reach this server. Taken by value: one permit, one call.
#[derive(Debug)]
pub(crate) struct Permit {
    server: Arc<Server>,
}

impl Permit {
    /// Where the call may go.
    pub(crate) const fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

/// Whether a caller may come in at all.
///
/// # Errors
/// [`Refusal::Unauthenticated`]: nothing fails open.
pub(crate) const fn enter(caller: &Caller, toolset: &Toolset) -> Result<(), Refusal> {
    match (caller, toolset.access) {
        // An omitted access is `Anonymous` here, because the start refuses it off loopback (authority, "Local mode").
        (_, None | Some(Access::Anonymous)) | (Caller::Key { .. }, Some(Access::Authenticated)) => {
            Ok(())
        }
        (Caller::Anonymous, Some(Access::Authenticated | Access::Policy)) => {
            Err(Refusal::Unauthenticated)
        }
        // What no rule allows is denied, and there are no rules yet.
        (Caller::Key { .. }, Some(Access::Policy)) => Err(Refusal::Denied),
    }
}

/// Decides one call of a caller to one server of a toolset.
///
/// # Errors
/// As [`enter`].
pub(crate) fn decide(
    caller: &Caller,
    toolset: &Toolset,
    server: &Arc<Server>,
) -> Result<Permit, Refusal> {
    enter(caller, toolset)?;
    Ok(Permit {
        server: server.clone(),
    })
}
