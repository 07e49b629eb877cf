//! Listeners, in the words of the upstream Gateway API (`gateway.networking.k8s.io/v1`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Name;

/// Names the file or variable that holds a certificate, in `tls.options`: `file:PATH` or `env:NAME`.
pub const CERTIFICATE_OPTION: &str = "marque.dev/certificate";
/// Names the file or variable that holds a private key, in `tls.options`: `file:PATH` or `env:NAME`.
pub const PRIVATE_KEY_OPTION: &str = "marque.dev/private-key";

/// Where Marque listens.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewaySpec {
    /// The class that serves this Gateway. Not needed outside a cluster.
    pub gateway_class_name: Option<String>,
    /// The listeners, at least one.
    #[schemars(length(min = 1, max = 64))]
    pub listeners: Vec<ListenerSpec>,
    /// The addresses to listen on. Default: `127.0.0.1` only.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub addresses: Vec<GatewayAddress>,
    /// Accepted and not used.
    pub infrastructure: Option<Unused>,
    /// Accepted and not used.
    pub allowed_listeners: Option<Unused>,
}

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayAddress {
    /// What kind of address. Only `IPAddress` can be listened on.
    #[serde(default)]
    pub r#type: AddressType,
    /// The address; `0.0.0.0` or `::` for every address of the machine.
    pub value: String,
}

/// What kind of address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum AddressType {
    /// An IP address of this machine.
    #[default]
    IPAddress,
    /// A host name. Not used.
    Hostname,
}

/// One port that is listened on.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerSpec {
    /// The listener's name, for `sectionName` of a toolset's `parentRefs`.
    pub name: Name,
    /// The host name clients use, such as `mcp.example.com` or `*.example.com`. Default: any.
    #[schemars(extend("format" = "marque-hostname"))]
    pub hostname: Option<String>,
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// The certificate, for `HTTPS`.
    pub tls: Option<ListenerTlsSpec>,
    /// Accepted and not used.
    pub allowed_routes: Option<Unused>,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP without TLS.
    HTTP,
    /// HTTP over TLS that ends here.
    HTTPS,
}

/// The certificate of a listener: `certificateRefs`, or the two options `marque.dev/certificate` and `marque.dev/private-key`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerTlsSpec {
    /// Where TLS ends. Only `Terminate`.
    #[serde(default)]
    pub mode: TlsMode,
    /// Secrets with the keys `tls.crt` and `tls.key`, in PEM.
    #[serde(default)]
    pub certificate_refs: Vec<CertificateRef>,
    /// `marque.dev/certificate` and `marque.dev/private-key`, each `file:PATH` or `env:NAME`.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// Where TLS ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// In Marque.
    #[default]
    Terminate,
}

/// A Secret with a certificate and its key.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateRef {
    /// The group of the kind. Only the empty one.
    #[serde(default)]
    pub group: String,
    /// The kind. Only `Secret`.
    #[serde(default)]
    pub kind: CertificateKind,
    /// The Secret's name.
    pub name: String,
    /// The Secret's namespace. Only that of the Gateway.
    pub namespace: Option<String>,
}

/// What holds a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CertificateKind {
    /// A Secret.
    #[default]
    Secret,
}

/// A field that upstream knows and Marque does not use: accepted with a note.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unused;

impl Unused {
    /// Marks the schema of a field that is accepted and not used.
    pub(crate) const MARK: &str = "x-marque-unused";
}

impl<'de> Deserialize<'de> for Unused {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl JsonSchema for Unused {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Unused".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ (Self::MARK): true })
    }
}
