//! Why the client did not get what it asked for.

use transport::outbound::{self, TargetError};

use crate::exit::Exit;

/// Why the client did not get what it asked for; by who has to act.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The person at the keyboard: the arguments are wrong, or name what does not exist.
    #[error("{0}")]
    Usage(String),
    /// Whoever gives out credentials.
    #[error("{0}")]
    Refused(String),
    /// Whoever runs the server: it, or the way it speaks, is broken.
    #[error("{0}")]
    Server(String),
    /// This program: the headers do not say what the body says, because the tool has changed.
    #[error("{0}")]
    HeaderMismatch(String),
    /// Whoever runs the network: the server cannot be reached, or is silent.
    #[error("{0}")]
    Unreachable(String),
}

impl Failure {
    /// The exit code for it.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(_) => Exit::Refused,
            Self::Server(_) | Self::HeaderMismatch(_) => Exit::Server,
            Self::Unreachable(_) => Exit::Unreachable,
        }
    }
}

impl From<outbound::Failure> for Failure {
    fn from(failure: outbound::Failure) -> Self {
        use outbound::Failure as Call;
        let text = failure.to_string();
        match failure {
            Call::Connect { .. }
            | Call::Tls { .. }
            | Call::Busy { .. }
            | Call::Timeout { .. }
            | Call::Closed { .. } => Self::Unreachable(text),
            Call::Broken { .. } | Call::TooLarge { .. } | Call::Invalid { .. } => {
                Self::Server(text)
            }
        }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Usage(error.to_string())
    }
}
