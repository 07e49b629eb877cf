//! How a request ends when not with its result.

use serde_json::Value;

use crate::wire::Fault;

/// Why a request ended without its result.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The request was wrong as a message; the client's program has to change it.
    Fault(Fault),
    /// The tool could not do it; the model reads why and may try otherwise.
    Tool(String),
    /// The user has to say something first (modern clients; legacy ones are asked in between).
    NeedsInput {
        /// The questions by name.
        requests: Value,
        /// What the client sends back unchanged, with the answers.
        state: String,
    },
}

impl Stop {
    /// Says that there is no such tool, prompt or reference here.
    pub(crate) fn unknown(kind: &str, name: &str) -> Self {
        Self::Fault(Fault::invalid_params(format!("unknown {kind}: {name:?}")))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
