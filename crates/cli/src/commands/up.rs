//! `marque up`: serve.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::Args;
use resources::Duration;
use url::Url;

use crate::exit::Exit;
use crate::state::StateArgs;
use crate::telemetry::{self, LogFormat};

mod admin;
mod announce;
mod callers;
mod keys;
mod listeners;
mod reload;
mod replicas;
mod serve;
mod stop;

pub(crate) use keys::KeysFrom;
use stop::Stop;

/// The arguments of `marque up`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UpArgs {
    /// Folders or files of resources, or an mcp.json; without any, the current folder
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,

    /// Where to listen, instead of 127.0.0.1:8484
    #[arg(long, value_name = "ADDR", conflicts_with = "stdio")]
    pub(crate) listen: Option<SocketAddr>,

    /// The URL under which clients reach this program, where that is not the address it listens on
    #[arg(long, value_name = "URL", conflicts_with = "stdio")]
    pub(crate) public_url: Option<Url>,

    /// Let toolsets with `access: Anonymous` be used from other machines without a credential
    #[arg(long)]
    pub(crate) allow_anonymous: bool,

    /// Serve one client on stdin and stdout, as desktop hosts start their servers
    #[arg(long)]
    pub(crate) stdio: bool,

    /// Which toolset to serve on stdin and stdout
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        requires = "stdio"
    )]
    pub(crate) toolset: String,

    /// A web origin whose pages may call this program; may be given several times
    #[arg(long = "allowed-origin", value_name = "ORIGIN")]
    pub(crate) allowed_origins: Vec<String>,

    /// Where to answer /readyz and /livez with details, or `off`
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8485")]
    pub(crate) admin: Admin,

    /// What seals session ids: 1 to 3 keys of 32 bytes in base64url, the first seals, all open; without it, a key is made once in the state directory
    #[arg(long, value_name = "env:NAME|file:PATH")]
    pub(crate) handle_keys: Option<KeysFrom>,

    /// Where the other replicas listen for each other, as HOST:PORT, or dns:NAME:PORT for every address of a name; several apart by commas
    #[arg(
        long,
        value_name = "PLACES",
        value_delimiter = ',',
        conflicts_with = "stdio"
    )]
    pub(crate) peers: Vec<gateway::Peer>,

    /// Where to listen for the other replicas; clients are not answered there
    #[arg(long, value_name = "ADDR", requires = "peers")]
    pub(crate) peer_listen: Option<SocketAddr>,

    /// What replicas know each other by: 1 to 3 keys as for --handle-keys, but not the same
    #[arg(long, value_name = "env:NAME|file:PATH", requires = "peers")]
    pub(crate) peer_key: Option<KeysFrom>,

    /// How long calls may take to finish when the program is asked to stop
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) drain_limit: Duration,

    /// Keep serving the first configuration, whatever changes in the folder
    #[arg(long)]
    pub(crate) no_watch: bool,

    #[command(flatten)]
    pub(crate) state: StateArgs,

    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// What to log: error, warn, info, debug or trace, also per part as in `info,gateway=debug`
    #[arg(long, value_name = "LEVEL", env = "MARQUE_LOG", default_value = "info")]
    pub(crate) log: String,
}

/// How long the processes of servers may take to be gone once everything is closed.
const REAP_WAIT: std::time::Duration = std::time::Duration::from_secs(3);

const EXAMPLES: &str = "\
Examples:
  marque up                                       serve the current folder
  marque up examples/quickstart                   serve the examples
  marque up ~/.cursor/mcp.json                    serve what an editor is configured with
  marque up servers.yaml --listen 127.0.0.1:9000
  marque up servers.yaml --stdio                  be an MCP server for a desktop host

Every toolset has a URL of its own, which is printed on stdout; toolset NAME is at /mcp/NAME.
The folder is watched: a change is served at once, and a mistake keeps the old state serving.

Exit codes: 0 stopped as asked, 1 the configuration has errors or an address is taken,
2 wrong arguments.";

/// Where the admin listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admin {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse();
        address
            .map(Self::At)
            .map_err(|_| "expected an address such as 127.0.0.1:8485, or `off`".to_owned())
    }
}

/// Serves until asked to stop.
pub(crate) async fn run(mut args: UpArgs) -> Exit {
    if args.paths.is_empty() {
        args.paths.push(PathBuf::from("."));
    }
    if let Some(missing) = args.paths.iter().find(|path| !path.exists()) {
        anstream::eprintln!("error: {}: no such file or folder", missing.display());
        return Exit::Usage;
    }
    if let Err(reason) = telemetry::start(&args.log, args.log_format) {
        anstream::eprintln!("error: --log {}: {reason}", args.log);
        return Exit::Usage;
    }
    let served = serve::run(&args).await;
    children_gone().await;
    match served {
        Ok(()) => Exit::Done,
        Err(Stop::Findings(findings)) => {
            findings
                .iter()
                .for_each(|finding| anstream::eprintln!("{finding}"));
            let errors = findings.iter().filter(|finding| finding.is_error()).count();
            anstream::eprintln!(
                "not started: {errors} error{}",
                if errors == 1 { "" } else { "s" }
            );
            Exit::Failed
        }
        Err(Stop::Reason(reason)) => Exit::internal(&reason),
    }
}

/// Waits, for a bounded time, until the processes of servers are reaped: whoever looks afterwards finds none.
async fn children_gone() {
    let end = std::time::Instant::now() + REAP_WAIT;
    while has_children() && std::time::Instant::now() < end {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Whether this process has children, as far as the system tells.
fn has_children() -> bool {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return false;
    };
    threads.flatten().any(|thread| {
        std::fs::read_to_string(thread.path().join("children"))
            .is_ok_and(|ids| !ids.trim().is_empty())
    })
}
