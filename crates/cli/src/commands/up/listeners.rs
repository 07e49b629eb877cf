//! Where to listen, who may knock there, and under which URL clients see it.

use std::net::SocketAddr;

use gateway::Door;
use resources::{Access, Finding, Listener, ResourceSet};
use transport::inbound::{Bound, ListenSpec, bind, identity};
use url::Url;

use super::UpArgs;
use super::stop::Stop;

/// Where to listen.
pub(super) struct Plan {
    listeners: Vec<Listener>,
    public_url: Option<Url>,
    origins: Vec<String>,
    /// What a reload must leave as it is.
    pub(super) fixed: Fixed,
}

/// What only a start can decide: the addresses listened on, and that nobody gets in from outside without having to prove anything.
#[derive(Clone)]
pub(super) struct Fixed {
    declared: Vec<Listener>,
    public_url: Option<Url>,
    allow_anonymous: bool,
    /// Whether anybody can have an API key.
    keys: bool,
    listen: Option<SocketAddr>,
}

/// One endpoint as clients see it.
pub(super) struct Endpoint {
    pub(super) toolset: String,
    pub(super) url: String,
}

/// Decides where to listen, and refuses what would let strangers in.
pub(super) fn plan(args: &UpArgs, set: &ResourceSet, keys: bool) -> Result<Plan, Stop> {
    let fixed = Fixed {
        declared: set.listeners(),
        public_url: args.public_url.clone(),
        allow_anonymous: args.allow_anonymous,
        keys,
        listen: args.listen,
    };
    if args.listen.is_some() && !set.gateways.is_empty() {
        return Err(Stop::Reason(
            "--listen and Gateway documents exclude each other; leave one of them out".to_owned(),
        ));
    }
    let findings = fixed.check(set);
    if findings.iter().any(Finding::is_error) {
        return Err(Stop::Findings(findings));
    }
    let listeners = fixed.listeners();
    Ok(Plan {
        listeners,
        public_url: args.public_url.clone(),
        origins: args.allowed_origins.clone(),
        fixed,
    })
}

impl Fixed {
    fn listeners(&self) -> Vec<Listener> {
        match self.listen {
            Some(address) => vec![Listener {
                address: address.ip(),
                port: address.port(),
                ..Listener::default()
            }],
            None => self.declared.clone(),
        }
    }

    /// What a set of resources asks for that this process cannot or must not do.
    pub(super) fn check(&self, set: &ResourceSet) -> Vec<Finding> {
        let mut findings = Vec::new();
        if set.listeners() != self.declared {
            findings.push(
                Finding::error(
                    "listeners-changed",
                    "the listeners or their certificates differ from those at the start",
                )
                .help("restart marque to listen elsewhere"),
            );
        }
        for toolset in &set.toolsets {
            let mut serving = self
                .listeners()
                .into_iter()
                .filter(|listener| listener.serves(toolset));
            let exposed = self.public_url.is_some()
                || serving.any(|listener| !listener.address.is_loopback());
            findings.extend(self.access(toolset, exposed));
        }
        findings
    }

    /// Anonymous access off loopback needs the toolset's word and the operator's (authority, "Policy" 1 and "Local mode" 1).
    fn access(&self, toolset: &resources::Toolset, exposed: bool) -> Option<Finding> {
        let finding = match toolset.spec.access {
            Some(Access::Authenticated) if self.keys => return None,
            Some(Access::Authenticated) => {
                Finding::error("no-authentication", "nobody could use this toolset: there is no store that knows API keys")
                    .help("name one with --store or --state-dir, and make keys with `marque keys add`")
            }
            Some(Access::Policy) => {
                Finding::error("no-authentication", "nobody could use this toolset: this version has no policies")
                    .help("write `access: Authenticated`, and make keys with `marque keys add`")
            }
            None if exposed => Finding::error("anonymous-exposed", "this toolset would be open to anybody who reaches its address")
                .help("write `access: Authenticated` and make keys with `marque keys add`; or listen on 127.0.0.1; or, to let everybody in, write `access: Anonymous` and start with --allow-anonymous"),
            Some(Access::Anonymous) if exposed && !self.allow_anonymous => {
                Finding::error("anonymous-exposed", "this toolset is `Anonymous` and would be reachable from other machines")
                    .help("listen on 127.0.0.1; or, to let everybody in, start with --allow-anonymous")
            }
            None | Some(Access::Anonymous) => return None,
        };
        let finding = finding.about(toolset.id.clone()).field("spec.access");
        Some(match &toolset.origin {
            Some(origin) => finding.at(origin.clone()),
            None => finding,
        })
    }
}

impl Plan {
    /// Opens the sockets.
    pub(super) async fn bind(&self) -> Result<Vec<Bound>, Stop> {
        let mut bound = Vec::new();
        for (at, listener) in self.listeners.iter().enumerate() {
            let tls = match listener
                .tls
                .as_ref()
                .and_then(|tls| tls.certificates.first())
            {
                Some(pair) => Some(
                    identity(pair.chain.expose().as_bytes(), pair.key.expose().as_bytes())
                        .map_err(|error| {
                            Stop::Reason(format!("listener `{}`: {error}", listener.name))
                        })?,
                ),
                None => None,
            };
            let address = SocketAddr::new(listener.address, listener.port);
            let spec = ListenSpec {
                address,
                tls,
                listener: at,
            };
            bound.push(
                bind(&spec)
                    .await
                    .map_err(|error| Stop::Reason(error.to_string()))?,
            );
        }
        Ok(bound)
    }

    /// Who may knock at each listener.
    pub(super) fn doors(&self, bound: &[Bound]) -> Vec<Door> {
        let doors = self.listeners.iter().zip(bound).map(|(listener, bound)| {
            let mut door = if bound.local_address().ip().is_loopback() {
                Door::loopback()
            } else {
                Door::default()
            };
            door.hosts.extend(
                listener
                    .hostname
                    .iter()
                    .map(|name| name.to_ascii_lowercase()),
            );
            if let Some(url) = &self.public_url {
                door.allow_public(url);
            }
            door.origins.extend(self.origins.iter().cloned());
            door
        });
        doors.collect()
    }

    /// The full URL of every endpoint, as clients see it.
    pub(super) fn urls(&self, set: &ResourceSet, bound: &[Bound]) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for toolset in &set.toolsets {
            for (listener, bound) in self
                .listeners
                .iter()
                .zip(bound)
                .filter(|(listener, _)| listener.serves(toolset))
            {
                let url = format!(
                    "{}{}",
                    self.base(listener, bound.local_address()),
                    toolset.path
                );
                if endpoints.iter().all(|known: &Endpoint| known.url != url) {
                    endpoints.push(Endpoint {
                        toolset: toolset.id.name.clone(),
                        url,
                    });
                }
            }
        }
        endpoints
    }

    fn base(&self, listener: &Listener, local: SocketAddr) -> String {
        if let Some(url) = &self.public_url {
            return url.as_str().trim_end_matches('/').to_owned();
        }
        let (scheme, usual) = if listener.tls.is_some() {
            ("https", 443)
        } else {
            ("http", 80)
        };
        let host = match &listener.hostname {
            Some(name) if !name.starts_with('*') => name.clone(),
            _ if local.ip().is_unspecified() => "localhost".to_owned(),
            _ if local.is_ipv6() => format!("[{}]", local.ip()),
            _ => local.ip().to_string(),
        };
        let port = if local.port() == usual {
            String::new()
        } else {
            format!(":{}", local.port())
        };
        format!("{scheme}://{host}{port}")
    }
}
