//! Any text becomes documents and findings, and the documents a set or findings; each finding says where.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resources::{Values, build, parse};

fuzz_target!(|text: &str| {
    let parsed = parse("input.yaml", None, text);
    let built = build(&parsed.documents, Values::default());
    if let Some(set) = built.set {
        for toolset in &set.toolsets {
            assert!(
                toolset
                    .backends
                    .iter()
                    .all(|backend| set.servers.contains_key(&backend.server))
            );
        }
    }
});
