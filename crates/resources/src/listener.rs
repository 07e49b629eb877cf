//! Where clients come in.

use std::net::{IpAddr, Ipv4Addr};

use crate::{ResourceId, Secret};

/// The port listened on when no Gateway is declared.
pub const DEFAULT_PORT: u16 = 8484;
/// The address listened on when nothing else is said.
pub const DEFAULT_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One address and port that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The Gateway that declares it; none for the default listener.
    pub gateway: Option<ResourceId>,
    /// Its name in the Gateway; `default` for the default listener.
    pub name: String,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The host name clients use; a leading `*.` stands for any first label. None: any host name.
    pub hostname: Option<String>,
    /// The certificates, where TLS is spoken.
    pub tls: Option<ListenerTls>,
}

/// The certificates of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one.
    pub certificates: Vec<Certificate>,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain in PEM, own certificate first.
    pub chain: Secret,
    /// The private key in PEM.
    pub key: Secret,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            gateway: None,
            name: "default".to_owned(),
            address: DEFAULT_ADDRESS,
            port: DEFAULT_PORT,
            hostname: None,
            tls: None,
        }
    }
}
