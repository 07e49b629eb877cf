//! Decision records have their three sections; examples name their schema.

use super::SourceFile;

const SECTIONS: [&str; 3] = ["context", "choice", "what we gave up"];
/// The line by which editors with a YAML language server find the schema.
const SCHEMA_LINE: &str = "# yaml-language-server: $schema=";

/// What the documents lack.
pub(crate) fn faults(files: &[SourceFile]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files {
        if is_decision(&file.path) {
            for missing in missing_sections(&file.text) {
                faults.push(format!("{}: no section \"{missing}\"", file.path));
            }
        }
        if is_example(&file.path) && !file.text.lines().any(|line| line.starts_with(SCHEMA_LINE)) {
            faults.push(format!("{}: no line \"{SCHEMA_LINE}…\"", file.path));
        }
    }
    faults
}

fn is_decision(path: &str) -> bool {
    path.starts_with("docs/decisions/") && path.ends_with(".md") && !path.ends_with("/README.md")
}

fn is_example(path: &str) -> bool {
    path.starts_with("examples/") && (path.ends_with(".yaml") || path.ends_with(".yml"))
}

fn missing_sections(text: &str) -> impl Iterator<Item = &'static str> {
    let headings: Vec<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.trim().to_lowercase())
        .collect();
    SECTIONS
        .into_iter()
        .filter(move |section| !headings.iter().any(|heading| heading == section))
}

#[cfg(test)]
mod tests {
    use super::{SourceFile, faults};

    fn check(path: &str, text: &str, expected: &[&str]) {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(faults(&[file]), expected);
    }

    #[test]
    fn a_decision_without_its_price_is_a_fault() {
        check(
            "docs/decisions/0009-x.md",
            "# X\n## Context\n## Choice\n",
            &["docs/decisions/0009-x.md: no section \"what we gave up\""],
        );
        check(
            "docs/decisions/0009-x.md",
            "# X\n## Context\n## Choice\n## What we gave up\n",
            &[],
        );
    }

    #[test]
    fn an_example_without_its_schema_is_a_fault() {
        check(
            "examples/a/b.yaml",
            "kind: Toolset\n",
            &["examples/a/b.yaml: no line \"# yaml-language-server: $schema=…\""],
        );
        check(
            "examples/a/b.yaml",
            "# yaml-language-server: $schema=../x.json\nkind: Toolset\n",
            &[],
        );
    }
}
