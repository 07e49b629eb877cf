//! What can go wrong with a server behind us, in words that name it.

use std::sync::Arc;

/// A server did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UpstreamFailure {
    /// Nothing was sent, or nothing arrived.
    #[error("server `{server}` cannot be reached: {reason}")]
    Unreachable {
        /// Which server.
        server: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// It was not asked, because it failed too often just now.
    #[error(
        "server `{server}` is down for {for_secs} s ({reason}); it is tried again in {again_secs} s"
    )]
    Resting {
        /// Which server.
        server: Arc<str>,
        /// Its last failure.
        reason: String,
        /// Since when.
        for_secs: u64,
        /// Until when.
        again_secs: u64,
    },
    /// The connection or process ended, or a wait ran out, after the request was sent.
    #[error(
        "server `{server}` was asked but gave no answer: {reason}; the call may have had an effect"
    )]
    NoAnswer {
        /// Which server.
        server: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// It answered something that is not MCP.
    #[error("server `{server}` answered something that is not MCP: {reason}")]
    Garbage {
        /// Which server.
        server: Arc<str>,
        /// What was wrong.
        reason: String,
    },
    /// It answered with an HTTP status that means no.
    #[error("server `{server}` answered HTTP {status}{}", detail(.body))]
    Status {
        /// Which server.
        server: Arc<str>,
        /// The status.
        status: u16,
        /// The start of the body, for the operator.
        body: String,
    },
    /// It answered a request of our own with a JSON-RPC error.
    #[error("server `{server}` refused `{method}`: {message} ({code})")]
    Refused {
        /// Which server.
        server: Arc<str>,
        /// What was asked.
        method: &'static str,
        /// The error's code.
        code: i64,
        /// The error's text.
        message: String,
        /// The error's data, raw JSON.
        data: Option<String>,
    },
    /// It no longer knows our session.
    #[error("server `{server}` no longer knows the session")]
    SessionLost {
        /// Which server.
        server: Arc<str>,
    },
    /// It does not speak the client's era of MCP.
    #[error("server `{server}` does not speak {era} MCP: {reason}")]
    OtherEra {
        /// Which server.
        server: Arc<str>,
        /// Which era was asked for.
        era: &'static str,
        /// How we know.
        reason: String,
    },
}

/// The longest part of a foreign error text that is repeated, in bytes.
const DETAIL_BYTES_MAX: usize = 200;

fn detail(body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let end = (0..=DETAIL_BYTES_MAX.min(body.len()))
        .rev()
        .find(|at| body.is_char_boundary(*at))
        .unwrap_or(0);
    format!(": {}", body[..end].escape_debug())
}

impl UpstreamFailure {
    /// What a caller may hear: which server and what kind of failure, but no address and no foreign text.
    pub(crate) fn for_caller(&self) -> String {
        match self {
            Self::Unreachable { server, .. } => {
                format!("server `{server}` cannot be reached; try again later")
            }
            Self::Resting {
                server,
                for_secs,
                again_secs,
                ..
            } => format!(
                "server `{server}` has been down for {for_secs} s; it is tried again in {again_secs} s"
            ),
            Self::NoAnswer { server, .. } => {
                format!(
                    "server `{server}` was asked but gave no whole answer in time; the call may have had an effect"
                )
            }
            Self::Garbage { server, .. } => {
                format!("server `{server}` answered something that is not MCP")
            }
            Self::Status { server, status, .. } => {
                format!("server `{server}` answered HTTP {status}")
            }
            Self::Refused {
                server,
                method,
                code,
                ..
            } => format!("server `{server}` refused `{method}` ({code})"),
            Self::SessionLost { server } => {
                format!("server `{server}` no longer knows the session; try again")
            }
            Self::OtherEra { server, era, .. } => {
                format!("server `{server}` does not speak {era} MCP")
            }
        }
    }

    /// Whether this speaks against the server's health, as opposed to one request.
    #[must_use]
    pub(crate) const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::NoAnswer { .. }
            | Self::Resting { .. }
            | Self::Garbage { .. }
            | Self::Refused { .. }
            | Self::SessionLost { .. }
            | Self::OtherEra { .. } => false,
        }
    }
}
