//! Tools of lists.

use std::borrow::Cow;

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use protocol::mcp::bridge::{tool_to_legacy, tool_to_modern};

use super::{object_with, others, value};
use crate::json::CASES;

/// The output schema that legacy clients see.
fn seen(schema: &str) -> Option<String> {
    let tool = format!("{{\"name\":\"t\" , \"outputSchema\": {schema}, \"inputSchema\":{{}}}}");
    let said = tool_to_legacy(&tool);
    assert_eq!(
        others(&said, &["outputSchema"]),
        others(&tool, &["outputSchema"])
    );
    value(&said, "outputSchema").map(str::to_owned)
}

#[test]
fn a_schema_of_an_object_stays() {
    for schema in [
        r#"{"type":"object"}"#,
        r#"{ "properties" : {"a":{"minimum":1.0}} , "type": "object","$id":"x"}"#,
    ] {
        assert_eq!(seen(schema).as_deref(), Some(schema));
        let tool = format!("{{\"outputSchema\":{schema}}}");
        assert!(matches!(tool_to_legacy(&tool), Cow::Borrowed(_)));
    }
}

#[test]
fn a_schema_that_means_an_object_says_so() {
    for (schema, said) in [
        (
            r#"{"properties":{}}"#,
            r#"{"properties":{},"type":"object"}"#,
        ),
        (r#"{"type":["object"]}"#, r#"{"type":"object"}"#),
        (
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}"##,
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}},"type":"object"}"##,
        ),
        (
            r##"{"anyOf":[{"type":"object"},{"$ref":"#/definitions/a"}],"definitions":{"a":{"properties":{}}}}"##,
            r##"{"anyOf":[{"type":"object"},{"$ref":"#/definitions/a"}],"definitions":{"a":{"properties":{}}},"type":"object"}"##,
        ),
        (
            r#"{"allOf":[{},{"type":"object"}]}"#,
            r#"{"allOf":[{},{"type":"object"}],"type":"object"}"#,
        ),
    ] {
        assert_eq!(seen(schema).as_deref(), Some(said));
    }
}

#[test]
fn a_schema_of_something_else_is_wrapped_as_its_values_are() {
    for (schema, inner, kept) in [
        (
            r#"{"type":"array","items":{"multipleOf":1.0}}"#,
            r#"{"type":"array","items":{"multipleOf":1.0}}"#,
            "",
        ),
        (
            r#"{"type":["string","null"]}"#,
            r#"{"type":["string","null"]}"#,
            "",
        ),
        (r#"{"enum":[1,"a",null]}"#, r#"{"enum":[1,"a",null]}"#, ""),
        (
            r##"{"type":"array","items":{"$ref":"#/$defs/a"},"$schema":"s","$defs":{"a":{"type":"object"}}}"##,
            r##"{"type":"array","items":{"$ref":"#/$defs/a"}}"##,
            r#","$defs":{"a":{"type":"object"}},"$schema":"s""#,
        ),
    ] {
        let said = format!(
            "{{\"type\":\"object\",\"properties\":{{\"result\":{inner}}},\"required\":[\"result\"]{kept}}}"
        );
        assert_eq!(seen(schema), Some(said));
    }
}

#[test]
fn a_schema_that_legacy_cannot_say_goes() {
    for schema in [
        "true",
        "{}",
        r#"{"type":["object","array"]}"#,
        r#"{"anyOf":[{"type":"object"},{"type":"array"}]}"#,
        r#"{"anyOf":[]}"#,
        r##"{"$ref":"#/$defs/gone"}"##,
        // A loop allows whatever it likes.
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}"##,
        // These would point elsewhere under another root.
        r##"{"type":"array","items":{"$ref":"#"}}"##,
        r##"{"type":"array","items":{"$ref":"#/items"}}"##,
        r#"{"type":"array","$id":"https://x/y"}"#,
        r#"{"type":"array","items":{"$anchor":"a"}}"#,
    ] {
        assert_eq!(seen(schema), None, "{schema}");
    }
}

#[test]
fn looking_at_a_schema_has_an_end() {
    let wide = format!(
        "{{\"anyOf\":[{}]}}",
        vec!["{\"type\":\"object\"}"; 100_000].join(",")
    );
    assert_eq!(seen(&wide), None);
    let deep = format!("{}{{}}{}", "{\"allOf\":[".repeat(3000), "]}".repeat(3000));
    assert_eq!(seen(&deep), None);
}

#[test]
fn legacy_tasks_are_not_spoken_of() {
    let tool =
        r#"{"name":"t" , "execution":{"taskSupport":"optional"},"inputSchema":{"type":"object"}}"#;
    assert_eq!(
        tool_to_modern(tool),
        r#"{"name":"t","inputSchema":{"type":"object"}}"#
    );
    assert!(matches!(
        tool_to_modern(r#"{"name":"t"}"#),
        Cow::Borrowed(_)
    ));
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn a_tool_keeps_every_other_byte(tool in object_with(&["name", "execution", "outputSchema", "inputSchema"])) {
        let modern = tool_to_modern(&tool);
        prop_assert_eq!(others(&modern, &[]), others(&tool, &["execution"]));
        let legacy = tool_to_legacy(&tool);
        prop_assert_eq!(others(&legacy, &["outputSchema"]), others(&tool, &["outputSchema"]));
        if let Some(schema) = value(&legacy, "outputSchema") {
            prop_assert_eq!(value(schema, "type"), Some("\"object\""));
        }
        // What is said once needs no saying again.
        prop_assert!(matches!(tool_to_legacy(&legacy), Cow::Borrowed(_)));
        prop_assert!(matches!(tool_to_modern(&modern), Cow::Borrowed(_)));
    }
}
