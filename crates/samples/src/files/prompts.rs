//! A prompt that hands a file to the model, and completion of its argument.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    folder::Folder,
    resources::{self, TEMPLATE},
    uri,
};
use crate::{
    call::Call,
    outcome::Stop,
    server::{completion, prompt_arguments},
    wire::Fault,
};

const SUMMARIZE_FILE: &str = "summarize_file";

/// Describes the prompts.
pub(super) fn all() -> Value {
    json!([{
        "name": SUMMARIZE_FILE,
        "title": "Summarize a file",
        "description": "Asks for a short summary of one file of the folder.",
        "arguments": [{
            "name": "path",
            "description": "Relative to the folder.",
            "required": true,
        }],
    }])
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SummarizeFile {
    path: String,
}

/// Answers `prompts/get`.
pub(super) async fn fill(folder: &Folder, call: &Call) -> Result<Value, Stop> {
    if call.name() != SUMMARIZE_FILE {
        return Err(Stop::unknown("prompt", call.name()));
    }
    let SummarizeFile { path } = prompt_arguments(call)?;
    let contents = resources::contents(folder, &uri::from_path(&path)).await;
    let Some(contents) = contents else {
        let message = format!("argument path: no file {path:?} in the folder, or it is too large");
        return Err(Fault::invalid_params(message).into());
    };
    let text = format!("Summarize {path} in five sentences or fewer, for a reader in a hurry.");
    Ok(json!({
        "description": format!("Summary of {path}"),
        "messages": [
            {"role": "user", "content": {"type": "text", "text": text}},
            {"role": "user", "content": {"type": "resource", "resource": contents}},
        ],
    }))
}

/// Answers `completion/complete`: paths, both for the prompt and for the resource template.
pub(super) async fn complete(folder: &Folder, call: &Call) -> Result<Value, Stop> {
    let reference = call.params.get("ref").unwrap_or(&Value::Null);
    let kind = reference["type"].as_str().unwrap_or_default();
    let name = reference["name"].as_str().unwrap_or_default();
    match kind {
        "ref/prompt" if name == SUMMARIZE_FILE => {}
        "ref/resource" if reference["uri"] == TEMPLATE => {}
        _ => return Err(Stop::unknown("reference", &reference.to_string())),
    }
    let argument = call.params.get("argument").unwrap_or(&Value::Null);
    if argument["name"] != "path" {
        let message = format!("no argument {} to complete, only path", argument["name"]);
        return Err(Fault::invalid_params(message).into());
    }
    let typed = argument["value"].as_str().unwrap_or_default();
    let entries = folder.entries().await;
    Ok(completion(
        typed,
        entries.into_iter().map(|entry| entry.path),
    ))
}
