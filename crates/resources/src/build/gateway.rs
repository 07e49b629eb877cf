//! One Gateway: its listeners, one per address, with their certificates.

use std::net::IpAddr;

use super::{Builder, spec_path};
use crate::document::{Declared, Document};
use crate::kinds::gateway::{
    AddressType, CERTIFICATE_OPTION, GatewaySpec, ListenerSpec, ListenerTlsSpec,
    PRIVATE_KEY_OPTION, Protocol,
};
use crate::listener::DEFAULT_ADDRESS;
use crate::node::FieldPath;
use crate::{
    Certificate, Finding, Gateway, KeyRef, Kind, Listener, ListenerTls, ResourceId, Secret,
    ValueSource,
};

/// Gives the value sources in the options of a Gateway.
pub(super) fn sources(spec: &GatewaySpec) -> impl Iterator<Item = ValueSource> {
    let tls = spec
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref());
    tls.flat_map(|tls| [CERTIFICATE_OPTION, PRIVATE_KEY_OPTION].map(|name| tls.options.get(name)))
        .flatten()
        .filter_map(|text| ValueSource::from_short(text))
}

impl Builder<'_> {
    pub(super) fn gateways(&mut self) {
        for (id, document) in self.documents() {
            if let Declared::Gateway(spec) = &document.declared {
                self.gateway(id, spec, document);
            }
        }
        self.equal_sockets();
    }

    fn gateway(&mut self, id: ResourceId, spec: &GatewaySpec, document: &Document) {
        let addresses = self.addresses(spec, document);
        let mut listeners: Vec<Listener> = Vec::new();
        for (index, declared) in spec.listeners.iter().enumerate() {
            let path = spec_path().field("listeners").index(index);
            if listeners
                .iter()
                .any(|other| other.name == declared.name.as_str())
            {
                let message = format!(
                    "two listeners of this Gateway are named `{}`",
                    declared.name
                );
                self.put(
                    document,
                    &path.field("name"),
                    Finding::error("duplicate-listener", message),
                );
                continue;
            }
            let tls = self.tls(&id, declared, document, &path);
            listeners.extend(addresses.iter().map(|address| Listener {
                gateway: Some(id.clone()),
                name: declared.name.to_string(),
                address: *address,
                port: declared.port,
                hostname: declared.hostname.clone(),
                tls: tls.clone(),
            }));
        }
        let origin = Some(document.origin(&FieldPath::default()));
        self.set.gateways.push(Gateway {
            id,
            listeners,
            origin,
        });
    }

    fn addresses(&mut self, spec: &GatewaySpec, document: &Document) -> Vec<IpAddr> {
        let mut addresses = Vec::new();
        for (index, address) in spec.addresses.iter().enumerate() {
            let path = spec_path().field("addresses").index(index).field("value");
            match (address.r#type, address.value.parse::<IpAddr>()) {
                (AddressType::IPAddress, Ok(ip)) if !addresses.contains(&ip) => addresses.push(ip),
                (AddressType::IPAddress, Ok(_)) => {}
                (AddressType::IPAddress, Err(_)) => {
                    let finding = Finding::error("bad-address", "not an IP address");
                    self.put(
                        document,
                        &path,
                        finding
                            .help("write for example `0.0.0.0` for every address of the machine"),
                    );
                }
                (AddressType::Hostname, _) => {
                    let finding = Finding::note(
                        "unused-field",
                        "an address of type `Hostname` is accepted and not used",
                    );
                    self.put(document, &path, finding);
                }
            }
        }
        if addresses.is_empty() {
            addresses.push(DEFAULT_ADDRESS);
        }
        addresses
    }

    fn tls(
        &mut self,
        of: &ResourceId,
        declared: &ListenerSpec,
        document: &Document,
        path: &FieldPath,
    ) -> Option<ListenerTls> {
        let at = path.field("tls");
        match (declared.protocol, &declared.tls) {
            (Protocol::HTTP, None) => None,
            (Protocol::HTTP, Some(_)) => {
                let finding = Finding::error(
                    "field-without-effect",
                    "`tls` has no effect on a listener of protocol `HTTP`",
                );
                self.put(
                    document,
                    &at,
                    finding.help("write `protocol: HTTPS`, or leave out `tls`"),
                );
                None
            }
            (Protocol::HTTPS, None) => {
                self.put(document, path, no_certificate());
                None
            }
            (Protocol::HTTPS, Some(tls)) => {
                let certificates = self.certificates(of, tls, document, &at);
                Some(ListenerTls { certificates })
            }
        }
    }

    fn certificates(
        &mut self,
        of: &ResourceId,
        tls: &ListenerTlsSpec,
        document: &Document,
        at: &FieldPath,
    ) -> Vec<Certificate> {
        let mut certificates = Vec::new();
        for (index, reference) in tls.certificate_refs.iter().enumerate() {
            let path = at.field("certificateRefs").index(index);
            if reference
                .namespace
                .as_ref()
                .is_some_and(|namespace| *namespace != of.namespace)
            {
                let finding = Finding::error(
                    "cross-namespace",
                    "a Secret of another namespace cannot be named yet",
                );
                self.put(document, &path.field("namespace"), finding);
                continue;
            }
            if !reference.group.is_empty() {
                let finding = Finding::error(
                    "unknown-value",
                    "only Secrets of the core group can be named",
                );
                self.put(
                    document,
                    &path.field("group"),
                    finding.help("leave `group` out"),
                );
                continue;
            }
            let key = |key: &str| {
                ValueSource::SecretRef(KeyRef {
                    name: reference.name.clone(),
                    key: key.to_owned(),
                })
            };
            let id = ResourceId::new(Kind::Secret, of.namespace.as_str(), reference.name.as_str());
            if !self.index.contains_key(&id) {
                let finding = self.dangling(&id);
                self.put(document, &path.field("name"), finding);
                continue;
            }
            let chain = self.pem(of, &key("tls.crt"), CHAIN, document, &path);
            let private = self.pem(of, &key("tls.key"), PRIVATE_KEY, document, &path);
            certificates.extend(
                chain
                    .zip(private)
                    .map(|(chain, key)| Certificate { chain, key }),
            );
        }
        certificates.extend(self.certificate_of_options(of, tls, document, at));
        if tls.certificate_refs.is_empty() && tls.options.is_empty() {
            self.put(document, at, no_certificate());
        }
        certificates
    }

    fn certificate_of_options(
        &mut self,
        of: &ResourceId,
        tls: &ListenerTlsSpec,
        document: &Document,
        at: &FieldPath,
    ) -> Option<Certificate> {
        if tls.options.is_empty() {
            return None;
        }
        let mut pem = [None, None];
        for (index, (name, what)) in [
            (CERTIFICATE_OPTION, CHAIN),
            (PRIVATE_KEY_OPTION, PRIVATE_KEY),
        ]
        .into_iter()
        .enumerate()
        {
            let path = at.field("options").field(name);
            let Some(text) = tls.options.get(name) else {
                let finding =
                    Finding::error("missing-field", format!("the option `{name}` is missing"));
                self.put(
                    document,
                    &path,
                    finding.help("certificate and private key are needed together"),
                );
                continue;
            };
            let Some(source) = ValueSource::from_short(text) else {
                let finding = Finding::error("wrong-type", "expected `file:PATH` or `env:NAME`");
                self.put(document, &path, finding);
                continue;
            };
            let source = source.at(document.base_dir.as_deref());
            pem[index] = self.pem(of, &source, what, document, &path);
        }
        for name in tls
            .options
            .keys()
            .filter(|name| *name != CERTIFICATE_OPTION && *name != PRIVATE_KEY_OPTION)
        {
            let finding = Finding::error("unknown-field", "unknown option").help(format!(
                "known: `{CERTIFICATE_OPTION}`, `{PRIVATE_KEY_OPTION}`"
            ));
            self.put(document, &at.field("options").field(name), finding);
        }
        let [chain, key] = pem;
        chain
            .zip(key)
            .map(|(chain, key)| Certificate { chain, key })
    }

    fn pem(
        &mut self,
        of: &ResourceId,
        source: &ValueSource,
        what: Pem,
        document: &Document,
        at: &FieldPath,
    ) -> Option<Secret> {
        let value = self.value(document, at, source, &of.namespace)?;
        if value.expose().contains(what.mark) {
            return Some(value);
        }
        self.put(
            document,
            at,
            Finding::error(
                "bad-value",
                format!("the value holds no {} in PEM", what.name),
            ),
        );
        None
    }

    /// Two listeners of one socket must be told apart by their host name, and must both speak TLS or both not.
    fn equal_sockets(&mut self) {
        let listeners = self.set.listeners();
        for (position, listener) in listeners.iter().enumerate() {
            let Some(document) = listener
                .gateway
                .as_ref()
                .and_then(|id| self.index.get(id))
                .copied()
            else {
                continue;
            };
            let meets = |other: &&Listener| {
                let unspecified =
                    other.address.is_unspecified() || listener.address.is_unspecified();
                other.port == listener.port && (other.address == listener.address || unspecified)
            };
            for other in listeners[..position].iter().filter(meets) {
                let reason = if other.tls.is_some() != listener.tls.is_some() {
                    "one speaks TLS and the other does not"
                } else if other.hostname == listener.hostname {
                    "both have the same host name"
                } else if other.address != listener.address {
                    "one is for every address and the other for one of them"
                } else {
                    continue;
                };
                let message = format!(
                    "port {} is listened on by `{}` too, and {reason}",
                    listener.port, other.name
                );
                let index = document
                    .node
                    .field("spec")
                    .and_then(|spec| spec.field("listeners"))
                    .and_then(|all| {
                        all.items().iter().position(|one| {
                            one.field("name").and_then(|name| name.text())
                                == Some(listener.name.as_str())
                        })
                    });
                let path = spec_path()
                    .field("listeners")
                    .index(index.unwrap_or_default())
                    .field("port");
                self.findings
                    .push(document.put(Finding::error("duplicate-listener", message), &path));
                break;
            }
        }
    }
}

/// What a PEM text must hold.
#[derive(Debug, Clone, Copy)]
struct Pem {
    mark: &'static str,
    name: &'static str,
}

const CHAIN: Pem = Pem {
    mark: "-----BEGIN CERTIFICATE-----",
    name: "certificate",
};
const PRIVATE_KEY: Pem = Pem {
    mark: "PRIVATE KEY-----",
    name: "private key",
};

fn no_certificate() -> Finding {
    Finding::error("missing-certificate", "a listener of protocol `HTTPS` needs a certificate").help(format!(
        "name a Secret in `tls.certificateRefs`, or files in `tls.options` as `{CERTIFICATE_OPTION}` and `{PRIVATE_KEY_OPTION}`"
    ))
}
