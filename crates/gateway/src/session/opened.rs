//! A session as it is made: by `initialize`, or from a dead replica's.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use resources::ServerId;

use super::{Client, Details, Records, Session, Subscription, Told};
use crate::clock::unix_now;
use crate::identify::Caller;
use crate::table::Epochs;

/// Servers' sessions that an adopted session may take up again.
const FORMER_MAX: usize = 1024;

/// Whose a session is, and the handle it is known by.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) handle: Box<str>,
    pub(crate) caller: Caller,
    pub(crate) toolset: Arc<str>,
    /// Where it is written what another process would need.
    pub(crate) records: Option<Arc<Records>>,
}

impl Session {
    /// A session with nothing in it; `now` in seconds since the sessions' start.
    pub(crate) fn new(
        told: &Told,
        holder: Holder,
        client: Client,
        now: u64,
        heard: Epochs,
    ) -> Arc<Self> {
        let left = told.expires_at.saturating_sub(unix_now().as_secs());
        let Holder {
            handle,
            caller,
            toolset,
            records,
        } = holder;
        Arc::new_cyclic(|me| Self {
            id: told.id,
            handle,
            caller,
            toolset,
            version: client.version,
            capabilities: client.capabilities,
            client_info: client.client_info,
            used: now.into(),
            ends: now.saturating_add(left),
            expires_at: told.expires_at,
            noted: now.into(),
            records,
            me: me.clone(),
            on_line: AtomicBool::new(false),
            heard: Arc::new(Mutex::new(heard)),
            state: Mutex::default(),
            following: tokio::sync::Mutex::default(),
        })
    }

    /// Takes over what the client set while it was another process's, at the servers there are now.
    pub(crate) fn inherit<'s>(
        &self,
        details: Details,
        servers: &(impl Iterator<Item = &'s ServerId> + Clone),
    ) {
        let mut state = self.state();
        state.log_level = details.log_level;
        state.former = details.upstreams;
        state.former.truncate(FORMER_MAX);
        for (shown, server, own) in details.subscriptions {
            let mut known = servers.clone();
            if let Some(server) = known.find(|known| known.as_str() == &*server) {
                let server = server.clone();
                state.subscriptions.push(Subscription {
                    shown,
                    server,
                    own,
                    _held: None,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::mcp::Version;

    use super::*;
    use crate::handles::Incarnation;

    /// What an idle session of a usual client may take, in bytes.
    const IDLE_BYTES_MAX: usize = 1024;

    #[test]
    fn an_idle_session_takes_at_most_1_kib() {
        let client = Client {
            version: Version::V2025_11_25,
            capabilities:
                r#"{"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"sampling":{}}"#
                    .into(),
            client_info: r#"{"name":"a-usual-client","version":"1.2.3"}"#.into(),
        };
        let told = Told::new(Incarnation([1; 8]), u64::MAX, &client);
        let handle = crate::handles::Handles::fleeting().seal(
            auth::Purpose::Session,
            &Caller::Anonymous,
            "main",
            &told.plain(),
        );
        let heap = handle.len() + client.capabilities.len() + client.client_info.len();
        let heard = size_of::<crate::session::Heard>() + 2 * size_of::<usize>();
        let whole = size_of::<Session>() + 2 * size_of::<usize>() + heap + heard;
        assert!(whole <= IDLE_BYTES_MAX, "{whole}, of that {heap} in texts");
    }
}
