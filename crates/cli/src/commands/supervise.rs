//! `marque __supervise`: the small process between Marque and a child process.

use std::process::ExitCode;

use transport::child;

/// Becomes the supervisor if that is what this process was started for.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != child::SUPERVISE {
        return None;
    }
    Some(child::supervise(arguments.collect()))
}
