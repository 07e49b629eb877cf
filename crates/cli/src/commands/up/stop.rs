//! Why nothing is served.

use resources::Finding;

/// Why nothing is served.
pub(crate) enum Stop {
    /// The configuration has errors.
    Findings(Vec<Finding>),
    /// Something else is in the way.
    Reason(String),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}
