//! A new connection: name, TCP, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::failure::causes;
use super::{Awaited, Failure};
use crate::socket::{self, Socket};
use crate::tls;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// The addresses of a name as the system knows them now, within the wait.
///
/// # Errors
/// The name has none, or the system cannot tell in time.
pub async fn resolve(host: &str, port: u16, wait: Duration) -> io::Result<Vec<SocketAddr>> {
    let found = timeout(wait, lookup_host((host, port))).await;
    let found = found.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    Ok(found?.collect())
}

/// How to reach one server.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) server: Arc<str>,
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) tls: Option<Tls>,
}

#[derive(Debug)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

/// How to know that it is the server.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) client: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

/// A connection and what is spoken on it.
pub(super) struct Dialed {
    pub(super) socket: Socket,
    pub(super) is_http2: bool,
}

impl Dialer {
    /// Connects within the wait.
    pub(super) async fn dial(&self, wait: Duration) -> Result<Dialed, Failure> {
        timeout(wait, self.connect(wait))
            .await
            .unwrap_or_else(|_| Err(self.too_slow(wait)))
    }

    pub(super) fn too_slow(&self, wait: Duration) -> Failure {
        Failure::Timeout {
            server: Arc::clone(&self.server),
            awaited: Awaited::Connect,
            wait,
        }
    }

    async fn connect(&self, wait: Duration) -> Result<Dialed, Failure> {
        #[cfg(feature = "simulated")]
        if let Host::Name(name) = &self.host
            && let Some(connecting) = crate::simulated::Network::call(name)
        {
            let wire = connecting.await.map_err(|error| Failure::Connect {
                server: Arc::clone(&self.server),
                reason: error.to_string(),
            })?;
            return Ok(Dialed {
                socket: Socket::Simulated(wire),
                is_http2: false,
            });
        }
        let stream = self.tcp(wait).await.map_err(|error| Failure::Connect {
            server: Arc::clone(&self.server),
            reason: error.to_string(),
        })?;
        socket::tune(&stream);
        let Some(tls) = &self.tls else {
            return Ok(Dialed {
                socket: Socket::Plain(stream),
                is_http2: false,
            });
        };
        let stream = TlsConnector::from(Arc::clone(&tls.client))
            .connect(tls.name.clone(), stream)
            .await
            .map_err(|error| Failure::Tls {
                server: Arc::clone(&self.server),
                reason: causes(&error),
            })?;
        let is_http2 = tls::is_http2(stream.get_ref().1.alpn_protocol());
        Ok(Dialed {
            socket: Socket::Tls(Box::new(stream.into())),
            is_http2,
        })
    }

    /// Tries every address of the name in the system's order; one that does not answer leaves the others their share of the time.
    async fn tcp(&self, wait: Duration) -> io::Result<TcpStream> {
        let end = Instant::now() + wait;
        let addresses: Vec<SocketAddr> = match &self.host {
            Host::Address(address) => return open(SocketAddr::new(*address, self.port)).await,
            Host::Name(name) => lookup_host((name.as_str(), self.port))
                .await?
                .take(ADDRESSES_MAX)
                .collect(),
        };
        let mut refused = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (at, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let share = end.saturating_duration_since(Instant::now()) / left;
            match timeout(share, open(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => refused = error,
                Err(_) => {
                    refused = io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("{address} does not answer"),
                    )
                }
            }
        }
        Err(refused)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the door through which all calls leave"
)]
async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect(address).await
}
