//! Sessions of real clients, and what they report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::cast::{self, Player};
use super::install::Tools;
use super::kind::Kind;
use super::process::Running;
use super::stage::{Endpoint, Stage, write_whole};

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

/// A call that the second server of the clients' endpoint answers.
const SECOND_CALL: &str = r#"{"tool":"time_now","arguments":{"zone":"Europe/Berlin"}}"#;

/// One client in one era.
pub(super) struct Session {
    /// Name and version of the client.
    pub client: String,
    /// The revision that it spoke.
    pub revision: &'static str,
    /// What it said of each step.
    pub steps: BTreeMap<String, Step>,
    /// Steps that it should have played.
    pub expected: Vec<&'static str>,
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

/// Plays every client, one after another, against an endpoint over two servers, one of them started by Marque.
pub(super) fn run(tools: &Tools, stage: &Stage) -> anyhow::Result<Vec<Session>> {
    let endpoint = stage.endpoint("clients", Kind::AllEras, |server| {
        two_servers(server, false)
    })?;
    let mut sessions = Vec::new();
    let mut third = false;
    for mut player in cast(tools, stage, &endpoint)? {
        if stage.is_marque() {
            player.command.env("JUDGE_SECOND", SECOND_CALL);
        }
        let steps: &[_] = if player.client.contains("Inspector") {
            &INSPECTOR_STEPS
        } else {
            &STEPS
        };
        let name = format!("session-{}", sessions.len());
        let session = play(stage, &name, player, steps.to_vec(), &mut || {
            third = !third;
            reload(stage, &endpoint, third)
        });
        sessions.push(session);
    }
    Ok(sessions)
}

fn cast(tools: &Tools, stage: &Stage, endpoint: &Endpoint) -> anyhow::Result<Vec<Player>> {
    let url = &endpoint.url;
    let mut players = cast::sdks(tools, stage, url)?;
    players.extend(cast::inspectors(tools, url)?);
    match endpoint.configuration() {
        // What one process serves on its standard input needs no replica.
        Some(configuration) if !stage.is_replicas() => {
            players.extend(cast::other_transports(tools, stage, url, configuration)?);
        }
        Some(_) | None => {}
    }
    Ok(players)
}

/// Changes what the endpoint serves while a client looks.
fn reload(stage: &Stage, endpoint: &Endpoint, third: bool) -> anyhow::Result<()> {
    let Some(folder) = endpoint.configuration() else {
        return stage
            .call(&endpoint.url, "test_trigger_tool_change")
            .map(drop);
    };
    let toolset = two_servers(&stage.declared(Kind::AllEras, endpoint), third);
    write_whole(&folder.join("toolset.yaml"), &toolset)
}

/// Plays one client to its end. One that breaks off has failed at every step that it did not reach.
pub(super) fn play(
    stage: &Stage,
    name: &str,
    player: Player,
    expected: Vec<&'static str>,
    reload: &mut dyn FnMut() -> anyhow::Result<()>,
) -> Session {
    let mut session = Session {
        client: player.client,
        revision: player.revision,
        steps: BTreeMap::new(),
        expected,
    };
    let mut command = player.command;
    command.env("JUDGE_STEPS", session.expected.join(","));
    let played = Running::start(name, &mut command, &stage.folder)
        .and_then(|running| listen(&mut session, running, reload));
    if let Err(error) = played {
        let detail = format!("the session broke off: {error:#}");
        session
            .steps
            .insert("session".to_owned(), Step { ok: false, detail });
    }
    let reached = session.expected.len() - session.failures();
    eprintln!(
        "{name}: {} {}: {reached} of {} steps",
        session.client,
        session.revision,
        session.expected.len()
    );
    session
}

fn listen(
    session: &mut Session,
    mut running: Running,
    reload: &mut dyn FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let until = Instant::now() + SESSION_WITHIN;
    while let Some(line) = running.next_line(until)? {
        match serde_json::from_str(&line)
            .with_context(|| format!("not a line of a session: {line}"))?
        {
            Line::Step { step, ok, detail } => {
                drop(session.steps.insert(step, Step { ok, detail }))
            }
            Line::Ask { ask } if ask == "reload" => reload()?,
            Line::Ask { ask } => anyhow::bail!("asked for {ask}"),
        }
    }
    running.end(until)?;
    Ok(())
}

fn two_servers(server: &str, third: bool) -> String {
    let third = if third {
        format!("    - {{name: more, {server}, prefix: more_, include: [echo]}}\n")
    } else {
        String::new()
    };
    format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: matrix}}\nspec:\n  access: Anonymous\n  \
         servers:\n    - {{name: fixture, {server}}}\n    \
         - {{name: time, command: [marque, sample, time], prefix: time_}}\n{third}"
    )
}
