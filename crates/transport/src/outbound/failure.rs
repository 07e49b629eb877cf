//! Why a call to a server has no answer.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// Name, TCP and TLS.
    Connect,
    /// The head of the answer.
    FirstByte,
    /// The next bytes of the answer.
    Idle,
}

/// Why a call to a server has no answer, or not all of it. The text names the server.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The server cannot be reached.
    #[error("{server}: cannot connect: {reason}")]
    Connect {
        /// The server.
        server: Arc<str>,
        /// What the system says.
        reason: String,
    },
    /// The server can be reached and not be trusted, or does not speak TLS.
    #[error("{server}: TLS failed: {reason}")]
    Tls {
        /// The server.
        server: Arc<str>,
        /// What was wrong.
        reason: String,
    },
    /// As many calls as allowed are under way, and none ended in time.
    #[error("{server}: {calls_max} {what} are under way, and none ended within {wait:?}")]
    Busy {
        /// The server.
        server: Arc<str>,
        /// Calls or streams.
        what: &'static str,
        /// What is allowed.
        calls_max: usize,
        /// How long the call waited.
        wait: Duration,
    },
    /// The server took too long.
    #[error("{server}: {awaited} within {wait:?}")]
    Timeout {
        /// The server.
        server: Arc<str>,
        /// What was waited for.
        awaited: Awaited,
        /// How long.
        wait: Duration,
    },
    /// The connection ended before any byte of the answer.
    #[error("{server}: connection ended before the answer: {reason}")]
    Closed {
        /// The server.
        server: Arc<str>,
        /// Whether bytes of the request may have left.
        sent: bool,
        /// What happened.
        reason: String,
    },
    /// The connection ended in the middle of the answer.
    #[error("{server}: answer broke off: {reason}")]
    Broken {
        /// The server.
        server: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// The answer is larger than allowed.
    #[error("{server}: {part} of the answer is larger than {max} {unit}")]
    TooLarge {
        /// The server.
        server: Arc<str>,
        /// Head or body.
        part: &'static str,
        /// What is allowed.
        max: usize,
        /// Of what.
        unit: &'static str,
    },
    /// The answer is not HTTP.
    #[error("{server}: answer is not HTTP: {reason}")]
    Invalid {
        /// The server.
        server: Arc<str>,
        /// What is wrong with it.
        reason: String,
    },
}

impl Failure {
    /// False when the server cannot have seen a byte of the request: then it is safe to send it again.
    pub const fn may_have_reached_server(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Tls { .. } | Self::Busy { .. } => false,
            Self::Timeout { awaited, .. } => !matches!(awaited, Awaited::Connect),
            Self::Closed { sent, .. } => *sent,
            Self::Broken { .. } | Self::TooLarge { .. } | Self::Invalid { .. } => true,
        }
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection",
            Self::FirstByte => "no answer",
            Self::Idle => "no further bytes of the answer",
        })
    }
}

/// The error and its causes, in one line.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
