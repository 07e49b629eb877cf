//! Params of requests.

use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use protocol::mcp::bridge::{Standing, brought, params_to_legacy, params_to_modern, with_answers};
use protocol::mcp::meta_key;

use super::{object_around, object_with, others, segments, value};
use crate::json::CASES;

const STANDING: Standing<'_> = Standing {
    client_info: r#"{"name":"c","version":"1"}"#,
    capabilities: r#"{"roots":{}}"#,
    log_level: Some("\"info\""),
};
const OURS: [&str; 4] = [
    meta_key::PROTOCOL_VERSION,
    meta_key::CLIENT_INFO,
    meta_key::CLIENT_CAPABILITIES,
    meta_key::LOG_LEVEL,
];
const KEYS: &[&str] = &[
    "name",
    "arguments",
    "task",
    "inputResponses",
    "requestState",
];
const META_KEYS: &[&str] = &[
    "progressToken",
    "traceparent",
    meta_key::PROTOCOL_VERSION,
    meta_key::CLIENT_CAPABILITIES,
    meta_key::LOG_LEVEL,
];

/// The modern words of `_meta` as [`STANDING`] has them.
const SAID: &str = concat!(
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"#,
    r#""io.modelcontextprotocol/clientCapabilities":{"roots":{}},"#,
    r#""io.modelcontextprotocol/logLevel":"info""#,
);

