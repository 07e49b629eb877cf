//! Whose a legacy session is: opened here, found here, passed on to its owner, or adopted from a dead one.

use std::sync::Arc;

use auth::Purpose;
use http::Response;
use protocol::mcp::Era;
use store::StoreError;
use transport::body::Body;

use crate::clock::unix_now;
use crate::failure::UpstreamFailure;
use crate::gateway::Gateway;
use crate::handles::{self, Incarnation};
use crate::identify::Caller;
use crate::refuse::Refusal;
use crate::replica::{Errand, Member, Missed};
use crate::server::Server;
use crate::session::{
    AGE_MAX, Client, Details, Holder, IDLE_MAX, LAST_USE_GRAIN, Records, Session, SessionId, Told,
};
use crate::table::{Epochs, Toolset};

/// Opens a session.
///
/// # Errors
/// [`Refusal::TooManySessions`]; [`Refusal::NoRecord`] when its client says more of itself than the handle can hold, and that cannot be stored.
pub(crate) async fn open(
    gateway: &Gateway,
    caller: Caller,
    toolset: &Toolset,
    client: Client,
) -> Result<Arc<Session>, Refusal> {
    let handles = gateway.handles();
    let expires_at = unix_now().saturating_add(AGE_MAX).as_secs();
    let told = Told::new(handles.own(), expires_at, &client);
    let handle = handles.seal(Purpose::Session, &caller, &toolset.name, &told.plain());
    let holder = Holder {
        handle: handle.into(),
        caller,
        toolset: toolset.name.clone(),
        records: gateway.records().cloned(),
    };
    let heard = toolset.changes.now(Era::Legacy);
    let session = Session::new(&told, holder, client, gateway.sessions.now(), heard);
    let session = gateway.sessions.take_in(session)?;
    if let (None, Some(records)) = (&told.client, gateway.records())
        && let Err(error) = records.save_now(&session).await
    {
        gateway.sessions.close(&session);
        return Err(no_record(&error));
    }
    Ok(session)
}

/// The session with this handle, if it is this caller's and this toolset's: one of this process, or one of a dead process, adopted.
///
/// # Errors
/// [`Refusal::UnknownSession`], whichever it is not; [`Refusal::NoRecord`] when that cannot be told.
pub(crate) async fn find(
    gateway: &Arc<Gateway>,
    handle: &[u8],
    caller: &Caller,
    toolset: &Toolset,
) -> Result<Arc<Session>, Refusal> {
    if let Some(session) = gateway.sessions.find(handle, caller, &toolset.name)? {
        return Ok(session);
    }
    // Without a store nobody knows whether it was ended.
    let records = gateway.records().ok_or(Refusal::UnknownSession)?;
    let opened = gateway
        .handles()
        .open(Purpose::Session, caller, &toolset.name, handle);
    let told = opened.ok().and_then(|plain| Told::read(&plain));
    let told = told.ok_or(Refusal::UnknownSession)?;
    // What this process has opened and does not know has ended.
    if told.owner == gateway.handles().own() || told.expires_at <= unix_now().as_secs() {
        return Err(Refusal::UnknownSession);
    }
    if gateway.replicas().still_lives(told.owner).await {
        // Another replica took its owner for dead, and is wrong.
        return Err(Refusal::Lost);
    }
    let legacy = Legacy {
        handle,
        caller,
        toolset,
        told,
    };
    legacy.adopt(gateway, records).await
}

/// Makes sure that a session's handle is dead everywhere and for good, before its client hears so (authority, "Sealed handles" 4).
///
/// # Errors
/// [`Refusal::NoRecord`] when that cannot be written.
pub(crate) async fn end(gateway: &Gateway, session: &Session) -> Result<(), Refusal> {
    let Some(records) = gateway.records() else {
        return Ok(());
    };
    let ended = records.end(session).await;
    ended.map_err(|error| no_record(&error))
}

