//! How the program ends, for the script that started it.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything went well.
    Done,
    /// What was asked for is wrong: a configuration with errors, a tool that reports one.
    Failed,
    /// The command line is wrong, or names what does not exist.
    Usage,
    /// The server refuses this caller.
    Refused,
    /// The server, or the way it speaks, is broken.
    Server,
    /// The server cannot be reached, or does not answer in time.
    Unreachable,
    /// The user interrupted the program.
    Interrupted,
}

impl Exit {
    /// Says what went wrong on this machine, and gives the code for that.
    pub(crate) fn internal(message: &str) -> Self {
        anstream::eprintln!("error: {message}");
        Self::Failed
    }

    /// The number that the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Server => 4,
            Self::Unreachable => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
