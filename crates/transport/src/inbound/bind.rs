//! Taking an address to listen on.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::tls::Identity;

/// Connections the system holds for us until we accept them.
const BACKLOG: u32 = 4096;

/// What to listen on.
#[derive(Debug, Clone)]
pub struct ListenSpec {
    /// The address; port 0 for any free one.
    pub address: SocketAddr,
    /// With TLS: what to show to clients.
    pub tls: Option<Identity>,
    /// The caller's number of this listener, handed to every request in `Peer`.
    pub listener: usize,
}

/// An address that is ours. Clients that connect wait until it is served.
#[derive(Debug)]
pub struct Bound {
    pub(super) socket: TcpListener,
    pub(super) local: SocketAddr,
    pub(super) spec: ListenSpec,
}

impl Bound {
    /// The address, with the port the system chose if it was left open.
    pub const fn local_address(&self) -> SocketAddr {
        self.local
    }
}

/// Why an address cannot be listened on. The operator must act.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else has the port.
    #[error(
        "cannot listen on {address}: port {port} is in use by {owner}; stop it, or choose another port for this listener",
        port = address.port()
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Who has it, as far as the system tells.
        owner: String,
    },
    /// The port needs a right we do not have.
    #[error(
        "cannot listen on {address}: port {port} needs a right this process does not have; choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE",
        port = address.port()
    )]
    NotPermitted {
        /// The address.
        address: SocketAddr,
    },
    /// The address belongs to no interface of this machine.
    #[error(
        "cannot listen on {address}: this machine has no address {ip}; use one it has, or `0.0.0.0` for all",
        ip = address.ip()
    )]
    NotOurs {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses for another reason.
    #[error("cannot listen on {address}: {reason}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
}

/// Takes the address. From here on clients can connect, though nobody answers before `serve`.
///
/// # Errors
/// The address cannot be had; the text says why and what to change.
pub async fn bind(spec: &ListenSpec) -> Result<Bound, ListenError> {
    let address = spec.address;
    let socket = listen(address).map_err(|reason| match reason.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse {
            address,
            owner: super::owner::of_port(address.port())
                .unwrap_or_else(|| "another program".to_owned()),
        },
        io::ErrorKind::PermissionDenied => ListenError::NotPermitted { address },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        _ => ListenError::Refused { address, reason },
    })?;
    let local = socket
        .local_addr()
        .map_err(|reason| ListenError::Refused { address, reason })?;
    Ok(Bound {
        socket,
        local,
        spec: spec.clone(),
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of a former life in TIME_WAIT do not hold the port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
