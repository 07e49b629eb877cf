//! What can go wrong with a server behind us, in words that name it.

use std::sync::Arc;

/// A server did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum UpstreamFailure {
    /// Nothing was sent, or nothing arrived.
    #[error("server `{server}` cannot be reached: {}", shown(.reason))]
    Unreachable {
        /// Which server.
        server: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// It was not asked, because it failed too often just now.
    #[error(
        "server `{server}` is down for {for_secs} s ({}); it is tried again in {again_secs} s",
        shown(.reason)
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
    /// It was not asked, because as much as allowed is under way with it already: our own limit, not its fault.
    #[error("server `{server}` was not asked: {reason}")]
    Busy {
        /// Which server.
        server: Arc<str>,
        /// Which limit, and what to do.
        reason: String,
    },
    /// The connection or process ended, or a wait ran out, after the request was sent.
    #[error(
        "server `{server}` was asked but gave no answer: {}; the call may have had an effect",
        shown(.reason)
    )]
    NoAnswer {
        /// Which server.
        server: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// It answered something that is not MCP.
    #[error("server `{server}` answered something that is not MCP: {}", shown(.reason))]
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
    #[error("server `{server}` refused `{method}`: {} ({code})", shown(.message))]
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
    #[error("server `{server}` does not speak {era} MCP: {}", shown(.reason))]
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
/// The longest reason that is repeated, in bytes: it may hold a process' last words.
const REASON_BYTES_MAX: usize = 2000;

/// A text that may hold a server's words, as an operator may see it: bounded, on one line, without terminal controls.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(REASON_BYTES_MAX));
    for letter in text.chars() {
        if shown.len() >= REASON_BYTES_MAX {
            shown.push('…');
            break;
        }
        // Also the marks that turn the direction of writing round.
        if letter.is_control()
            || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

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
            Self::Busy { server, .. } => {
                format!("server `{server}` has as many calls under way as allowed; try again later")
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
            | Self::Busy { .. }
            | Self::Resting { .. }
            | Self::Garbage { .. }
            | Self::Refused { .. }
            | Self::SessionLost { .. }
            | Self::OtherEra { .. } => false,
        }
    }
}
