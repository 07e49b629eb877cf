//! The two engines, and all in which they differ.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, PgPool, SqlitePool};

use crate::StoreError;

/// Connections to one store.
const CONNECTIONS_MAX: u32 = 8;
/// How long SQLite waits for another process that writes.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How long is waited between two attempts to open it.
const BUSY_PAUSE: Duration = Duration::from_millis(25);
/// How long a new connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(8);
/// The lock in PostgreSQL under which one process at a time looks after the tables: "marque" in ASCII.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_xact_lock(120283070592357)";

/// An open database.
#[derive(Debug)]
pub(crate) enum Engine {
    /// A file, or memory.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

/// Says the same to whichever engine it is: one text, compiled for both.
macro_rules! on {
    ($engine:expr, $pool:ident => $body:expr) => {
        match $engine {
            $crate::engine::Engine::Sqlite($pool) => $body,
            $crate::engine::Engine::Postgres($pool) => $body,
        }
    };
}
pub(crate) use on;

/// What is written differently for each engine.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Begins a transaction that will write.
    pub(crate) begin: &'static str,
    /// The first statement of a transaction that may change tables.
    pub(crate) lock_schema: &'static str,
    /// The type of a column of bytes.
    pub(crate) bytes: &'static str,
    /// The clock, in whole unix seconds.
    pub(crate) now: &'static str,
}

const SQLITE: Dialect = Dialect {
    // A transaction that reads first and then finds another writer fails at once, without waiting for it.
    begin: "BEGIN IMMEDIATE",
    lock_schema: "SELECT 1",
    bytes: "BLOB",
    now: "SELECT CAST(strftime('%s', 'now') AS BIGINT)",
};

const POSTGRES: Dialect = Dialect {
    begin: "BEGIN",
    lock_schema: SCHEMA_LOCK,
    bytes: "BYTEA",
    now: "SELECT CAST(floor(extract(epoch FROM clock_timestamp())) AS BIGINT)",
};

/// Where a store is, as far as it may be shown.
#[derive(Debug)]
pub(crate) enum Place {
    Memory,
    File(PathBuf),
    Server(Box<PgConnectOptions>),
}

impl Place {
    /// Reads a URL.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        let wrong = |reason: &str| StoreError::Url {
            reason: reason.to_owned(),
        };
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(wrong("the path of the file is missing")),
                ":memory:" => Ok(Self::Memory),
                path => Ok(Self::File(path.into())),
            };
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // The parser's own text may quote what it cannot read, and with it a password.
            let options = PgConnectOptions::from_str(url)
                .map_err(|_| wrong("it cannot be read as the address of a PostgreSQL database"))?;
            return Ok(Self::Server(Box::new(options)));
        }
        Err(wrong("it begins with neither `sqlite:` nor `postgres:`"))
    }

    /// Its name for people, without user and password.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Memory => "sqlite::memory:".to_owned(),
            Self::File(path) => format!("sqlite:{}", path.display()),
            Self::Server(options) => {
                let host = options.get_socket().map_or_else(
                    || format!("{}:{}", options.get_host(), options.get_port()),
                    |socket| socket.display().to_string(),
                );
                let database = options.get_database().unwrap_or_default();
                format!("postgres://{host}/{database}")
            }
        }
    }
}

/// Opens a file that other processes may be opening for the first time as well: while one of them changes how it is written, SQLite refuses the others without waiting.
async fn patient(path: &Path) -> Result<Engine, sqlx::Error> {
    let end = Instant::now() + BUSY_WAIT;
    loop {
        let options = SqliteConnectOptions::new().filename(path);
        match sqlite(options, CONNECTIONS_MAX).await {
            Err(error) if is_busy(&error) && Instant::now() < end => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// SQLite's code 5, with or without its extension in the upper bytes.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

impl Engine {
    /// Connects.
    pub(crate) async fn open(place: &Place) -> Result<Self, StoreError> {
        let cannot = |reason: String| StoreError::Open {
            store: place.shown(),
            reason,
        };
        let opened = match place {
            Place::Memory => sqlite(SqliteConnectOptions::new().in_memory(true), 1).await,
            Place::File(path) => {
                create(path).map_err(|error| cannot(error.to_string()))?;
                patient(path).await
            }
            Place::Server(options) => postgres(options).await,
        };
        opened.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => cannot("it does not answer".to_owned()),
            error => cannot(error.to_string()),
        })
    }

    /// What is written differently for this engine.
    pub(crate) const fn dialect(&self) -> &'static Dialect {
        match self {
            Self::Sqlite(_) => &SQLITE,
            Self::Postgres(_) => &POSTGRES,
        }
    }

    /// Closes every connection.
    pub(crate) async fn close(&self) {
        on!(self, pool => pool.close().await);
    }
}

async fn sqlite(options: SqliteConnectOptions, connections: u32) -> Result<Engine, sqlx::Error> {
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        // In a write-ahead log, only FULL has a commit on disk when it returns.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_WAIT)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        // Memory is gone with its connection, and a file costs nothing while it is open.
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .acquire_timeout(CONNECT_WAIT)
        .connect_with(options)
        .await?;
    Ok(Engine::Sqlite(pool))
}

async fn postgres(options: &PgConnectOptions) -> Result<Engine, sqlx::Error> {
    let options = options
        .clone()
        .application_name("marque")
        .disable_statement_logging();
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(CONNECT_WAIT)
        .connect_with(options)
        .await?;
    Ok(Engine::Postgres(pool))
}

/// Creates the file, for its owner only; SQLite gives the files beside it the same mode.
fn create(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let url = "postgres://ada:sesame@db.example:5433/marque?sslmode=require";
        let place = Place::parse(url).unwrap();
        assert_eq!(place.shown(), "postgres://db.example:5433/marque");
        let wrong = Place::parse("postgres://ada:sesame@db.example:port/marque").unwrap_err();
        assert!(!wrong.to_string().contains("sesame"), "{wrong}");
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        for (url, shown) in [
            ("sqlite:a b?.db", "sqlite:a b?.db"),
            ("sqlite:///var/lib/m.db", "sqlite:/var/lib/m.db"),
            ("sqlite::memory:", "sqlite::memory:"),
        ] {
            assert_eq!(Place::parse(url).unwrap().shown(), shown);
        }
    }

    #[test]
    fn other_urls_are_refused_with_the_remedy() {
        for url in ["", "mysql://db/m", "sqlite:", "/var/lib/m.db"] {
            let error = Place::parse(url).unwrap_err().to_string();
            assert!(error.contains("write `sqlite:PATH`"), "{error}");
        }
    }
}
