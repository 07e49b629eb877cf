//! Every client with every kind of server.

use super::cast;
use super::clients::{self, STEPS, Session};
use super::install::Tools;
use super::kind::Kind;
use super::process::two_at_a_time;
use super::stage::Stage;

/// A kind of server among the pairs.
pub(super) struct Column {
    /// What it is, in the table.
    pub(super) title: &'static str,
    name: &'static str,
    kind: Kind,
}

const fn column(name: &'static str, title: &'static str, kind: Kind) -> Column {
    Column { title, name, kind }
}

/// The servers.
pub(super) const COLUMNS: [Column; 5] = [
    column("push", "2025-11-25, pushes its questions", Kind::LegacyPush),
    column(
        "plain",
        "2025-11-25, plain: JSON, no sessions",
        Kind::LegacyPlain,
    ),
    column("modern", "2026-07-28", Kind::Modern),
    column("stdio", "stdio", Kind::Stdio),
    column("sse", "2024-11-05, HTTP+SSE", Kind::Sse),
];

/// Steps that are none of a pair, as `docs/conformance.md` explains.
fn left_out(kind: Kind, modern_client: bool, replicas: bool) -> &'static [&'static str] {
    match (kind, modern_client, replicas) {
        // Without sessions and streams nothing comes but the answer.
        (Kind::LegacyPlain, ..) => &[
            "stream",
            "progress",
            "cancel",
            "subscribe",
            "elicitation",
            "sampling",
            "roots",
            "reload",
        ],
        // Elicitation came with 2025-06-18.
        (Kind::Sse, ..) => &["elicitation"],
        // A session has a process of its own, and what that changes is not the list which Marque shows.
        (Kind::Stdio, false, _) => &["reload"],
        // MCP 2026-07-28, basic/transports: a log line on stdio names no request, and others may be under way.
        (Kind::Stdio, true, false) => &["stream"],
        // Every replica has a process of its own, and a client without a session means none of them.
        (Kind::Stdio, true, true) => &["stream", "cancel", "subscribe", "reload"],
        _ => &[],
    }
}

/// Plays all pairs: per column, the sessions of every client. Two kinds of servers at a time, so that nobody counts
/// the calls of somebody else.
pub(super) fn run(tools: &Tools, stage: &Stage) -> anyhow::Result<Vec<Vec<Session>>> {
    two_at_a_time(COLUMNS.iter().collect(), |column| {
        run_column(tools, stage, column)
    })
}

fn run_column(tools: &Tools, stage: &Stage, column: &Column) -> anyhow::Result<Vec<Session>> {
    let name = format!("pairs-{}", column.name);
    let endpoint = stage.endpoint(&name, column.kind, toolset)?;
    let mut sessions = Vec::new();
    for mut player in cast::sdks(tools, stage, &endpoint.url)? {
        // The server itself changes its list when this tool is called.
        player
            .command
            .env("JUDGE_RELOAD", "test_trigger_tool_change");
        let left_out = left_out(column.kind, player.is_modern(), stage.is_replicas());
        let mut steps = STEPS.to_vec();
        steps.retain(|step| !left_out.contains(step));
        let name = format!("{name}-{}", sessions.len());
        let session = clients::play(stage, &name, player, steps, &mut || {
            anyhow::bail!("nothing is to be reloaded here")
        });
        sessions.push(session);
    }
    Ok(sessions)
}

fn toolset(server: &str) -> String {
    format!(
        "apiVersion: marque.dev/v1alpha1\nkind: Toolset\nmetadata: {{name: pairs}}\nspec:\n  access: Anonymous\n  \
         servers:\n    - {{name: fixture, {server}}}\n"
    )
}
