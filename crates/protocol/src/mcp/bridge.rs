//! What one era says, said in the other: requests, results, questions, capabilities, errors, tools and tasks.
//!
//! Everything here takes raw JSON and gives raw JSON. What the other era says in the same way keeps its bytes:
//! number spellings, order of members, white space and escapes.
//! Nothing here looks at an era by itself: the caller knows who speaks which.
//!
//! MCP 2026-07-28 against 2025-11-25 and older; "lossy" is what `docs/reference/eras.md` tells users.

mod capabilities;
mod content;
mod error;
mod outcome;
mod params;
mod question;
mod result;
mod task;
mod tool;

pub use capabilities::{capabilities_to_legacy, capabilities_to_modern, may_be_asked};
pub use content::{for_version, sampling_for_version};
pub use error::{LegacyError, ModernError, error_to_legacy, error_to_modern};
pub use outcome::{InputRequired, Outcome, TaskResult, TaskStatus, outcome};
pub use params::{Brought, Standing, brought, params_to_legacy, params_to_modern, with_answers};
pub use question::{
    Question, answer_to_legacy, answer_to_modern, input_required, question_to_legacy,
    question_to_modern,
};
pub use result::{result_to_legacy, result_to_modern};
pub use task::{
    TASKS_EXTENSION, TaskOutcome, declares_tasks, task_created_to_legacy, task_created_to_modern,
    task_notice_to_legacy, task_notice_to_modern, task_state_to_legacy, task_state_to_modern,
};
pub use tool::{tool_to_legacy, tool_to_modern};

use crate::json::ObjectEdit;

use super::meta_key;

/// Why a message does not say what its era has it say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {wrong}")]
pub struct Malformed {
    /// The member.
    pub field: &'static str,
    /// What is wrong with it.
    pub wrong: &'static str,
}

/// Words of the modern `_meta` of a request, which no legacy peer gets.
const REQUEST_META: [&str; 4] = [
    meta_key::PROTOCOL_VERSION,
    meta_key::CLIENT_INFO,
    meta_key::CLIENT_CAPABILITIES,
    meta_key::LOG_LEVEL,
];

/// Takes `keys` out of `_meta`; a `_meta` that this leaves empty goes too.
fn strip_meta(edit: &mut ObjectEdit<'_>, keys: &[&str]) {
    let Some(mut meta) = edit.value("_meta").and_then(ObjectEdit::new) else {
        return;
    };
    if !meta
        .came()
        .any(|member| keys.contains(&member.key.as_ref()))
    {
        return;
    }
    for key in keys {
        meta.remove(key);
    }
    if meta.leaves_nothing() {
        edit.remove("_meta");
    } else {
        edit.set("_meta", meta.finish());
    }
}
