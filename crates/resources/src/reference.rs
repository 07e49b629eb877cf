//! How resources are named and how they name each other.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::Kind;

pub use crate::name::{Name, NotAName};

/// The namespace of documents that name none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Which resource: kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ResourceId {
    /// The kind.
    pub kind: Kind,
    /// The namespace; `default` when the document names none.
    pub namespace: String,
    /// The name, unique among its kind in its namespace.
    pub name: String,
}

impl ResourceId {
    /// Names a resource.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace == DEFAULT_NAMESPACE {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// Which server, in one cheap word: `NAME` for an MCPServer document, `TOOLSET/NAME` for one declared in a toolset.
///
/// Outside the namespace `default` the first part is `NAME.NAMESPACE` or `TOOLSET.NAMESPACE`; names hold no dot, so nothing collides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(Arc<str>);

impl ServerId {
    /// Names the server of an MCPServer document.
    #[must_use]
    pub fn declared(namespace: &str, name: &str) -> Self {
        Self(qualified(namespace, name).into())
    }

    /// Names a server declared inside a toolset.
    #[must_use]
    pub fn inline(namespace: &str, toolset: &str, name: &str) -> Self {
        Self(format!("{}/{name}", qualified(namespace, toolset)).into())
    }

    /// Gives the identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ServerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Borrow<str> for ServerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn qualified(namespace: &str, name: &str) -> String {
    if namespace == DEFAULT_NAMESPACE {
        name.to_owned()
    } else {
        format!("{name}.{namespace}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_servers_cannot_be_mistaken_for_documents() {
        assert_eq!(ServerId::declared("default", "a").as_str(), "a");
        assert_eq!(ServerId::declared("team", "a").as_str(), "a.team");
        assert_eq!(ServerId::inline("default", "t", "a").as_str(), "t/a");
        assert_eq!(ServerId::inline("team", "t", "a").as_str(), "t.team/a");
    }
}
