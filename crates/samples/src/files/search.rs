//! The slow tool: reads every file, tells how far it has come, and can be stopped at any time.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{folder::Folder, tools};
use crate::{call::Call, era::LogLevel, outcome::Stop, server::tool_result};

/// The most lines that one answer holds.
const MATCHES_MAX: usize = 100;
/// The longest part of a line that is shown, in characters.
const SNIPPET_CHARS_MAX: usize = 200;
/// How much is shown before the match in a longer line, in characters.
const SNIPPET_LEAD_CHARS: usize = 60;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Search {
    query: String,
    glob: Option<String>,
}

/// Searches the files for a text.
///
/// # Cancellation
/// Stops before the next file.
pub(super) async fn search(folder: &Folder, arguments: Search, call: &Call) -> Result<Value, Stop> {
    if arguments.query.is_empty() {
        return Err(Stop::Tool("argument query must not be empty".into()));
    }
    let query = arguments.query.to_lowercase();
    let entries = tools::select(folder, arguments.glob.as_deref()).await?;
    let mut progress = call.progress();
    let mut matches = Vec::new();
    let mut searched = 0;
    for entry in &entries {
        if matches.len() > MATCHES_MAX {
            break;
        }
        searched += 1;
        // Files that are too large, no text, or gone in the meantime have no lines to find.
        if let Ok(content) = folder.read(&entry.path).await
            && let Ok(text) = std::str::from_utf8(&content)
        {
            find(&entry.path, text, &query, &mut matches);
        }
        progress.tell(searched, entries.len(), &entry.path).await;
    }
    let data = json!(format!("searched {searched} of {} files", entries.len()));
    call.log(LogLevel::INFO, "search", &data).await;
    Ok(report(matches, searched))
}

struct Match {
    path: String,
    line: usize,
    snippet: String,
}

fn find(path: &str, text: &str, query: &str, matches: &mut Vec<Match>) {
    let room = (MATCHES_MAX + 1).saturating_sub(matches.len());
    let found = text.lines().enumerate().filter_map(|(index, line)| {
        let at = line.to_lowercase().find(query)?;
        Some(Match {
            path: path.to_owned(),
            line: index + 1,
            snippet: snippet(line, at),
        })
    });
    matches.extend(found.take(room));
}

/// Cuts a line to the part around the match. Lower case may be longer or shorter than the original
/// by a few bytes; for a place to look at, that does not matter.
fn snippet(line: &str, at: usize) -> String {
    let line = line.trim();
    if line.chars().count() <= SNIPPET_CHARS_MAX {
        return line.to_owned();
    }
    let before = line
        .char_indices()
        .take_while(|(byte, _)| *byte < at)
        .count();
    let start = before.saturating_sub(SNIPPET_LEAD_CHARS);
    let shown: String = line.chars().skip(start).take(SNIPPET_CHARS_MAX).collect();
    format!("…{shown}…")
}

fn report(mut matches: Vec<Match>, searched: usize) -> Value {
    let truncated = matches.len() > MATCHES_MAX;
    matches.truncate(MATCHES_MAX);
    let lines: Vec<String> = matches
        .iter()
        .map(|found| format!("{}:{}: {}", found.path, found.line, found.snippet))
        .collect();
    let text = match (lines.is_empty(), truncated) {
        (true, _) => format!("nothing found in {searched} files"),
        (false, false) => lines.join("\n"),
        (false, true) => format!("{}\n… and more; narrow the query", lines.join("\n")),
    };
    let matches: Vec<Value> = matches
        .into_iter()
        .map(|found| json!({"path": found.path, "line": found.line, "snippet": found.snippet}))
        .collect();
    let structured = json!({"matches": matches, "filesSearched": searched, "truncated": truncated});
    tool_result(text, structured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_around_the_match() {
        let line = format!("{}needle{}", "ä".repeat(300), "b".repeat(300));
        let at = line.find("needle").unwrap();
        let snippet = snippet(&line, at);
        assert!(snippet.contains("needle"), "{snippet}");
        assert_eq!(snippet.chars().count(), SNIPPET_CHARS_MAX + 2);
    }
}