/// What a dead process has left of a session.
struct Legacy<'a> {
    handle: &'a [u8],
    caller: &'a Caller,
    toolset: &'a Toolset,
    told: Told,
}

impl Legacy<'_> {
    async fn adopt(
        self,
        gateway: &Arc<Gateway>,
        records: &Arc<Records>,
    ) -> Result<Arc<Session>, Refusal> {
        let read = records.read(self.told.id).await;
        let read = read.map_err(|error| no_record(&error))?;
        let (mut last_use, mut details) =
            (self.told.expires_at.saturating_sub(AGE_MAX.as_secs()), None);
        if let Some(read) = read {
            if gateway.replicas().still_lives(read.owner).await {
                return Err(Refusal::Lost);
            }
            if read.ended {
                return Err(Refusal::UnknownSession);
            }
            last_use = read.last_use;
            details = read.details(gateway.handles(), self.caller, &self.toolset.name);
        }
        let idle = unix_now().as_secs().saturating_sub(last_use);
        if idle > (IDLE_MAX + LAST_USE_GRAIN).as_secs() {
            return Err(Refusal::UnknownSession);
        }
        let mut details = details.unwrap_or_default();
        let session = self.session(gateway, records, &mut details)?;
        let adopted = gateway.sessions.take_in(session.clone())?;
        if !Arc::ptr_eq(&adopted, &session) {
            // Two requests came at once.
            return Ok(adopted);
        }
        take_up(gateway, &adopted, self.toolset, details);
        records
            .save_now(&adopted)
            .await
            .map_err(|error| no_record(&error))?;
        tracing::info!(session = ?adopted.id, from = ?self.told.owner, "a session was adopted");
        Ok(adopted)
    }

    fn session(
        &self,
        gateway: &Gateway,
        records: &Arc<Records>,
        details: &mut Details,
    ) -> Result<Arc<Session>, Refusal> {
        let client = self.told.client.clone().or_else(|| details.client.take());
        // A record that was never written, or is no record of this caller's.
        let (capabilities, client_info) = client.ok_or(Refusal::UnknownSession)?;
        let client = Client {
            version: self.told.version,
            capabilities,
            client_info,
        };
        let handle = std::str::from_utf8(self.handle).map_err(|_| Refusal::UnknownSession)?;
        let holder = Holder {
            handle: handle.into(),
            caller: self.caller.clone(),
            toolset: self.toolset.name.clone(),
            records: Some(records.clone()),
        };
        let heard = unheard(self.toolset);
        Ok(Session::new(
            &self.told,
            holder,
            client,
            gateway.sessions.now(),
            heard,
        ))
    }
}

/// Nobody knows what the client has heard of lists that changed meanwhile: it is told once of each list there is.
fn unheard(toolset: &Toolset) -> Epochs {
    let now = toolset.changes.now(Era::Legacy);
    let offers = toolset.view(Era::Legacy).offers;
    let before = |offered: bool, now: u64| if offered { u64::MAX } else { now };
    Epochs {
        tools: before(offers.tools, now.tools),
        prompts: before(offers.prompts, now.prompts),
        resources: before(offers.resources, now.resources),
    }
}

/// Takes over what the client set, and the servers' sessions: what they say by themselves must reach the client's next stream.
fn take_up(gateway: &Arc<Gateway>, session: &Arc<Session>, toolset: &Toolset, details: Details) {
    let servers = toolset.bindings.iter().map(|binding| &binding.kept.server);
    let wanted: Vec<_> = servers
        .filter(|server| details.names(&server.id))
        .cloned()
        .collect();
    let ids = toolset
        .bindings
        .iter()
        .map(|binding| &binding.kept.server.id);
    session.inherit(details, &ids);
    for server in wanted {
        let session = session.clone();
        gateway.later(async move {
            if let Err(failure) = revive(&session, &server).await {
                tracing::debug!(%failure, "what a client had at a server could not be taken up");
            }
        });
    }
}

