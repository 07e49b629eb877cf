//! Marque in front of servers: one process, or three behind a dumb balancer.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};

use super::process::Running;
use super::stage::{NAMED_WITHIN, Stage, write_whole};
use crate::workspace;

/// How many processes stand behind the balancer.
const REPLICAS: usize = 3;

/// One endpoint of Marque.
pub(super) struct Front {
    pub(super) url: String,
    /// What it serves; watched by every process.
    pub(super) folder: PathBuf,
    /// Ended in this order: nobody calls a replica that is gone.
    _running: Vec<Running>,
}

impl Front {
    /// Starts it over this toolset.
    pub(super) fn start(
        stage: &Stage,
        name: &str,
        toolset: &str,
        replicas: bool,
    ) -> anyhow::Result<Self> {
        let folder = stage.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        write_whole(&folder.join("toolset.yaml"), toolset)?;
        if replicas {
            return Self::several(stage, name, folder);
        }
        let address = free_address()?;
        let (running, url) = one(stage, &format!("marque-{name}"), &folder, &address, &[])?;
        Ok(Self {
            url,
            folder,
            _running: vec![running],
        })
    }

    fn several(stage: &Stage, name: &str, folder: PathBuf) -> anyhow::Result<Self> {
        let common = Common::prepare(&stage.folder.join(format!("{name}-common")))?;
        let mut replicas = Vec::new();
        let mut addresses = Vec::new();
        let mut path = String::new();
        for number in 0..REPLICAS {
            let address = free_address()?;
            let name = format!("marque-{name}-{number}");
            let (running, url) = one(stage, &name, &folder, &address, &common.arguments(number))?;
            let at = url.find(&address).map_or(0, |at| at + address.len());
            url[at..].clone_into(&mut path);
            replicas.push(running);
            addresses.push(address);
        }
        let mut command = workspace::program(&stage.programs().balancer);
        command.args(&addresses);
        let mut balancer =
            Running::start(&format!("balancer-{name}"), &mut command, &stage.folder)?;
        let origin = balancer
            .next_line(Instant::now() + NAMED_WITHIN)?
            .context("the balancer ended")?;
        balancer.ignore_output();
        let mut running = vec![balancer];
        running.append(&mut replicas);
        Ok(Self {
            url: format!("{origin}{path}"),
            folder,
            _running: running,
        })
    }
}

/// What replicas share.
struct Common {
    folder: PathBuf,
    peers: Vec<String>,
}

impl Common {
    fn prepare(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        for file in ["peer.key", "handles.key"] {
            std::fs::write(folder.join(file), key()?)?;
        }
        let peers = (0..REPLICAS)
            .map(|_| free_address())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            folder: folder.to_path_buf(),
            peers,
        })
    }

    fn arguments(&self, number: usize) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let pairs = [
            ("--peers", self.peers.join(",")),
            ("--peer-listen", self.peers[number].clone()),
            ("--peer-key", format!("file:{}", file("peer.key"))),
            ("--handle-keys", format!("file:{}", file("handles.key"))),
            ("--store", format!("sqlite:{}", file("store.db"))),
        ];
        pairs
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect()
    }
}

/// 32 bytes in base64url. They protect a test on loopback for some minutes.
fn key() -> anyhow::Result<String> {
    use std::io::Read as _;
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0_u8; 43];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    // 43 letters are two bits more than 32 bytes; those are zero.
    random[42] &= 0b11_1100;
    let letters = random.map(|byte| char::from(LETTERS[usize::from(byte % 64)]));
    Ok(letters.iter().collect())
}

/// One process and the endpoint that it names.
fn one(
    stage: &Stage,
    name: &str,
    folder: &Path,
    address: &str,
    more: &[String],
) -> anyhow::Result<(Running, String)> {
    let mut command = workspace::program(&stage.programs().marque);
    command
        .arg("up")
        .arg(folder)
        .args(["--listen", address, "--admin", "off", "--state-dir"])
        .arg(stage.folder.join(format!("{name}-state")))
        .args(more);
    let mut running = Running::start(name, &mut command, &stage.folder)?;
    let until = Instant::now() + NAMED_WITHIN;
    let url = loop {
        let Some(line) = running.next_line(until)? else {
            let log = stage.folder.join(format!("{name}.log"));
            bail!(
                "marque ended before it named its endpoint: {}",
                said_last(&log)
            );
        };
        if let Some(url) = endpoint_in(&line) {
            break url.to_owned();
        }
    };
    running.ignore_output();
    Ok((running, url))
}

/// The last line of a log.
fn said_last(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// The first full URL in a line that names an endpoint.
fn endpoint_in(line: &str) -> Option<&str> {
    let start = line.find("http://")?;
    let url = line[start..].split_whitespace().next()?;
    url.contains("/mcp").then_some(url)
}

/// An address that was free a moment ago; nobody else on the machine is in a hurry for it.
fn free_address() -> anyhow::Result<String> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(taken.local_addr()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::endpoint_in;

    #[test]
    fn endpoint_is_found_in_a_line_for_people() {
        let cases = [
            ("http://127.0.0.1:1/mcp/a", Some("http://127.0.0.1:1/mcp/a")),
            (
                "  matrix  http://127.0.0.1:1/mcp/matrix  2 servers",
                Some("http://127.0.0.1:1/mcp/matrix"),
            ),
            ("admin on http://127.0.0.1:2/ready", None),
            ("starting", None),
        ];
        for (line, url) in cases {
            assert_eq!(endpoint_in(line), url);
        }
    }
}
