//! Why a child cannot be talked to.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Why a child cannot be started or talked to. The text names it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChildFailure {
    /// The program is not there. The operator must act.
    #[error("{label}: program `{}` not found: {remedy}", program.display())]
    NotFound {
        /// The child.
        label: String,
        /// The program.
        program: OsString,
        /// What to do.
        remedy: String,
    },
    /// The working directory is not there. The operator must act.
    #[error("{label}: working directory `{}` not found", directory.display())]
    NoDirectory {
        /// The child.
        label: String,
        /// The directory.
        directory: PathBuf,
    },
    /// The system refuses to start it.
    #[error("{label}: program `{}` cannot be started: {reason}", program.display())]
    NotStarted {
        /// The child.
        label: String,
        /// The program.
        program: OsString,
        /// What the system says.
        reason: String,
    },
    /// The child reads no more.
    #[error("{label}: the process has closed its stdin or ended ({reason})")]
    Closed {
        /// The child.
        label: String,
        /// What the system says.
        reason: String,
    },
    /// The child lives and does not read.
    #[error("{label}: the process has not read its stdin for {wait:?}")]
    NotReading {
        /// The child.
        label: String,
        /// How long a write waits.
        wait: Duration,
    },
    /// A line is longer than allowed; the next line can be read again.
    #[error("{label}: the process wrote a line longer than {bytes_max} bytes")]
    LineTooLong {
        /// The child.
        label: String,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Its stdout cannot be read.
    #[error("{label}: stdout of the process cannot be read: {reason}")]
    Unreadable {
        /// The child.
        label: String,
        /// What the system says.
        reason: String,
    },
}