/// Has a server tell again what the client wants to hear.
async fn revive(session: &Arc<Session>, server: &Arc<Server>) -> Result<(), UpstreamFailure> {
    server.settled(Era::Legacy).await;
    if server.era_for(Era::Legacy) == Era::Modern {
        session.follow(server).await;
        return Ok(());
    }
    let leg = session.leg(server).await?;
    if leg.exclusive {
        return Ok(());
    }
    leg.listen();
    for (shown, own) in session.subscriptions_of(&server.id) {
        let held = server.hold(&own).await?;
        // There is room: it was the client's already.
        drop(session.subscribe(&shown, &server.id, &own, Some(held)));
    }
    Ok(())
}

fn no_record(error: &StoreError) -> Refusal {
    tracing::warn!(%error, "the record of a session cannot be read or written");
    Refusal::NoRecord
}

/// Has the replica that a handle belongs to answer; `None` when that is this one, and when the handle is no good.
///
/// `errand.caller` must be who the client is: a handle in other hands does not open, and is refused here.
///
/// # Errors
/// [`Refusal::Lost`] when the owner died over the request.
pub(crate) async fn elsewhere(
    gateway: &Gateway,
    handle: &[u8],
    toolset: &Toolset,
    errand: &Errand<'_>,
) -> Result<Option<Response<Body>>, Refusal> {
    let replicas = gateway.replicas();
    if replicas.is_alone() || gateway.sessions.knows(handle) {
        return Ok(None);
    }
    let opened = gateway
        .handles()
        .open(Purpose::Session, errand.caller, &toolset.name, handle);
    // A line of 2024-11-05 has an owner as well, and nothing else in common with a session.
    let Some(owner) = opened.as_deref().ok().and_then(handles::owner) else {
        return Ok(None);
    };
    if owner == gateway.handles().own() {
        return Ok(None);
    }
    let told = opened.ok().and_then(|plain| Told::read(&plain));
    // Each round finds one replica dead that was taken for living.
    while let Some(member) = keeper(gateway, owner, told.as_ref()).await? {
        match replicas.carry(&member, errand).await {
            Ok(answer) => return Ok(Some(answer)),
            // A replica that cannot be reached is forgotten: the next one inherits.
            Err(Missed::Unsent(failure)) if !replicas.lives(&member) => {
                tracing::info!(%failure, "a replica is gone");
            }
            Err(missed) => {
                tracing::warn!(failure = %missed, "a request could not be passed on");
                return Err(Refusal::Lost);
            }
        }
    }
    Ok(None)
}

/// The other replica that has a session: its owner, who has adopted it, or who is to; `None` for this one.
async fn keeper(
    gateway: &Gateway,
    owner: Incarnation,
    told: Option<&Told>,
) -> Result<Option<Arc<Member>>, Refusal> {
    let replicas = gateway.replicas();
    if let Some(member) = replicas.living(owner).await {
        return Ok(Some(member));
    }
    let (Some(told), Some(records)) = (told, gateway.records()) else {
        // Nobody can adopt it.
        return Ok(None);
    };
    match adopter(gateway, records, told.id).await? {
        Some(adopter) if adopter == gateway.handles().own() => Ok(None),
        Some(adopter) => match replicas.living(adopter).await {
            Some(member) => Ok(Some(member)),
            None => Ok(replicas.heir(&told.id.0)),
        },
        None => Ok(replicas.heir(&told.id.0)),
    }
}

/// Who serves a session, by its record.
async fn adopter(
    gateway: &Gateway,
    records: &Arc<Records>,
    id: SessionId,
) -> Result<Option<Incarnation>, Refusal> {
    if let Some(known) = records.known_owner(id)
        && gateway.replicas().living(known).await.is_some()
    {
        return Ok(Some(known));
    }
    let read = records.read(id).await.map_err(|error| no_record(&error))?;
    Ok(read.map(|read| read.owner))
}
