//! Listening: a connection from accept to end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
pub use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};

use crate::body::Body;
use crate::socket;

mod bind;
mod connection;
pub mod drain;
mod limits;
mod owner;
mod pulse;
mod read_body;

pub use self::bind::{Bound, ListenError, ListenSpec, bind};
pub use self::limits::Limits;
pub use self::read_body::{ReadError, read_body};
pub use crate::tls::{Identity, identity};

/// The pause after the system could not give us a connection (usually: too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request.
    ///
    /// # Cancellation
    /// Dropped at once when an HTTP/1 client closes its connection, or an HTTP/2 client resets the stream, before the answer's head is ready.
    /// After that the answer's body is dropped instead.
    fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Who is at the other end of a request's connection, and at which end of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// True when the connection is encrypted.
    pub tls: bool,
    /// The number of the listener, as given at `bind`.
    pub listener: usize,
}

/// Serves an address until drained: returns when the last connection has ended or been cut.
///
/// # Cancellation
/// Every connection is cut.
pub async fn serve<S: Service>(
    bound: Bound,
    service: Arc<S>,
    limits: Arc<Limits>,
    drain: drain::Watch,
) {
    let Some(running) = drain.run() else {
        return;
    };
    let shared = Arc::new(connection::Shared {
        service,
        limits,
        drain: drain.clone(),
    });
    let mut connections = JoinSet::new();
    loop {
        let full = connections.len() >= shared.limits.connections_max;
        tokio::select! {
            () = drain.draining() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = bound.socket.accept(), if !full => match accepted {
                Ok((stream, address)) => {
                    let (tls, peer) = meet(&bound, &stream, address);
                    connections.spawn(connection::run(stream, tls, peer, Arc::clone(&shared)));
                }
                Err(error) => not_accepted(&bound, &error).await,
            },
        }
    }
    // From here on new clients are refused, not left waiting.
    drop(bound);
    finish(connections, &drain).await;
    drop(running);
}

/// As [`serve`], for clients in the same process.
///
/// # Cancellation
/// Every connection is cut.
#[cfg(feature = "simulated")]
pub async fn serve_simulated<S: Service>(
    mut door: crate::simulated::Door,
    service: Arc<S>,
    limits: Arc<Limits>,
    drain: drain::Watch,
) {
    let Some(running) = drain.run() else {
        return;
    };
    let shared = Arc::new(connection::Shared {
        service,
        limits,
        drain: drain.clone(),
    });
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let peer = Peer {
        address: nowhere,
        local: nowhere,
        tls: false,
        listener: 0,
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = drain.draining() => break,
            Some(ended) = connections.join_next() => report(ended),
            Some(wire) = door.accept() => {
                connections.spawn(connection::run_simulated(wire, peer, Arc::clone(&shared)));
            }
        }
    }
    drop(door);
    finish(connections, &drain).await;
    drop(running);
}

fn meet(
    bound: &Bound,
    stream: &TcpStream,
    address: SocketAddr,
) -> (Option<Arc<rustls::ServerConfig>>, Peer) {
    socket::tune(stream);
    let peer = Peer {
        address,
        local: stream.local_addr().unwrap_or(bound.local),
        tls: bound.spec.tls.is_some(),
        listener: bound.spec.listener,
    };
    (bound.spec.tls.as_ref().map(Identity::server), peer)
}

/// A client that is gone again is nobody's problem; a system without resources needs a moment.
async fn not_accepted(bound: &Bound, error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    ) {
        return;
    }
    tracing::warn!(address = %bound.local, %error, "cannot accept connections for a moment");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn finish(mut connections: JoinSet<()>, drain: &drain::Watch) {
    let ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    tokio::select! {
        () = ended => return,
        () = drain.cutting() => {}
    }
    tracing::info!(
        connections = connections.len(),
        "connections cut at the end of the drain"
    );
    connections.shutdown().await;
}

/// A panic is a mistake of ours: it has ended one connection and must be heard of.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended by a mistake of this program");
    }
}
