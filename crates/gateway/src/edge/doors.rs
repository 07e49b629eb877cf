//! Who may knock at all: host names, origins, and which toolset is behind which path.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::http::Request;
use ::http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use auth::KeyDirectory;
use futures_util::StreamExt as _;
use transport::body::Body;
use transport::inbound::{Peer, Service};
use url::Url;

use super::answer::EVENTS;
use super::legacy_sse::Lines;
use crate::admit;
use crate::gateway::Gateway;
use crate::identify::{self, Caller};
use crate::refuse::Refusal;
use crate::replica::HOP;
use crate::table::Toolset;

/// Host names by which every machine reaches itself.
const LOOPBACK_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What one listener accepts.
#[derive(Debug, Clone, Default)]
pub struct Door {
    /// Host names, in lower case, without port; `*.` at the start stands for one label. Empty: any.
    pub hosts: BTreeSet<String>,
    /// Origins, as browsers write them, that may call beside pages of our own host.
    pub origins: BTreeSet<String>,
}

/// The gateway as it stands behind its listeners.
#[derive(Debug)]
pub struct Doors {
    pub(super) gateway: Arc<Gateway>,
    doors: Vec<Door>,
    keys: Arc<KeyDirectory>,
    pub(super) lines: Lines,
}

impl Door {
    /// A door on loopback: only names of this machine, so that no page on the web can reach in (MCP basic/transports, "Security Warning").
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            hosts: LOOPBACK_HOSTS.map(str::to_owned).into(),
            origins: BTreeSet::new(),
        }
    }

    /// Also accepts the host of a public URL, and pages from there.
    pub fn allow_public(&mut self, url: &Url) {
        if let Some(host) = url.host_str() {
            self.hosts.insert(host.to_ascii_lowercase());
        }
        self.origins.insert(url.origin().ascii_serialization());
    }

    fn check(&self, headers: &HeaderMap, uri_host: Option<&str>) -> Result<(), Refusal> {
        let named = headers
            .get(HOST)
            .and_then(|value| value.to_str().ok())
            .or(uri_host);
        let host = named
            .map(|host| without_port(host).to_ascii_lowercase())
            .ok_or(Refusal::Host)?;
        if headers.get_all(HOST).iter().count() > 1 || !self.knows(&host) {
            return Err(if headers.contains_key(ORIGIN) {
                Refusal::Origin
            } else {
                Refusal::Host
            });
        }
        match headers.get(ORIGIN) {
            None => Ok(()),
            Some(origin)
                if origin
                    .to_str()
                    .is_ok_and(|origin| self.origin_allowed(origin)) =>
            {
                Ok(())
            }
            Some(_) => Err(Refusal::Origin),
        }
    }

    fn knows(&self, host: &str) -> bool {
        self.hosts.is_empty()
            || self.hosts.contains(host)
            || host
                .split_once('.')
                .is_some_and(|(_, rest)| self.hosts.contains(&format!("*.{rest}")))
    }

    /// Pages of this machine may call a loopback door; others must be named.
    fn origin_allowed(&self, origin: &str) -> bool {
        if self.origins.contains(origin) {
            return true;
        }
        let Ok(url) = Url::parse(origin) else {
            return false;
        };
        let host = url.host_str().unwrap_or_default();
        self.hosts.contains("localhost") && LOOPBACK_HOSTS.contains(&host)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl Doors {
    /// The gateway behind these doors, one per listener in its order. Nobody has a key: who presents one is refused.
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, doors: Vec<Door>) -> Arc<Self> {
        Self::with_keys(gateway, doors, Arc::new(KeyDirectory::empty()))
    }

    /// The same for callers who may have API keys.
    #[must_use]
    pub fn with_keys(
        gateway: Arc<Gateway>,
        doors: Vec<Door>,
        keys: Arc<KeyDirectory>,
    ) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            doors,
            keys,
            lines: Lines::default(),
        })
    }

    pub(super) fn check(
        &self,
        request: &Request<transport::inbound::Incoming>,
        peer: &Peer,
    ) -> Result<(), Refusal> {
        let door = self
            .doors
            .get(peer.listener)
            .ok_or(Refusal::NoSuchEndpoint)?;
        if request.headers().contains_key(HOP) {
            return Err(Refusal::Hop);
        }
        door.check(request.headers(), request.uri().host())
    }

    /// Who sends these headers to a toolset, if the toolset lets it in.
    pub(super) fn enter(&self, headers: &HeaderMap, toolset: &Toolset) -> Result<Caller, Refusal> {
        let caller = identify::caller(headers, &self.keys)?;
        admit::enter(&caller, toolset)?;
        Ok(caller)
    }

    /// An event stream for a caller with a key ends when the key does.
    pub(super) fn while_welcome(
        &self,
        caller: Caller,
        response: ::http::Response<Body>,
    ) -> ::http::Response<Body> {
        let is_events = response.headers().get(CONTENT_TYPE) == Some(&EVENTS);
        if caller == Caller::Anonymous || !is_events {
            return response;
        }
        let keys = self.keys.clone();
        let gone = async move { keys.gone(&caller).await };
        response.map(|body| match body {
            Body::Stream(pieces) => Body::stream(pieces.take_until(Box::pin(gone))),
            whole => whole,
        })
    }
}

impl Service for Doors {
    async fn call(
        self: Arc<Self>,
        request: Request<transport::inbound::Incoming>,
        peer: Peer,
    ) -> ::http::Response<Body> {
        super::http::answer(&self, request, peer).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(door: &Door, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        door.check(&headers, None).is_ok()
    }

    #[test]
    fn loopback_door_keeps_rebound_names_and_foreign_pages_out() {
        let door = Door::loopback();
        assert!(check(&door, "localhost:8484", None));
        assert!(check(&door, "[::1]:8484", Some("http://localhost:6274")));
        assert!(!check(&door, "evil.example", None));
        assert!(!check(&door, "localhost.evil.example:8484", None));
        assert!(!check(&door, "localhost", Some("http://evil.example")));
        assert!(!check(&door, "localhost", Some("null")));
        assert!(!check(
            &door,
            "localhost",
            Some("http://localhost.evil.example")
        ));
    }

    #[test]
    fn public_door_knows_its_names() {
        let mut door = Door {
            hosts: ["*.example.com".to_owned()].into(),
            origins: BTreeSet::new(),
        };
        assert!(check(&door, "tools.example.com", None));
        assert!(!check(&door, "a.b.example.com", None));
        assert!(!check(
            &door,
            "tools.example.com",
            Some("https://tools.example.com")
        ));
        door.allow_public(&Url::parse("https://gw.example.org/").unwrap());
        assert!(check(
            &door,
            "GW.example.org",
            Some("https://gw.example.org")
        ));
        assert!(!check(&door, "gw.example.org", Some("http://localhost")));
    }
}
