//! Who plays: every client in every era that it speaks.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::install::Tools;
use super::stage::Stage;
use crate::workspace;

/// A client about to play.
pub(super) struct Player {
    /// Its name and version.
    pub(super) client: String,
    /// What it speaks.
    pub(super) revision: &'static str,
    /// How it is started.
    pub(super) command: Command,
}

impl Player {
    /// Whether it speaks 2026-07-28.
    pub(super) fn is_modern(&self) -> bool {
        self.revision == MODERN
    }
}

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
const OVER_SSE: &str = "2025-11-25 over HTTP+SSE";

/// The SDKs over Streamable HTTP.
pub(super) fn sdks(tools: &Tools, stage: &Stage, url: &str) -> anyhow::Result<Vec<Player>> {
    let mut players = Vec::new();
    for (series, revision) in [(1, LEGACY), (2, LEGACY), (2, MODERN)] {
        players.push(python(tools, series, revision, url)?);
    }
    for (series, revision) in [(1, LEGACY), (2, LEGACY), (2, MODERN)] {
        players.push(node(tools, series, revision, url)?);
    }
    let rust = format!("Rust SDK {}", locked_version("rmcp")?);
    for (revision, arguments) in [(LEGACY, None), (MODERN, Some("--modern"))] {
        let mut command = workspace::program(&stage.programs().client);
        command.arg(url).args(arguments);
        players.push(Player {
            client: rust.clone(),
            revision,
            command,
        });
    }
    Ok(players)
}

/// The Inspector's command line.
pub(super) fn inspectors(tools: &Tools, url: &str) -> anyhow::Result<Vec<Player>> {
    let version = tools.node_version("@modelcontextprotocol/inspector")?;
    let client = format!("Inspector CLI {version}");
    let players = [(LEGACY, "legacy"), (MODERN, "modern")].map(|(revision, era)| {
        let mut command = tools.node(&tools.node_folder.join("inspector.mjs"));
        command.args([url, era]);
        Player {
            client: client.clone(),
            revision,
            command,
        }
    });
    Ok(players.into())
}

/// SDKs over what else Marque serves: the transport of 2024-11-05, and standard input and output.
pub(super) fn other_transports(
    tools: &Tools,
    stage: &Stage,
    url: &str,
    configuration: &Path,
) -> anyhow::Result<Vec<Player>> {
    let sse = format!("{url}/sse");
    let stdio = serde_json::to_string(&stdio_command(stage, configuration))?;
    let as_told = |mut player: Player, revision| {
        player.revision = revision;
        player
    };
    Ok(vec![
        as_told(python(tools, 1, LEGACY, &sse)?, OVER_SSE),
        as_told(node(tools, 1, LEGACY, &sse)?, OVER_SSE),
        as_told(python(tools, 1, LEGACY, &stdio)?, "2025-11-25 over stdio"),
        as_told(python(tools, 2, MODERN, &stdio)?, "2026-07-28 over stdio"),
    ])
}

fn python(
    tools: &Tools,
    series: usize,
    revision: &'static str,
    place: &str,
) -> anyhow::Result<Player> {
    let mut command = workspace::program(&tools.pythons[series - 1]);
    command
        .arg(tools.python_folder.join(format!("sdk{series}.py")))
        .arg(place)
        .args(era(series, revision))
        // The sessions are read where they are pinned; nothing is written beside them.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(Player {
        client: format!("Python SDK {}", tools.python_version(series)?),
        revision,
        command,
    })
}

fn node(
    tools: &Tools,
    series: usize,
    revision: &'static str,
    place: &str,
) -> anyhow::Result<Player> {
    let package = ["@modelcontextprotocol/sdk", "@modelcontextprotocol/client"][series - 1];
    let mut command = tools.node(&tools.node_folder.join(format!("sdk{series}.mjs")));
    command.arg(place).args(era(series, revision));
    Ok(Player {
        client: format!("TypeScript SDK {}", tools.node_version(package)?),
        revision,
        command,
    })
}

/// The first series speaks one era only and is not told.
fn era(series: usize, revision: &str) -> Option<&'static str> {
    (series > 1).then_some(if revision == MODERN {
        "modern"
    } else {
        "legacy"
    })
}

/// The program that serves the toolset of a configuration on standard input and output.
fn stdio_command(stage: &Stage, configuration: &Path) -> Vec<String> {
    let words = |path: &Path| path.display().to_string();
    let mut command = vec![words(&stage.programs().marque), "up".to_owned()];
    command.push(words(configuration));
    command.extend(["--stdio", "--toolset", "matrix", "--admin", "off"].map(str::to_owned));
    command.push("--state-dir".to_owned());
    command.push(words(&stage.folder.join("stdio-state")));
    command
}

/// The version of a crate in `Cargo.lock`.
fn locked_version(name: &str) -> anyhow::Result<String> {
    let lock = std::fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let entry = lock
        .split("[[package]]")
        .find(|entry| entry.contains(&format!("\nname = \"{name}\"\n")));
    let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
    Ok(version
        .with_context(|| format!("Cargo.lock has no {name}"))?
        .to_owned())
}
