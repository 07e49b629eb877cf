//! `marque sample`: the example MCP servers.

use std::{io, path::PathBuf};

use clap::Subcommand;

use crate::exit::Exit;

/// Which example server to run.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum SampleCommand {
    /// Serve the files of a folder: list, read, search
    Files {
        /// The folder; nothing outside it can be read, and no hidden file in it
        #[arg(long, value_name = "DIR", default_value = ".")]
        root: PathBuf,
    },
    /// Serve the time in all time zones: tell, convert, plan a meeting
    Time,
}

const EXAMPLES: &str = "\
These speak MCP on stdin and stdout; a gateway or an MCP client starts them.

Examples:
  marque sample files --root docs

or as a server of a configuration:

  apiVersion: marque.dev/v1alpha1
  kind: MCPServer
  metadata: {name: time}
  spec:
    stdio: {command: [marque, sample, time]}";

/// Runs the server until its client goes away.
pub(crate) async fn run(command: SampleCommand) -> Exit {
    let (ran, subject) = match command {
        SampleCommand::Files { root } => {
            let subject = format!("cannot serve the folder {}", root.display());
            (samples::files::run(&root).await, subject)
        }
        SampleCommand::Time => (samples::time::run().await, "cannot serve".to_owned()),
    };
    match ran {
        Ok(()) => Exit::Done,
        // The client has gone away, which is how such servers are ended.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => Exit::internal(&format!("{subject}: {error}")),
    }
}
