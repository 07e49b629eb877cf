//! A private PostgreSQL: one server for a test program, on a Unix socket in a temporary directory, with a fresh database for whoever asks.
//!
//! A small shell stands guard: when the test program is gone, however it ended, so are the server and its directory.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long the server may take to start.
const START_WAIT: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Where Debian has the programs, in a folder per version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// PostgreSQL refuses to run as root; this is Debian's `nobody`, and `nogroup`.
const NOBODY: u32 = 65_534;
const USER: &str = "marque";

/// Ends the server and removes its directory when the pipe to its input closes, or the server ends by itself.
const GUARD: &str = r#"
trap '' INT TERM
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=on -c max_connections=300 \
  -c shared_buffers=16MB >"$2/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
"#;

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    directory: PathBuf,
    databases: AtomicU32,
    /// Holds the pipe that keeps the server alive.
    _guard: Child,
}

/// Set to `required`, a machine without PostgreSQL fails the tests; otherwise they say that they did not run.
pub const REQUIRED: &str = "MARQUE_POSTGRES";

impl Postgres {
    /// Whether tests on PostgreSQL run here. They do wherever it is installed, and fail where it is required and missing.
    #[must_use]
    #[expect(
        clippy::print_stderr,
        reason = "whoever runs the tests must see what did not run"
    )]
    pub fn is_here() -> bool {
        let required = std::env::var_os(REQUIRED).is_some_and(|value| value == "required");
        let is_here = required || programs().is_ok();
        if !is_here {
            eprintln!(
                "NOT TESTED ON POSTGRESQL, which is not installed: `apt-get install postgresql`"
            );
        }
        is_here
    }

    /// The one server of this program; the first who asks waits for its start.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, with the remedy, or does not start.
    pub fn shared() -> anyhow::Result<&'static Self> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::start().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// The URL of a new, empty database.
    ///
    /// # Errors
    /// When the server refuses to create one.
    pub fn database(&self) -> anyhow::Result<String> {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut create = program(&self.programs.join("createdb"));
        create
            .arg("-h")
            .arg(&self.directory)
            .args(["-U", USER, &name]);
        finish(create).context("a database")?;
        let host = self.directory.display();
        Ok(format!("postgres:///{name}?host={host}&user={USER}"))
    }

    /// Starts a server with nothing in it.
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn start() -> anyhow::Result<Self> {
        let programs = programs()?;
        let directory = directory()?;
        let started = Self::start_in(programs, &directory);
        if started.is_err() {
            // What the guard removes where there is one.
            drop(std::fs::remove_dir_all(&directory));
        }
        started
    }

    fn start_in(programs: PathBuf, directory: &Path) -> anyhow::Result<Self> {
        let mut initdb = unprivileged(&programs.join("initdb"));
        initdb.arg("-D").arg(directory.join("data")).args([
            "-U",
            USER,
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        finish(initdb).context("initdb")?;
        let mut guard = unprivileged(Path::new("/bin/sh"));
        guard
            .args(["-c", GUARD, "guard"])
            .arg(&programs)
            .arg(directory)
            .stdin(Stdio::piped())
            // Ctrl-C is for the test program; the guard hears of it by the pipe.
            .process_group(0);
        let server = Self {
            _guard: guard.spawn().context("the guard of PostgreSQL")?,
            programs,
            directory: directory.to_owned(),
            databases: AtomicU32::new(0),
        };
        server.until_ready()?;
        Ok(server)
    }

    fn until_ready(&self) -> anyhow::Result<()> {
        let end = Instant::now() + START_WAIT;
        loop {
            let mut ready = program(&self.programs.join("pg_isready"));
            ready
                .arg("-q")
                .arg("-h")
                .arg(&self.directory)
                .args(["-U", USER]);
            if ready.status().context("pg_isready")?.success() {
                return Ok(());
            }
            if Instant::now() > end {
                let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                bail!("PostgreSQL did not start within {START_WAIT:?}:\n{log}");
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a test program waits for its server, once"
            )]
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Where the programs of PostgreSQL are: the newest of Debian's, or those on the path.
fn programs() -> anyhow::Result<PathBuf> {
    let debian = std::fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let debian = debian.map(|version| (number(&version), version.join("bin")));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| (0, folder));
    debian
        .chain(on_path)
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .max_by_key(|(version, _)| *version)
        .map(|(_, folder)| folder)
        .context(
            "PostgreSQL is missing, and these tests do not run without it: `apt-get install postgresql`, or put its programs on the PATH",
        )
}

fn number(version: &Path) -> u32 {
    let name = version.file_name().unwrap_or_default().to_string_lossy();
    name.parse().unwrap_or(0)
}

/// A directory for the server's user only.
fn directory() -> anyhow::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("marque-postgres-{}-{count}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("a new directory {}", directory.display()))?;
    if is_root() {
        chown(&directory, Some(NOBODY), Some(NOBODY))?;
    }
    Ok(directory)
}

/// Whose our entry in the table of processes is; where there is no such table, nobody tests as root.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the fixture starts the real server"
)]
fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// The same as another user, where we are root.
fn unprivileged(path: &Path) -> Command {
    let mut command = program(path);
    command.current_dir("/");
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn finish(mut command: Command) -> anyhow::Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!(
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
