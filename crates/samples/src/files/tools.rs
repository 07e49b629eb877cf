//! What a model can do here: list, read, search.

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    folder::{Entry, FILE_BYTES_MAX, Folder, Unreadable},
    search, uri,
};
use crate::{
    call::Call,
    outcome::Stop,
    server::{tool_arguments, tool_result},
};

/// The most files that one answer names.
const LISTED_MAX: usize = 500;

/// Describes the tools.
pub(super) fn all() -> Value {
    json!([list_files(), read_file(), search_files()])
}

fn list_files() -> Value {
    json!({
        "name": "list_files",
        "title": "List files",
        "description": "Lists the files of the folder with size and URI, at most 500. \
                        A glob narrows the list, for example *.md or guide/**.",
        "inputSchema": {
            "type": "object",
            "properties": {"glob": glob_schema()},
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "files": {"type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string"},
                        "uri": {"type": "string"},
                        "bytes": {"type": "integer"},
                    },
                    "required": ["path", "uri", "bytes"],
                }},
                "total": {"type": "integer", "description": "How many files there are; may be more than are listed."},
            },
            "required": ["files", "total"],
        },
        "annotations": annotations("List files"),
    })
}

fn read_file() -> Value {
    json!({
        "name": "read_file",
        "title": "Read a file",
        "description": "Returns the whole text of one file of the folder, up to 1 MiB.",
        "inputSchema": {
            "type": "object",
            "properties": {"path": {
                "type": "string",
                "description": "Relative to the folder, as list_files and search name it.",
            }},
            "required": ["path"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "uri": {"type": "string"},
                "lines": {"type": "integer"},
                "text": {"type": "string"},
            },
            "required": ["path", "uri", "lines", "text"],
        },
        "annotations": annotations("Read a file"),
    })
}

fn search_files() -> Value {
    json!({
        "name": "search",
        "title": "Search the files",
        "description": "Finds the lines that contain a text, upper and lower case alike, \
                        with file and line number; at most 100.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "description": "The text to look for."},
                "glob": glob_schema(),
            },
            "required": ["query"],
            "additionalProperties": false,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "matches": {"type": "array", "items": {
                    "type": "object",
                    "properties": {
                        "path": {"type": "string"},
                        "line": {"type": "integer", "minimum": 1},
                        "snippet": {"type": "string"},
                    },
                    "required": ["path", "line", "snippet"],
                }},
                "filesSearched": {"type": "integer"},
                "truncated": {"type": "boolean", "description": "Whether there are more matches."},
            },
            "required": ["matches", "filesSearched", "truncated"],
        },
        "annotations": annotations("Search the files"),
    })
}

fn glob_schema() -> Value {
    json!({
        "type": "string",
        "description": "Which files: * within a name, ** across folders. Without a / it is held \
                        against the file name alone.",
    })
}

fn annotations(title: &str) -> Value {
    json!({"title": title, "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false})
}

/// Answers `tools/call`.
pub(super) async fn call(folder: &Folder, call: &Call) -> Result<Value, Stop> {
    match call.name() {
        "list_files" => list(folder, tool_arguments(call)?).await,
        "read_file" => read(folder, tool_arguments(call)?).await,
        "search" => search::search(folder, tool_arguments(call)?, call).await,
        name => Err(Stop::unknown("tool", name)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFiles {
    glob: Option<String>,
}

async fn list(folder: &Folder, arguments: ListFiles) -> Result<Value, Stop> {
    let entries = select(folder, arguments.glob.as_deref()).await?;
    let total = entries.len();
    let shown = &entries[..total.min(LISTED_MAX)];
    let lines: Vec<String> = shown
        .iter()
        .map(|entry| format!("{} ({} bytes)", entry.path, entry.bytes))
        .collect();
    let text = match (total, total - shown.len()) {
        (0, _) => "no files".to_owned(),
        (_, 0) => lines.join("\n"),
        (_, more) => format!("{}\n… and {more} more", lines.join("\n")),
    };
    let files: Vec<Value> = shown
        .iter()
        .map(|entry| {
            json!({"path": entry.path, "uri": uri::from_path(&entry.path), "bytes": entry.bytes})
        })
        .collect();
    Ok(tool_result(text, json!({"files": files, "total": total})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    path: String,
}

async fn read(folder: &Folder, arguments: ReadFile) -> Result<Value, Stop> {
    let path = arguments.path;
    let content = folder.read(&path).await.map_err(|unreadable| {
        Stop::Tool(match unreadable {
            Unreadable::NotFound => format!("no file {path:?} in the folder; see list_files"),
            Unreadable::TooLarge => format!("{path:?} is larger than {FILE_BYTES_MAX} bytes"),
        })
    })?;
    let uri = uri::from_path(&path);
    let Ok(text) = String::from_utf8(content) else {
        let message = format!("{path:?} is not text; it can be read as the resource {uri}");
        return Err(Stop::Tool(message));
    };
    let lines = text.lines().count();
    let structured = json!({"path": path, "uri": uri, "lines": lines, "text": text});
    Ok(tool_result(text, structured))
}

/// Lists the files that a glob selects.
pub(super) async fn select(folder: &Folder, glob: Option<&str>) -> Result<Vec<Entry>, Stop> {
    let mut entries = folder.entries().await;
    if let Some(glob) = glob {
        let selection = Selection::read(glob)?;
        entries.retain(|entry| selection.has(&entry.path));
    }
    Ok(entries)
}

struct Selection {
    glob: GlobMatcher,
    by_name: bool,
}

impl Selection {
    fn read(glob: &str) -> Result<Self, Stop> {
        let built = GlobBuilder::new(glob).literal_separator(true).build();
        let built = built.map_err(|error| Stop::Tool(format!("argument glob: {error}")))?;
        Ok(Self {
            glob: built.compile_matcher(),
            by_name: !glob.contains('/'),
        })
    }

    fn has(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.glob.is_match(if self.by_name { name } else { path })
    }
}
