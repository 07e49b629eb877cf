//! No text makes the reader panic, and what it accepts it understands.

use std::time::{Duration, Instant};

use proptest::prelude::*;

/// Pieces of documents, so that random texts get past the first check.
const PIECES: [&str; 40] = [
    "apiVersion: marque.dev/v1alpha1\n",
    "kind: Toolset\n",
    "kind: MCPServer\n",
    "kind: Gateway\n",
    "apiVersion: gateway.networking.k8s.io/v1\n",
    "apiVersion: v1\n",
    "kind: Secret\n",
    "kind: List\n",
    "metadata: {name: a}\n",
    "metadata:\n",
    "  name: a\n",
    "  namespace: b\n",
    "spec:\n",
    "  servers:\n",
    "  - name: a\n",
    "    url: http://a/\n",
    "    command: [a]\n",
    "    env: {A: b, C: {env: D}}\n",
    "    headers: [{name: A, value: b}]\n",
    "    prefix: é\n",
    "  listeners: [{name: a, port: 1, protocol: HTTP}]\n",
    "  path: /a\n",
    "  naming: Passthrough\n",
    "  backendRefs: [{name: a}]\n",
    "  parentRefs: [{name: a}]\n",
    "  remote: {url: 'http://a/'}\n",
    "  stdio: {command: [a]}\n",
    "data: {a: YQ==}\n",
    "stringData: {a: b}\n",
    "---\n",
    "mcpServers:\n",
    "  a: {command: x, args: ['${A}', '${', '$']}\n",
    "items: [1]\n",
    "&a ",
    "*a\n",
    "!!str ",
    "? ",
    "\t",
    "\"",
    "{",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _found = crate::load("any.yaml", &text);
    }

    #[test]
    fn arbitrary_documents_never_panic(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..20)) {
        let (_, findings) = crate::load("any.yaml", &pieces.concat());
        // The schema and the Rust type must agree on what is valid.
        prop_assert!(findings.iter().all(|finding| finding.code != "unreadable"), "{}", crate::shown(&findings));
    }

    #[test]
    fn changed_examples_never_panic(cut in 0usize..2000, put in any::<char>(), which in 0usize..3) {
        let name = ["overrides.yaml", "gateway-tls.yaml", "mcp.json"][which];
        let mut text: Vec<char> = std::fs::read_to_string(crate::project().join("examples").join(name)).unwrap().chars().collect();
        let at = cut % text.len();
        text[at] = put;
        let text: String = text.into_iter().collect();
        let (_, findings) = crate::load(name, &text);
        prop_assert!(findings.iter().all(|finding| finding.code != "unreadable"), "{}", crate::shown(&findings));
    }
}

/// How long the slowest text of this size may take. Reading takes about 0.1 s; this has to catch what is not linear.
const TAKES_MAX: Duration = Duration::from_secs(10);

#[test]
fn no_large_text_takes_long() {
    let size = resources::document::FILE_BYTES_MAX / 16;
    for piece in [
        "a, ", "[", "{", "- ", "? ", "a: ", "&a ", "*a ", "!a ", "\"", "'", "#", "\n", "--- a\n",
        "a: b\n", "|\n", "a\n b\n", "%a\n", "x", "- a\n", "\t", "\\u0061", "{a: b, ", "é",
    ] {
        for start in ["", "[", "a: \"", "a: |\n "] {
            let text = start.to_owned() + &piece.repeat(size / piece.len());
            let begin = Instant::now();
            let _found = crate::load("any.yaml", &text);
            let took = begin.elapsed();
            assert!(took < TAKES_MAX, "{start:?} {piece:?} took {took:?}");
        }
    }
}
