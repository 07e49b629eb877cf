//! Who is behind a request.

use std::sync::Arc;

/// Who is behind a request: what a credential proved, never what a message claims.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Caller {
    /// Nobody has proved anything.
    Anonymous,
    /// The holder of a static API key.
    Key {
        /// The key's id, unique for all time.
        id: Arc<str>,
        /// The name its owner gave it; for people, never compared.
        name: Arc<str>,
    },
}

impl Caller {
    /// What tells this caller from every other, for binding and for looking up; not for showing.
    #[must_use]
    pub fn tag(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Key { id, .. } => format!("key:{id}"),
        }
    }
}
