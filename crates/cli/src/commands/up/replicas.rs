//! The other replicas: who they are, and where they come in.

use std::sync::Arc;

use gateway::{Doors, Incarnation, PeerDoor, Peering, Replicas};
use tokio::task::JoinSet;
use transport::inbound::{Bound, Limits, ListenSpec, drain};

use super::UpArgs;
use super::stop::Stop;

/// Bytes of a request's head: what a client may send, and what one replica tells another beside it.
const HEADER_BYTES_MAX: usize = 72 * 1024;

/// Joins the others; they are not greeted yet.
pub(super) fn join(args: &UpArgs, own: Incarnation) -> Result<Arc<Replicas>, Stop> {
    if args.peers.is_empty() {
        return Ok(Replicas::alone(own));
    }
    let Some(key) = &args.peer_key else {
        let reason = "--peers needs --peer-key env:NAME or file:PATH: without a key, whoever reaches --peer-listen could act as a replica";
        return Err(reason.to_owned().into());
    };
    if args.peer_listen.is_none() {
        let reason =
            "--peers needs --peer-listen ADDR: the other replicas pass on what belongs to this one";
        return Err(reason.to_owned().into());
    }
    let peering = Peering {
        key: key.ring("--peer-key")?,
        peers: args.peers.clone(),
    };
    Ok(Replicas::join(own, peering))
}

/// Takes the address at which the others come in, if there is one.
pub(super) async fn bind(args: &UpArgs) -> Result<Option<Bound>, Stop> {
    let Some(address) = args.peer_listen else {
        return Ok(None);
    };
    let spec = ListenSpec {
        address,
        tls: None,
        listener: 0,
    };
    let bound = transport::inbound::bind(&spec).await;
    bound
        .map(Some)
        .map_err(|error| Stop::Reason(format!("--peer-listen: {error}")))
}

/// Lets the others in, until the trigger is pulled.
pub(super) fn serve(bound: Bound, doors: Arc<Doors>, tasks: &mut JoinSet<()>) -> drain::Trigger {
    let (trigger, watch) = drain::channel();
    let limits = Limits {
        header_bytes: HEADER_BYTES_MAX,
        ..Limits::default()
    };
    let door = PeerDoor::new(doors);
    tasks.spawn(transport::inbound::serve(bound, door, limits.into(), watch));
    trigger
}
