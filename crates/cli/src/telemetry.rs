//! Log lines on stderr.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for programs.
    Json,
}

/// Starts logging. Colors only where stderr is a terminal.
///
/// # Errors
/// What is wrong with the filter.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), String> {
    use std::io::IsTerminal as _;
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    let colored = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colored);
    let started = match format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| error.to_string())
}
