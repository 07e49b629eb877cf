//! Every file of `scenarios/invalid` is refused with exactly the findings it expects.
//!
//! A line `# expect: LINE:COLUMN CODE PART || HELP` stands for one finding; the parts are substrings.

use resources::Finding;

struct Expected<'t> {
    place: &'t str,
    code: &'t str,
    message: &'t str,
    help: &'t str,
}

fn expectations(text: &str) -> Vec<Expected<'_>> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# expect: "))
        .map(|line| {
            let (line, help) = line.split_once(" ||").unwrap_or((line, ""));
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            Expected {
                place: word(),
                code: word(),
                message: word(),
                help: help.trim(),
            }
        })
        .collect()
}

fn meets(finding: &Finding, expected: &Expected<'_>) -> bool {
    let origin = finding.origin.as_ref().expect("every finding has a place");
    let line = finding.to_string();
    let help = finding.help.as_deref().unwrap_or_default();
    format!("{}:{}", origin.line, origin.column) == expected.place
        && finding.code == expected.code
        && line.contains(expected.message)
        && help.contains(expected.help)
}

#[test]
fn every_invalid_document_is_refused_field_by_field() {
    let folder = crate::project().join("scenarios/invalid");
    let mut wrong = String::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let (set, mut findings) = crate::load(&name, &text);
        files += 1;
        let expected = expectations(&text);
        assert!(!expected.is_empty(), "{name} expects nothing");
        if set.is_some() {
            wrong += &format!("{name}: gives a set\n");
        }
        for expected in expected {
            match findings
                .iter()
                .position(|finding| meets(finding, &expected))
            {
                Some(found) => drop(findings.remove(found)),
                None => {
                    wrong += &format!(
                        "{name}: not found: {} {} {}\n",
                        expected.place, expected.code, expected.message
                    )
                }
            }
        }
        for finding in findings {
            wrong += &format!("{name}: not expected: {finding}\n");
        }
    }
    assert!(files > 10, "the scenarios are missing");
    assert!(wrong.is_empty(), "\n{wrong}");
}
