//! One server as a child process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use transport::child::{Child, ChildFailure, ChildSpec};

use super::duplex::Switch;
use super::{Audience, Duplex};
use crate::failure::UpstreamFailure;

/// How long a process has to leave by itself once its input is closed.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Clone)]
pub(crate) struct Program {
    /// The server's name.
    pub(crate) server: Arc<str>,
    /// Program and arguments.
    pub(crate) command: Vec<OsString>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Where it starts.
    pub(crate) working_directory: Option<PathBuf>,
    /// The marque binary, which supervises it.
    pub(crate) supervisor: PathBuf,
}

impl std::fmt::Debug for Program {
    /// Without arguments and environment: they may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program")
            .field("server", &self.server)
            .field("program", &self.command.first())
            .field("working_directory", &self.working_directory)
            .finish_non_exhaustive()
    }
}

/// Starts the process and connects to it.
pub(crate) async fn start(
    program: &Program,
    audience: Audience,
    uncorrelated: mpsc::Sender<Bytes>,
) -> Result<Duplex, UpstreamFailure> {
    let mut command = program.command.iter().cloned();
    let spec = ChildSpec {
        label: program.server.to_string(),
        program: command.next().unwrap_or_default(),
        args: command.collect(),
        env: program.env.clone(),
        working_directory: program.working_directory.clone(),
        supervisor: program.supervisor.clone(),
    };
    let unreachable = |error: ChildFailure| UpstreamFailure::Unreachable {
        server: program.server.clone(),
        reason: error.to_string(),
    };
    let child = Child::start(&spec).await.map_err(unreachable)?;
    Ok(Duplex::new(
        program.server.clone(),
        audience,
        uncorrelated,
        |switch, wire, tasks| run(child, switch, wire, tasks),
    ))
}

fn run(child: Child, switch: Switch, mut wire: mpsc::Receiver<Bytes>, tasks: &mut JoinSet<()>) {
    let Child {
        mut writer,
        mut reader,
        guard,
    } = child;
    let writing = switch.clone();
    tasks.spawn(async move {
        while let Some(message) = wire.recv().await {
            let message = one_line(message);
            if let Err(error) = writer.send(&message).await {
                writing.close(error.to_string());
                return;
            }
        }
    });
    tasks.spawn(async move {
        let mut broken = None;
        while let Some(line) = reader.next().await {
            match line {
                Ok(line) => switch.take(line),
                // One bad line ends one call, not the process that others share.
                Err(error @ ChildFailure::LineTooLong { .. }) => {
                    switch.unreadable(error.to_string());
                }
                Err(error) => {
                    broken = Some(error.to_string());
                    break;
                }
            }
        }
        let words = guard.last_words();
        let said = if words.is_empty() {
            String::new()
        } else {
            format!("; it last said: {}", words.join(" | "))
        };
        let reason = broken.unwrap_or_else(|| "the process has ended".to_owned());
        switch.close(format!("{reason}{said}"));
        guard.stop(LEAVE_WAIT).await;
    });
}

/// Messages are lines (basic/transports, "stdio"): raw line breaks between JSON tokens become spaces.
fn one_line(message: Bytes) -> Bytes {
    if memchr::memchr2(b'\n', b'\r', &message).is_none() {
        return message;
    }
    message
        .iter()
        .map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                *byte
            }
        })
        .collect()
}
