//! Where the other replicas are, as the operator says it.

use std::str::FromStr;

use auth::KeyRing;

/// How replicas find and know each other.
#[derive(Debug)]
pub struct Peering {
    /// What all replicas have and nobody else: whoever has it is a replica.
    pub key: KeyRing,
    /// Where they listen for each other.
    pub peers: Vec<Peer>,
}

/// A name and a port behind which replicas are: every address of the name is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for Peer {
    type Err = String;

    /// Reads `HOST:PORT`, or `dns:NAME:PORT`, which is the same said for a name with many addresses.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "`{text}` is no place of a replica; expected HOST:PORT or dns:NAME:PORT, such as 10.0.0.7:8486 or dns:marque-peers.tools.svc:8486"
            )
        };
        let (host, port) = text
            .strip_prefix("dns:")
            .unwrap_or(text)
            .rsplit_once(':')
            .ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_host = |host: &str| !host.is_empty() && !host.contains(['/', '[', ']', ' ', '@']);
        let host = match inner {
            Some(inner) if is_host(inner) => inner,
            None if is_host(host) && !host.contains(':') => host,
            Some(_) | None => return Err(wrong()),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for (text, host, port) in [
            ("127.0.0.1:8486", "127.0.0.1", 8486),
            ("dns:marque-peers.tools.svc:1", "marque-peers.tools.svc", 1),
            ("[::1]:8486", "::1", 8486),
        ] {
            let host = host.to_owned();
            assert_eq!(text.parse(), Ok(Peer { host, port }));
        }
        for text in [
            "",
            "host",
            "host:",
            ":1",
            "host:70000",
            "::1:8486",
            "http://host:1",
        ] {
            assert!(text.parse::<Peer>().is_err(), "{text}");
        }
    }
}
