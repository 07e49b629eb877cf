//! The kinds of documents that can be declared.

use std::fmt;

use serde::{Serialize, Serializer};

pub mod gateway;
pub mod mcp_server;
pub mod secret;
pub mod toolset;

/// The group and version of Marque's own kinds.
pub const API_VERSION: &str = "marque.dev/v1alpha1";
/// Marque's own group.
pub const GROUP: &str = "marque.dev";

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One tool backend.
    McpServer,
    /// One MCP endpoint.
    Toolset,
    /// Listeners, in the words of the upstream Gateway API.
    Gateway,
    /// Texts that must not be seen.
    Secret,
    /// Texts that may be seen.
    ConfigMap,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::McpServer,
        Self::Toolset,
        Self::Gateway,
        Self::Secret,
        Self::ConfigMap,
    ];

    /// Kinds of Marque's group that are planned and not served yet.
    pub const PLANNED: [&str; 6] = [
        "Agent",
        "Invocation",
        "Provider",
        "Trigger",
        "AccessPolicy",
        "CatalogEntry",
    ];

    /// Gives the kind as documents write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::McpServer => "MCPServer",
            Self::Toolset => "Toolset",
            Self::Gateway => "Gateway",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// Gives the `apiVersion` that documents of this kind carry.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::McpServer | Self::Toolset => API_VERSION,
            Self::Gateway => "gateway.networking.k8s.io/v1",
            Self::Secret | Self::ConfigMap => "v1",
        }
    }

    /// Finds the kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
