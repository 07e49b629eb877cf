//! Sessions of real clients: who plays, and what they report.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::install::Tools;
use super::process::Running;
use super::stage::Stage;
use crate::workspace;

/// Longest session.
const SESSION_WITHIN: Duration = Duration::from_secs(180);

/// The steps of a session in their order. Every client but the Inspector plays all of them.
pub(super) const STEPS: [&str; 14] = [
    "connect",
    "list",
    "call",
    "stream",
    "progress",
    "cancel",
    "subscribe",
    "prompts",
    "resources",
    "completion",
    "elicitation",
    "sampling",
    "roots",
    "reload",
];

/// Steps that the Inspector's command line can play: it ends after each.
const INSPECTOR_STEPS: [&str; 5] = ["connect", "list", "call", "prompts", "resources"];

/// One client in one era.
pub(super) struct Session {
    /// Name and version of the client.
    pub client: String,
    /// The revision that it spoke.
    pub revision: &'static str,
    /// What it said of each step.
    pub steps: BTreeMap<String, Step>,
    /// Steps that it should have played.
    pub expected: &'static [&'static str],
}

/// What a client said of one step.
pub(super) struct Step {
    /// Whether it went as it should.
    pub ok: bool,
    /// In a few words, what was seen.
    pub detail: String,
}

impl Session {
    /// How many steps failed or were never reached.
    pub(super) fn failures(&self) -> usize {
        self.expected
            .iter()
            .filter(|step| !self.steps.get(**step).is_some_and(|done| done.ok))
            .count()
    }
}

/// A line of a session.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Line {
    Step {
        step: String,
        ok: bool,
        detail: String,
    },
    Ask {
        ask: String,
    },
}

/// Plays every client, one after another, against the clients' endpoint.
pub(super) fn run(tools: &Tools, stage: &mut Stage) -> anyhow::Result<Vec<Session>> {
    let url = stage.clients_url()?;
    let mut sessions = Vec::new();
    for (client, revision, mut command) in cast(tools, stage, &url)? {
        let expected: &[&str] = if client.contains("Inspector") {
            &INSPECTOR_STEPS
        } else {
            &STEPS
        };
        let mut session = Session {
            client,
            revision,
            steps: BTreeMap::new(),
            expected,
        };
        let name = format!("session-{}", sessions.len());
        if let Err(error) = play(&mut session, &mut command, &name, stage, &url) {
            let detail = format!("the session broke off: {error:#}");
            session
                .steps
                .insert("session".to_owned(), Step { ok: false, detail });
        }
        let played = session.steps.values().filter(|step| step.ok).count();
        eprintln!(
            "{} {}: {played} of {} steps",
            session.client,
            session.revision,
            expected.len()
        );
        sessions.push(session);
    }
    Ok(sessions)
}

/// A client about to play: its name and version, what it speaks, and how it is started.
type Player = (String, &'static str, Command);

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// Who plays.
fn cast(tools: &Tools, stage: &Stage, url: &str) -> anyhow::Result<Vec<Player>> {
    let mut cast = Vec::new();
    cast.extend(python_players(tools, stage, url)?);
    cast.extend(node_players(tools, stage, url)?);
    let rmcp = format!("Rust SDK {}", locked_version("rmcp")?);
    for (revision, arguments) in [(LEGACY, None), (MODERN, Some("--modern"))] {
        let mut command = workspace::program(stage.rmcp_client());
        command.arg(url).args(arguments);
        cast.push((rmcp.clone(), revision, command));
    }
    if let Some(second) = stage.second_call() {
        for (_, _, command) in &mut cast {
            command.env("JUDGE_SECOND", second);
        }
    }
    Ok(cast)
}

fn python_players(tools: &Tools, stage: &Stage, url: &str) -> anyhow::Result<Vec<Player>> {
    let start = |series: usize, place: &str, era: Option<&str>| {
        let mut command = workspace::program(&tools.pythons[series - 1]);
        command
            .arg(tools.python_folder.join(format!("sdk{series}.py")))
            .arg(place)
            .args(era);
        // The sessions are read where they are pinned; nothing is written beside them.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let one = format!("Python SDK {}", tools.python_version(1)?);
    let two = format!("Python SDK {}", tools.python_version(2)?);
    let mut players = vec![
        (one.clone(), LEGACY, start(1, url, None)),
        (two.clone(), LEGACY, start(2, url, Some("legacy"))),
        (two.clone(), MODERN, start(2, url, Some("modern"))),
    ];
    if let Some(url) = stage.sse_url(url) {
        players.push((
            one.clone(),
            "2025-11-25 over HTTP+SSE",
            start(1, &url, None),
        ));
    }
    if let Some(words) = stage.stdio_command() {
        let words = serde_json::to_string(&words)?;
        players.push((one, "2025-11-25 over stdio", start(1, &words, None)));
        players.push((
            two,
            "2026-07-28 over stdio",
            start(2, &words, Some("modern")),
        ));
    }
    Ok(players)
}

fn node_players(tools: &Tools, stage: &Stage, url: &str) -> anyhow::Result<Vec<Player>> {
    let start = |script: &str, place: &str, era: Option<&str>| {
        let mut command = tools.node(&tools.node_folder.join(script));
        command.arg(place).args(era);
        command
    };
    let name = |shown: &str, package: &str| {
        Ok::<_, anyhow::Error>(format!("{shown} {}", tools.node_version(package)?))
    };
    let one = name("TypeScript SDK", "@modelcontextprotocol/sdk")?;
    let two = name("TypeScript SDK", "@modelcontextprotocol/client")?;
    let inspector = name("Inspector CLI", "@modelcontextprotocol/inspector")?;
    let mut players = vec![
        (one.clone(), LEGACY, start("sdk1.mjs", url, None)),
        (two.clone(), LEGACY, start("sdk2.mjs", url, Some("legacy"))),
        (two, MODERN, start("sdk2.mjs", url, Some("modern"))),
        (
            inspector.clone(),
            LEGACY,
            start("inspector.mjs", url, Some("legacy")),
        ),
        (
            inspector,
            MODERN,
            start("inspector.mjs", url, Some("modern")),
        ),
    ];
    if let Some(url) = stage.sse_url(url) {
        players.push((
            one,
            "2025-11-25 over HTTP+SSE",
            start("sdk1.mjs", &url, None),
        ));
    }
    Ok(players)
}

fn play(
    session: &mut Session,
    command: &mut Command,
    name: &str,
    stage: &mut Stage,
    url: &str,
) -> anyhow::Result<()> {
    let mut running = Running::start(name, command, &stage.folder)?;
    let until = Instant::now() + SESSION_WITHIN;
    while let Some(line) = running.next_line(until)? {
        match serde_json::from_str(&line)
            .with_context(|| format!("not a line of a session: {line}"))?
        {
            Line::Step { step, ok, detail } => {
                drop(session.steps.insert(step, Step { ok, detail }))
            }
            Line::Ask { ask } if ask == "reload" => stage.reload(url)?,
            Line::Ask { ask } => anyhow::bail!("asked for {ask}"),
        }
    }
    running.end(until)?;
    Ok(())
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
