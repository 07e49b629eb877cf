//! What a modern result means.

use std::borrow::Cow;

use crate::json::{Member, members, string};

use super::params::last_of_each;
use super::{Malformed, Question};

/// What a modern result means (MCP 2026-07-28, basic/index, "Results").
#[derive(Debug, Clone)]
pub enum Outcome<'a> {
    /// It is the answer.
    Complete,
    /// The server asks back; the request is to be sent again with answers.
    InputRequired(InputRequired<'a>),
    /// The server works on it and will tell when asked (tasks extension).
    Task(TaskResult<'a>),
    /// Something we do not know, which makes the result invalid.
    Unknown(Cow<'a, str>),
}

/// What a server asks back.
#[derive(Debug, Clone)]
pub struct InputRequired<'a> {
    /// Key and question; each key once.
    pub requests: Vec<(Cow<'a, str>, Question<'a>)>,
    /// `requestState`, a raw JSON string to be given back as it came.
    pub state: Option<&'a str>,
}

/// A task that a server has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskResult<'a> {
    /// `taskId`, decoded.
    pub id: Cow<'a, str>,
    /// How far it is.
    pub status: TaskStatus,
    /// How long the server keeps it, from its creation. Absent: for as long as it likes.
    pub ttl_ms: Option<u64>,
    /// How long to wait before asking again.
    pub poll_ms: Option<u64>,
}

/// How far a task is: the same words in both eras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Not done.
    Working,
    /// Waits for answers.
    InputRequired,
    /// Done, with a result.
    Completed,
    /// Done, with an error.
    Failed,
    /// Ended on request.
    Cancelled,
}

impl TaskStatus {
    /// The status with this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "working" => Self::Working,
            "input_required" => Self::InputRequired,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::InputRequired => "input_required",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Working | Self::InputRequired => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Tells what a modern result means. An absent `resultType` means complete (a server from before the final text).
///
/// # Errors
/// When the result is not an object, or lacks what its `resultType` needs.
pub fn outcome(result: &str) -> Result<Outcome<'_>, Malformed> {
    let found = members(result).map_err(|_| wrong("result", "must be an object"))?;
    let Some(kind) = value(&found, "resultType") else {
        return Ok(Outcome::Complete);
    };
    let kind = string(kind).ok_or(wrong("resultType", "must be a string"))?;
    match kind.as_ref() {
        "complete" => Ok(Outcome::Complete),
        "input_required" => input_required(&found).map(Outcome::InputRequired),
        "task" => TaskResult::of(&found).map(Outcome::Task),
        _ => Ok(Outcome::Unknown(kind)),
    }
}

fn input_required<'a>(found: &[Member<'a>]) -> Result<InputRequired<'a>, Malformed> {
    let state = value(found, "requestState");
    if state.is_some_and(|state| string(state).is_none()) {
        return Err(wrong("requestState", "must be a string"));
    }
    let requests = match value(found, "inputRequests") {
        Some(requests) => Question::all(requests)?,
        None => Vec::new(),
    };
    if requests.is_empty() && state.is_none() {
        // MCP 2026-07-28, basic/patterns/mrtr: at least one of the two.
        return Err(wrong("inputRequests", "or `requestState` must be there"));
    }
    Ok(InputRequired { requests, state })
}

impl<'a> Question<'a> {
    /// The questions in an `inputRequests` object, each key once.
    ///
    /// # Errors
    /// When it, or one of them, is not what it should be.
    pub fn all(requests: &'a str) -> Result<Vec<(Cow<'a, str>, Self)>, Malformed> {
        let found = members(requests).map_err(|_| wrong("inputRequests", "must be an object"))?;
        let question = |(key, raw)| Ok((key, Self::parse(raw)?));
        last_of_each(found).into_iter().map(question).collect()
    }

    /// Reads one question.
    ///
    /// # Errors
    /// When it is not an object with a `method`, or its `params` is not an object.
    pub fn parse(request: &'a str) -> Result<Self, Malformed> {
        let found = members(request).map_err(|_| wrong("inputRequests", "must hold objects"))?;
        let method = value(&found, "method")
            .and_then(string)
            .ok_or(wrong("inputRequests", "must hold objects with a `method`"))?;
        let params = value(&found, "params").unwrap_or("{}");
        if !params.starts_with('{') {
            return Err(wrong("inputRequests", "has `params` that is not an object"));
        }
        Ok(Self { method, params })
    }
}

impl<'a> TaskResult<'a> {
    /// Reads the state of a task, as `tasks/get` of the extension gives it.
    ///
    /// # Errors
    /// When `taskId` or `status` is missing or wrong.
    pub fn parse(task: &'a str) -> Result<Self, Malformed> {
        let found = members(task).map_err(|_| wrong("result", "must be an object"))?;
        Self::of(&found)
    }

    fn of(found: &[Member<'a>]) -> Result<Self, Malformed> {
        let text = |key| value(found, key).and_then(string);
        let number = |key| value(found, key).and_then(|raw| raw.parse().ok());
        Ok(Self {
            id: text("taskId").ok_or(wrong("taskId", "must be a string"))?,
            status: text("status")
                .and_then(|status| TaskStatus::parse(&status))
                .ok_or(wrong("status", "must be the status of a task"))?,
            ttl_ms: number("ttlMs"),
            poll_ms: number("pollIntervalMs"),
        })
    }
}

const fn wrong(field: &'static str, wrong: &'static str) -> Malformed {
    Malformed { field, wrong }
}

/// The value of `key`, if it came and is not null.
fn value<'a>(found: &[Member<'a>], key: &str) -> Option<&'a str> {
    let member = found.iter().rev().find(|member| member.key == key)?;
    (member.value != "null").then_some(member.value)
}
