//! An `mcp.json` is taken or found wrong, the same way each time, and no finding repeats a value of `env` or `headers`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resources::{Values, build, parse};

/// Put in as a value that no finding may repeat: as short as a secret may be, unlike anything in a finding.
const SECRET: &str = "s3cr3t-Zq9";

fuzz_target!(|input: (&str, &str, &str)| {
    let (name, key, more) = input;
    if [name, key, more].concat().contains(SECRET) {
        return;
    }
    let quoted = |text: &str| serde_json::to_string(text).expect("a string always serializes");
    // Any text as the whole document, and any names around a value that is nobody's business.
    let document = format!(
        "{{\"mcpServers\":{{{}:{{\"command\":\"x\",\"env\":{{{}:\"{SECRET}\"}},{}:{}}}}}}}",
        quoted(name),
        quoted(key),
        quoted(more),
        quoted(key)
    );
    for text in [name, &document] {
        let found = look(text);
        assert_eq!(
            found,
            look(text),
            "the same text is found right or wrong the same way"
        );
    }
    assert!(
        !look(&document).concat().contains(SECRET),
        "a finding repeats a value"
    );
});

fn look(text: &str) -> Vec<String> {
    let parsed = parse("mcp.json", None, text);
    let built = build(&parsed.documents, Values::default());
    if let Some(set) = &built.set {
        let known = |toolset: &resources::Toolset| {
            toolset
                .backends
                .iter()
                .all(|backend| set.servers.contains_key(&backend.server))
        };
        assert!(set.toolsets.iter().all(known));
    }
    parsed
        .findings
        .iter()
        .chain(&built.findings)
        .map(ToString::to_string)
        .collect()
}
