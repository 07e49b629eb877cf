//! Tasks: of the core in 2025-11-25, of an extension in 2026-07-28.
//!
//! Both have the same states and times under other names; only the modern state of a task has its outcome in it.

use crate::json::{ObjectEdit, quote};
use crate::mcp::{Era, meta_key};

use super::{TaskStatus, strip_meta};

/// The extension's name in capabilities.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// Legacy: the task that a message belongs to.
pub(super) const RELATED: &str = "io.modelcontextprotocol/related-task";
/// Members that both eras have: the legacy name, the modern one.
const NAMES: [(&str, &str); 2] = [("ttl", "ttlMs"), ("pollInterval", "pollIntervalMs")];
/// What only the modern state of a task has in it.
const OUTCOME: [&str; 4] = ["resultType", "result", "error", "inputRequests"];

/// Whether a modern client with these capabilities knows tasks (ext-tasks, "Capability Negotiation").
#[must_use]
pub fn declares_tasks(capabilities: &str) -> bool {
    let declared = ObjectEdit::new(capabilities);
    let extensions = declared.and_then(|declared| declared.value("extensions"));
    let extensions = extensions.and_then(ObjectEdit::new);
    let tasks = extensions.and_then(|extensions| extensions.value(TASKS_EXTENSION));
    tasks.is_some_and(|tasks| tasks != "null")
}

/// A legacy server's answer to a call that it made a task of, the task nested, as the flat modern result.
///
/// `None` when there is no task in it.
#[must_use]
pub fn task_created_to_modern(result: &str) -> Option<String> {
    let mut outer = ObjectEdit::new(result)?;
    strip_meta(&mut outer, &[RELATED]);
    let mut task = ObjectEdit::new(outer.value("task")?)?;
    rename(&mut task, Era::Modern);
    task.set("resultType", "\"task\"");
    let outer = outer.finish();
    if let Some(meta) = ObjectEdit::new(&outer)?.value("_meta") {
        task.set("_meta", meta);
    }
    Some(task.finish())
}

/// A modern server's task, flat, as the legacy result with the task nested.
///
/// `None` when it is not an object.
#[must_use]
pub fn task_created_to_legacy(result: &str) -> Option<String> {
    let mut task = ObjectEdit::new(result)?;
    rename(&mut task, Era::Legacy);
    strip_meta(&mut task, &[meta_key::SERVER_INFO]);
    let task = task.finish();
    let mut task = ObjectEdit::new(&task)?;
    let meta = task.value("_meta");
    task.remove("_meta");
    let task = task.finish();
    Some(match meta {
        Some(meta) => format!("{{\"task\":{task},\"_meta\":{meta}}}"),
        None => format!("{{\"task\":{task}}}"),
    })
}

/// The legacy state of a task (`tasks/get`) as the modern one, with its outcome so far.
///
/// `None` when it is not an object.
#[must_use]
pub fn task_state_to_modern(state: &str, outcome: &TaskOutcome<'_>) -> Option<String> {
    let mut task = modern(state, outcome)?;
    task.set("resultType", "\"complete\"");
    Some(task.finish())
}

/// The modern state of a task (`tasks/get`) as the legacy one (of `tasks/get` and `tasks/cancel`).
///
/// `None` when it is not an object.
#[must_use]
pub fn task_state_to_legacy(state: &str) -> Option<String> {
    let mut task = ObjectEdit::new(state)?;
    rename(&mut task, Era::Legacy);
    strip_meta(&mut task, &[meta_key::SERVER_INFO]);
    Some(task.finish())
}

/// The params of `notifications/tasks/status` as those of `notifications/tasks`, with the task's outcome so far.
///
/// `None` when they are not an object.
#[must_use]
pub fn task_notice_to_modern(params: &str, outcome: &TaskOutcome<'_>) -> Option<String> {
    modern(params, outcome).map(ObjectEdit::finish)
}

/// The params of `notifications/tasks` as those of `notifications/tasks/status`.
///
/// `None` when they are not an object.
#[must_use]
pub fn task_notice_to_legacy(params: &str) -> Option<String> {
    let mut task = ObjectEdit::new(params)?;
    rename(&mut task, Era::Legacy);
    strip_meta(&mut task, &[meta_key::SUBSCRIPTION_ID]);
    Some(task.finish())
}

/// What the modern state of a task tells besides its status. All raw JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskOutcome<'a> {
    /// Nothing.
    None,
    /// `inputRequests` of a task that waits for answers.
    Questions(&'a str),
    /// `result` of a task that is done: what legacy `tasks/result` gave.
    Result(&'a str),
    /// `error` of a task that failed: the error that legacy `tasks/result` gave.
    Error(&'a str),
}

fn modern<'a>(state: &'a str, outcome: &TaskOutcome<'_>) -> Option<ObjectEdit<'a>> {
    let mut task = ObjectEdit::new(state)?;
    rename(&mut task, Era::Modern);
    strip_meta(&mut task, &[RELATED]);
    let (status, key, value) = match *outcome {
        TaskOutcome::None => return Some(task),
        TaskOutcome::Questions(raw) => (TaskStatus::InputRequired, "inputRequests", raw),
        // Legacy calls a tool's own error failed; the extension keeps that word for errors of JSON-RPC.
        TaskOutcome::Result(raw) => (TaskStatus::Completed, "result", raw),
        TaskOutcome::Error(raw) => (TaskStatus::Failed, "error", raw),
    };
    let status = quote(status.as_str());
    if task.value("status") != Some(status.as_str()) {
        task.set("status", status);
    }
    task.set(key, value);
    Some(task)
}

/// Gives the members of a task their names in `era`. Both eras want the time to live, if only null.
fn rename(task: &mut ObjectEdit<'_>, era: Era) {
    for key in OUTCOME {
        task.remove(key);
    }
    for (at, (legacy, modern)) in NAMES.into_iter().enumerate() {
        let (from, to) = match era {
            Era::Modern => (legacy, modern),
            Era::Legacy => (modern, legacy),
        };
        task.rename(from, to);
        if at == 0 && task.value(from).or_else(|| task.value(to)).is_none() {
            task.set(to, "null");
        }
    }
}
