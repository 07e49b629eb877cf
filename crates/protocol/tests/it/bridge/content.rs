//! Content that older revisions have no word for.

use std::borrow::Cow;

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use proptest::sample::select;
use proptest::test_runner::Config;
use protocol::json::{elements, quote};
use protocol::mcp::bridge::{for_version, sampling_for_version};
use protocol::mcp::{Method, Version};

use super::{object_with, others, value};
use crate::json::{CASES, text};

const LINK: &str = concat!(
    r#"{"type":"resource_link","uri":"file://a","name":"a.txt","title":"A","size":1.0,"#,
    r#""description":"first \"file\"","mimeType":"text/plain","annotations":{"priority":1.0}}"#
);
const LINK_TEXT: &str = concat!(
    r#"{"type":"text","annotations":{"priority":1.0},"#,
    r#""text":"A: file://a (text/plain)\nfirst \"file\""}"#
);
const AUDIO: &str = r#"{"type":"audio","data":"UklG","mimeType":"audio/wav"}"#;
const AUDIO_RESOURCE: &str = concat!(
    r#"{"type":"resource","resource":"#,
    r#"{"uri":"audio:1","mimeType":"audio/wav","blob":"UklG"}}"#
);
const TEXT: &str = r#"{ "type" : "text", "text": "resource_link audio \u0061" }"#;

/// The content of a tool's result as a client of `version` gets it.
fn check(version: Version, content: &str, expected: &str) {
    let result = format!(" {{\"isError\":false , \"content\": {content}}}");
    let said = for_version(Method::ToolsCall, version, &result);
    let expected = format!(" {{\"isError\":false , \"content\": {expected}}}");
    assert_eq!(said, expected, "{version:?}");
    assert_eq!(
        matches!(said, Cow::Borrowed(_)),
        content == expected_content(&expected)
    );
}

fn expected_content(result: &str) -> &str {
    value(result, "content").unwrap()
}

#[test]
fn links_and_audio_are_said_in_the_words_of_the_client() {
    let all = format!("[{TEXT} , {AUDIO},{LINK}]");
    check(Version::V2025_11_25, &all, &all);
    check(Version::V2025_06_18, &all, &all);
    let links = format!("[{TEXT} , {AUDIO},{LINK_TEXT}]");
    check(Version::V2025_03_26, &all, &links);
    let both = format!("[{TEXT} , {AUDIO_RESOURCE},{LINK_TEXT}]");
    check(Version::V2024_11_05, &all, &both);
    // The word may come in escapes.
    let escaped = all.replace("resource_link\"", "resource\\u005flink\"");
    check(Version::V2025_03_26, &escaped, &links);
}

#[test]
fn a_bare_link_is_its_uri() {
    check(
        Version::V2025_03_26,
        r#"[{"uri":"file://a","type":"resource_link"}]"#,
        r#"[{"type":"text","text":"file://a"}]"#,
    );
}

#[test]
fn messages_of_prompts_are_treated_alike() {
    for (content, expected) in [
        (LINK.to_owned(), LINK_TEXT.to_owned()),
        (format!("[{TEXT},{LINK}]"), format!("[{TEXT},{LINK_TEXT}]")),
        (TEXT.to_owned(), TEXT.to_owned()),
    ] {
        let prompt = |content| {
            format!(
                "{{\"messages\":[{{\"role\":\"user\",\"content\":{content} }}, {{}}],\"n\":1.0}}"
            )
        };
        let result = prompt(content);
        let said = for_version(Method::PromptsGet, Version::V2025_03_26, &result);
        assert_eq!(said, prompt(expected));
    }
}

#[test]
fn structured_content_alone_becomes_text_for_clients_that_do_not_know_it() {
    let result = r#"{"content":[ ],"structuredContent":{"a" : 1.0}}"#;
    let said = for_version(Method::ToolsCall, Version::V2025_03_26, result);
    let block = format!("{{\"type\":\"text\",\"text\":{}}}", quote(r#"{"a" : 1.0}"#));
    assert_eq!(value(&said, "content").unwrap(), format!("[{block}]"));
    assert_eq!(
        for_version(Method::ToolsCall, Version::V2025_06_18, result),
        result
    );
    let told = format!("{{\"content\":[{TEXT}],\"structuredContent\":{{}}}}");
    assert_eq!(
        for_version(Method::ToolsCall, Version::V2024_11_05, &told),
        told
    );
}

#[test]
fn a_sampling_is_asked_in_messages_that_the_client_knows() {
    let ask = |messages: &str| format!("{{\"maxTokens\":1.0,\"messages\":[{messages}] }}");
    let message = |content: &str| format!("{{ \"role\":\"user\",\"content\": {content}}}");
    let next = |content: &str| format!("{{\"role\":\"user\",\"content\":{content}}}");
    let several = ask(&message(&format!("[{TEXT}, {AUDIO}]")));
    let told = concat!(
        r#"{"type":"text","#,
        r#""text":"[audio audio/wav, 6 bytes in base64: left out for a client of 2024-11-05]"}"#
    );
    for (version, expected) in [
        (Version::V2025_11_25, several.clone()),
        (
            Version::V2025_06_18,
            ask(&[message(TEXT), next(AUDIO)].join(",")),
        ),
        (
            Version::V2024_11_05,
            ask(&[message(TEXT), next(told)].join(",")),
        ),
    ] {
        assert_eq!(sampling_for_version(version, &several), expected);
        // What is said once needs no saying again.
        let again = sampling_for_version(version, &expected);
        assert!(matches!(again, Cow::Borrowed(_)), "{version:?}: {again}");
    }
    let alone = ask(&message(AUDIO));
    let said = sampling_for_version(Version::V2024_11_05, &alone);
    assert_eq!(said, ask(&message(told)));
    for other in [
        "[]",
        "{}",
        r#"{"messages":[{"role":"user","content":[]},1]}"#,
        r#"{"messages":[{"role":"tool","content":[{}]}]}"#,
    ] {
        assert_eq!(sampling_for_version(Version::V2024_11_05, other), other);
    }
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn other_blocks_and_members_keep_their_bytes(
        version in select(&[Version::V2024_11_05, Version::V2025_03_26][..]),
        blocks in proptest::collection::vec((select(&[0, 1, 2][..]), text()), 0..5),
        rest in object_with(&["structuredContent", "isError", "_meta"]),
    ) {
        let raw: Vec<String> = blocks
            .iter()
            .map(|(kind, other)| match kind {
                0 => LINK.to_owned(),
                1 => AUDIO.to_owned(),
                _ => other.clone(),
            })
            .collect();
        let content = format!("[{}]", raw.join(" ,"));
        let comma = if super::segments(&rest).is_empty() { "" } else { "," };
        let result = rest.replacen('{', &format!("{{\"content\":{content}{comma}"), 1);
        let said = for_version(Method::ToolsCall, version, &result);
        prop_assert_eq!(others(&said, &["content"]), others(&result, &["content"]));
        let said = elements(value(&said, "content").unwrap()).unwrap();
        let text_only = raw.is_empty() && said.len() == 1;
        prop_assert!(said.len() == raw.len() || text_only);
        for (at, (said, (kind, other))) in said.iter().zip(&blocks).enumerate() {
            match kind {
                0 => prop_assert_eq!(*said, LINK_TEXT),
                1 if version == Version::V2024_11_05 => {
                    prop_assert_eq!(*said, AUDIO_RESOURCE.replace("audio:1", &format!("audio:{at}")));
                }
                1 => prop_assert_eq!(*said, AUDIO),
                _ => prop_assert_eq!(*said, other.trim()),
            }
        }
    }
}
