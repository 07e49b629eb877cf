//! Child processes: programs that speak in lines over stdin and stdout.
//!
//! A program runs under a supervisor, which is this program's own binary in another mode (see `supervise`).
//! It never outlives us, nor does anything it has started.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{Access, access};
use tokio::process::Command;

mod failure;
mod family;
mod guard;
mod reader;
mod stderr;
mod supervise;
mod writer;

pub use self::failure::ChildFailure;
pub use self::guard::ChildGuard;
pub use self::reader::{ChildReader, LINE_BYTES_MAX};
pub use self::supervise::{SUPERVISE, supervise};
pub use self::writer::{ChildWriter, PENDING_BYTES_MAX, WRITE_WAIT};

/// What to run.
#[derive(Clone)]
pub struct ChildSpec {
    /// What logs and errors call it.
    pub label: String,
    /// The program: a path, or a name that is looked up in the `PATH` of `env`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment: nothing is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs; our own working directory by default.
    pub working_directory: Option<PathBuf>,
    /// The binary that calls [`supervise`] when its first argument is [`SUPERVISE`].
    pub supervisor: PathBuf,
}

/// A running child: what to write to, what to read from, and what to hold.
#[derive(Debug)]
pub struct Child {
    /// To its stdin.
    pub writer: ChildWriter,
    /// From its stdout.
    pub reader: ChildReader,
    /// Ends it when dropped.
    pub guard: ChildGuard,
}

impl Child {
    /// Starts a child.
    ///
    /// # Errors
    /// The program or the working directory is not there, or the system refuses.
    #[expect(
        clippy::unused_async,
        reason = "starting registers with the runtime: the signature shows it"
    )]
    pub async fn start(spec: &ChildSpec) -> Result<Self, ChildFailure> {
        if let Some(directory) = &spec.working_directory
            && !directory.is_dir()
        {
            return Err(ChildFailure::NoDirectory {
                label: spec.label.clone(),
                directory: directory.clone(),
            });
        }
        find(spec)?;
        let not_started = |reason: String| ChildFailure::NotStarted {
            label: spec.label.clone(),
            program: spec.program.clone(),
            reason,
        };
        let mut child = command(spec)
            .spawn()
            .map_err(|error| not_started(format!("{}: {error}", spec.supervisor.display())))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(not_started("no pipes".to_owned()));
        };
        let stdin = writer::Stdin::new(stdin);
        Ok(Self {
            writer: ChildWriter::new(spec.label.clone(), stdin.clone()),
            reader: ChildReader::new(spec.label.clone(), stdout),
            guard: ChildGuard::new(spec.label.clone(), child, stdin, stderr),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the door through which all processes are started"
)]
fn command(spec: &ChildSpec) -> Command {
    let mut command = Command::new(&spec.supervisor);
    command
        .arg0(supervise::NAME)
        .arg(SUPERVISE)
        .arg("--")
        .arg(std::process::id().to_string())
        .arg(&spec.program)
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal is for us; we then end our children in order.
        .process_group(0);
    if let Some(directory) = &spec.working_directory {
        command.current_dir(directory);
    }
    command
}

/// Sees that the program is there, because here the error can say what to do.
fn find(spec: &ChildSpec) -> Result<(), ChildFailure> {
    let not_found = |remedy: String| ChildFailure::NotFound {
        label: spec.label.clone(),
        program: spec.program.clone(),
        remedy,
    };
    let program = Path::new(&spec.program);
    if spec.program.as_encoded_bytes().contains(&b'/') {
        let base = spec
            .working_directory
            .as_deref()
            .unwrap_or_else(|| Path::new(""));
        return match is_program(&base.join(program)) {
            true => Ok(()),
            false => Err(not_found(
                "see that the path is right and the file may be executed".to_owned(),
            )),
        };
    }
    let path = spec
        .env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, path)| path.as_os_str());
    let Some(path) = path else {
        return Err(not_found(
            "give its full path, or a PATH in the server's environment".to_owned(),
        ));
    };
    if std::env::split_paths(path).any(|directory| is_program(&directory.join(program))) {
        return Ok(());
    }
    Err(not_found(format!(
        "install it, or give its full path; the PATH of this server is {}",
        OsStr::display(path)
    )))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

impl std::fmt::Debug for ChildSpec {
    /// Without arguments and environment: they may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSpec")
            .field("label", &self.label)
            .field("program", &self.program)
            .field("working_directory", &self.working_directory)
            .finish_non_exhaustive()
    }
}
