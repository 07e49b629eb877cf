//! Results: what they mean, and complete ones in both directions.

use proptest::prelude::{prop_assert_eq, proptest};
use proptest::sample::select;
use proptest::test_runner::Config;
use protocol::mcp::bridge::{
    Malformed, Outcome, TaskStatus, outcome, result_to_legacy, result_to_modern,
};
use protocol::mcp::{Method, Version};

use super::{object_around, object_with, others, segments, value};
use crate::json::CASES;

const KEYS: &[&str] = &[
    "content",
    "contents",
    "resultType",
    "ttlMs",
    "cacheScope",
    "tools",
];
const SERVER: &str = "io.modelcontextprotocol/serverInfo";
const CACHED: [Method; 5] = [
    Method::ToolsList,
    Method::PromptsList,
    Method::ResourcesList,
    Method::TemplatesList,
    Method::ResourcesRead,
];
const METHODS: [Method; 8] = [
    Method::ToolsList,
    Method::ToolsCall,
    Method::PromptsList,
    Method::PromptsGet,
    Method::ResourcesList,
    Method::TemplatesList,
    Method::ResourcesRead,
    Method::Complete,
];

#[test]
fn a_result_says_what_it_is() {
    for complete in [
        "{}",
        r#"{"resultType":"complete"}"#,
        r#"{"resultType":null}"#,
    ] {
        assert!(
            matches!(outcome(complete), Ok(Outcome::Complete)),
            "{complete}"
        );
    }
    let unknown = outcome(r#"{"resultType":"pending"}"#);
    assert!(matches!(unknown, Ok(Outcome::Unknown(word)) if word == "pending"));
}

#[test]
fn questions_keep_their_keys_order_and_bytes() {
    let result = concat!(
        r#"{"resultType":"input_required","requestState":"s\u0074","inputRequests":{"#,
        r#""b":{"method":"elicitation/create","params":{"n":1.0}},"#,
        r#""a":{"method":"roots/list"}}}"#
    );
    let Ok(Outcome::InputRequired(asked)) = outcome(result) else {
        unreachable!("it asks");
    };
    assert_eq!(asked.state, Some(r#""s\u0074""#));
    let shown: Vec<_> = asked
        .requests
        .iter()
        .map(|(key, question)| (key.as_ref(), question.method.as_ref(), question.params))
        .collect();
    assert_eq!(
        shown,
        [
            ("b", "elicitation/create", r#"{"n":1.0}"#),
            ("a", "roots/list", "{}")
        ]
    );
}

#[test]
fn a_task_is_read() {
    let result = concat!(
        r#"{"resultType":"task","taskId":"t","status":"working","createdAt":"c","#,
        r#""lastUpdatedAt":"u","ttlMs":null,"pollIntervalMs":50}"#
    );
    let Ok(Outcome::Task(task)) = outcome(result) else {
        unreachable!("it is a task");
    };
    assert_eq!((task.id.as_ref(), task.status), ("t", TaskStatus::Working));
    assert_eq!((task.ttl_ms, task.poll_ms), (None, Some(50)));
}

#[test]
fn broken_results_are_refused_by_name() {
    for (result, field) in [
        ("[]", "result"),
        (r#"{"resultType":7}"#, "resultType"),
        (r#"{"resultType":"input_required"}"#, "inputRequests"),
        (
            r#"{"resultType":"input_required","inputRequests":{}}"#,
            "inputRequests",
        ),
        (
            r#"{"resultType":"input_required","inputRequests":{"a":{}}}"#,
            "inputRequests",
        ),
        (
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"x","params":[]}}}"#,
            "inputRequests",
        ),
        (
            r#"{"resultType":"input_required","requestState":{}}"#,
            "requestState",
        ),
        (r#"{"resultType":"task","status":"working"}"#, "taskId"),
        (
            r#"{"resultType":"task","taskId":"t","status":"odd"}"#,
            "status",
        ),
    ] {
        let Err(Malformed { field: found, .. }) = outcome(result) else {
            unreachable!("{result} is broken");
        };
        assert_eq!(found, field, "{result}");
    }
}

#[test]
fn a_modern_result_loses_what_only_modern_knows() {
    for (modern, legacy) in [
        (
            r#"{"resultType":"complete","contents":[{"uri":"x","text":"\u0061"}],"ttlMs":5,"cacheScope":"public"}"#,
            r#"{"contents":[{"uri":"x","text":"\u0061"}]}"#,
        ),
        (
            r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}},"contents":[]}"#,
            r#"{"contents":[]}"#,
        ),
        (
            r#"{"_meta":{"io.modelcontextprotocol/serverInfo":{},"k":1e5},"contents":[]}"#,
            r#"{"_meta":{"k":1e5},"contents":[]}"#,
        ),
    ] {
        let said = result_to_legacy(Method::ResourcesRead, Version::V2025_11_25, modern);
        assert_eq!(said.as_deref(), Some(legacy));
    }
}

#[test]
fn structured_content_of_a_tool_is_an_object_for_legacy() {
    for (value, said) in [
        ("[1.0, 2]", r#"{"result":[1.0, 2]}"#),
        (
            "12345678901234567890123",
            r#"{"result":12345678901234567890123}"#,
        ),
        ("null", r#"{"result":null}"#),
        (r#"{"a":1}"#, r#"{"a":1}"#),
    ] {
        let modern = format!("{{\"content\":[{{}}],\"structuredContent\":{value}}}");
        let legacy = format!("{{\"content\":[{{}}],\"structuredContent\":{said}}}");
        let method = Method::ToolsCall;
        let found = result_to_legacy(method, Version::V2025_11_25, &modern);
        assert_eq!(found.as_deref(), Some(legacy.as_str()));
    }
}

#[test]
fn a_legacy_result_is_complete_and_not_to_be_kept() {
    let read = r#"{"contents":[]}"#;
    assert_eq!(
        result_to_modern(Method::ResourcesRead, read).as_deref(),
        Some(r#"{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#)
    );
    // A legacy server's words of that name mean nothing: a client would answer questions that nobody asked.
    let call = r#"{"resultType":"input_required","content":[]}"#;
    assert_eq!(
        result_to_modern(Method::ToolsCall, call).as_deref(),
        Some(r#"{"resultType":"complete","content":[]}"#)
    );
    assert_eq!(result_to_modern(Method::ToolsCall, "null"), None);
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn a_result_to_legacy_keeps_every_other_byte(
        method in select(&METHODS[..]),
        result in object_around(KEYS, "_meta", object_with(&["k", SERVER])),
    ) {
        let legacy = result_to_legacy(method, Version::V2025_11_25, &result).unwrap();
        let gone = ["_meta", "resultType", "ttlMs", "cacheScope"];
        prop_assert_eq!(others(&legacy, &gone), others(&result, &gone));
        prop_assert_eq!(others(&legacy, &["_meta"]), others(&result, &gone));
        if let Some(meta) = value(&result, "_meta").filter(|meta| meta.starts_with('{')) {
            let left = value(&legacy, "_meta").map(segments).unwrap_or_default();
            prop_assert_eq!(left, others(meta, &[SERVER]));
        }
    }

    #[test]
    fn a_result_to_modern_keeps_every_other_byte(
        method in select(&METHODS[..]),
        result in object_with(KEYS),
    ) {
        let modern = result_to_modern(method, &result).unwrap();
        let ours: &[&str] = if CACHED.contains(&method) {
            &["resultType", "ttlMs", "cacheScope"]
        } else {
            &["resultType"]
        };
        prop_assert_eq!(others(&modern, ours), others(&result, ours));
        prop_assert_eq!(segments(&modern).len(), others(&result, ours).len() + ours.len());
        prop_assert_eq!(value(&modern, "resultType"), Some("\"complete\""));
    }

    #[test]
    fn there_and_back_is_the_same_result(
        method in select(&METHODS[..]),
        result in object_with(&["content", "contents", "nextCursor", "isError"]),
    ) {
        let modern = result_to_modern(method, &result).unwrap();
        let back = result_to_legacy(method, Version::V2025_11_25, &modern).unwrap();
        prop_assert_eq!(segments(&back), segments(&result));
    }
}