#[test]
fn a_legacy_request_gains_what_its_session_stands_for() {
    for (legacy, modern) in [
        ("{}", format!("{{\"_meta\":{{{SAID}}}}}")),
        (
            r#"{ "name" : "x", "arguments": {"n":1.0} , "task":{"ttl":1} }"#,
            format!("{{ \"name\" : \"x\", \"arguments\": {{\"n\":1.0}} ,\"_meta\":{{{SAID}}}}}"),
        ),
        (
            r#"{"_meta":{"progressToken":1e5,"x/y":[]},"name":"x"}"#,
            format!("{{\"_meta\":{{\"progressToken\":1e5,\"x/y\":[],{SAID}}},\"name\":\"x\"}}"),
        ),
        (r#"{"_meta":null}"#, format!("{{\"_meta\":{{{SAID}}}}}")),
    ] {
        let said = params_to_modern(legacy, &STANDING);
        // Where white space was, it stays.
        let said = said.map(|said| said.replace(" }", "}").replace(" ,\"_", ",\"_"));
        let modern = modern.replace(" ,\"_", ",\"_");
        assert_eq!(said.as_deref(), Some(modern.as_str()), "{legacy}");
    }
    assert_eq!(params_to_modern("[]", &STANDING), None);
}

#[test]
fn a_client_without_a_level_gets_no_log_messages() {
    let quiet = Standing {
        log_level: None,
        ..STANDING
    };
    let legacy = r#"{"_meta":{"io.modelcontextprotocol/logLevel":"debug"}}"#;
    let modern = params_to_modern(legacy, &quiet).unwrap();
    assert_eq!(
        value(value(&modern, "_meta").unwrap(), meta_key::LOG_LEVEL),
        None
    );
}

#[test]
fn a_modern_request_loses_what_only_modern_knows() {
    for (modern, legacy) in [
        (format!("{{\"_meta\":{{{SAID}}}}}"), "{}"),
        (
            format!("{{\"_meta\":{{\"progressToken\":7,{SAID}}},\"uri\":\"a\\u0062\"}}"),
            r#"{"_meta":{"progressToken":7},"uri":"a\u0062"}"#,
        ),
        (
            r#"{"name":"x","inputResponses":{"a":{}},"requestState":"s"}"#.to_owned(),
            r#"{"name":"x"}"#,
        ),
        // An empty `_meta` of the client's own stays its own.
        (r#"{"_meta":{}}"#.to_owned(), r#"{"_meta":{}}"#),
    ] {
        assert_eq!(
            params_to_legacy(&modern).as_deref(),
            Some(legacy),
            "{modern}"
        );
    }
    assert_eq!(params_to_legacy("3"), None);
}

#[test]
fn a_retry_carries_answers_and_the_state_as_it_came() {
    let answers = [("a\"b".to_owned(), r#"{"action":"accept"}"#.to_owned())];
    let first = r#"{"name":"x","requestState":"old"}"#;
    assert_eq!(
        with_answers(first, &answers, Some(r#""n\u0065w""#)).as_deref(),
        Some(concat!(
            r#"{"name":"x","requestState":"n\u0065w","#,
            r#""inputResponses":{"a\"b":{"action":"accept"}}}"#
        ))
    );
    assert_eq!(
        with_answers(first, &[], None).as_deref(),
        Some(r#"{"name":"x","inputResponses":{}}"#)
    );
}

#[test]
fn what_a_retry_brings_is_read_or_refused() {
    let read = brought(r#"{"inputResponses":{"a":{"x":1.0},"b":[],"a":2},"requestState":"s\n"}"#);
    let read = read.unwrap();
    assert_eq!(read.answers, [("a".into(), "2"), ("b".into(), "[]")]);
    assert_eq!(read.state.as_deref(), Some("s\n"));
    for nothing in ["{}", r#"{"inputResponses":null,"requestState":null}"#] {
        let read = brought(nothing).unwrap();
        assert!(read.answers.is_empty() && read.state.is_none());
    }
    for (wrong, field) in [
        (r#"{"requestState":7}"#, "requestState"),
        (r#"{"inputResponses":["a"]}"#, "inputResponses"),
        ("[]", "params"),
    ] {
        assert_eq!(brought(wrong).unwrap_err().field, field);
    }
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn a_request_to_modern_keeps_every_other_byte(
        params in object_around(KEYS, "_meta", object_with(META_KEYS)),
    ) {
        let modern = params_to_modern(&params, &STANDING).unwrap();
        let gone = ["_meta", "task", "inputResponses", "requestState"];
        prop_assert_eq!(others(&modern, &gone), others(&params, &gone));
        prop_assert_eq!(segments(&modern).len(), others(&params, &gone).len() + 1);
        let said = value(&modern, "_meta").unwrap();
        if let Some(meta) = value(&params, "_meta").filter(|meta| meta.starts_with('{')) {
            prop_assert_eq!(others(said, &OURS), others(meta, &OURS));
        }
        prop_assert_eq!(value(said, OURS[0]), Some("\"2026-07-28\""));
        prop_assert_eq!(value(said, OURS[1]), Some(STANDING.client_info));
        prop_assert_eq!(value(said, OURS[2]), Some(STANDING.capabilities));
        prop_assert_eq!(value(said, OURS[3]), STANDING.log_level);
    }

    #[test]
    fn a_request_to_legacy_keeps_every_other_byte(
        params in object_around(KEYS, "_meta", object_with(META_KEYS)),
    ) {
        let legacy = params_to_legacy(&params).unwrap();
        let gone = ["_meta", "inputResponses", "requestState"];
        prop_assert_eq!(others(&legacy, &gone), others(&params, &gone));
        let meta = value(&params, "_meta").filter(|meta| meta.starts_with('{'));
        match (meta, value(&legacy, "_meta")) {
            (Some(meta), Some(left)) => prop_assert_eq!(segments(left), others(meta, &OURS)),
            (Some(meta), None) => prop_assert_eq!(others(meta, &OURS), []),
            (None, left) => prop_assert_eq!(left, value(&params, "_meta")),
        }
    }

    #[test]
    fn there_and_back_is_what_both_can_say(
        params in object_around(&["name", "arguments"], "_meta", object_with(&["progressToken"])),
    ) {
        let modern = params_to_modern(&params, &STANDING).unwrap();
        let back = params_to_legacy(&modern).unwrap();
        prop_assert_eq!(others(&back, &["_meta"]), others(&params, &["_meta"]));
        // An empty `_meta` says nothing.
        let said = |object| value(object, "_meta").map(segments).filter(|said| !said.is_empty());
        if value(&params, "_meta").is_none_or(|meta| meta.starts_with('{')) {
            prop_assert_eq!(said(&back), said(&params));
        }
    }

    #[test]
    fn answers_come_back_as_they_were(
        params in object_with(KEYS),
        answers in proptest::collection::btree_map("\\PC{0,8}", crate::json::text(), 0..4),
        state in any::<Option<String>>(),
    ) {
        let answers: Vec<(String, String)> = answers.into_iter().collect();
        let raw = state.as_deref().map(protocol::json::quote);
        let retry = with_answers(&params, &answers, raw.as_deref()).unwrap();
        let read = brought(&retry).unwrap();
        prop_assert_eq!(read.state.as_deref(), state.as_deref());
        let read: Vec<_> = read.answers.into_iter().map(|(key, raw)| (key.into_owned(), raw.to_owned())).collect();
        let trimmed: Vec<_> = answers.into_iter().map(|(key, raw)| (key, raw.trim().to_owned())).collect();
        prop_assert_eq!(read, trimmed);
    }
}
