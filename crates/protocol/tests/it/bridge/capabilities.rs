//! What clients declare.

use proptest::prelude::{Strategy, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use protocol::mcp::bridge::{
    Question, capabilities_to_legacy, capabilities_to_modern, may_be_asked,
};

use crate::json::{CASES, text};

#[test]
fn what_the_gateway_carries_is_said_on() {
    for (declared, said) in [
        ("{}", "{}"),
        (" { } ", "{}"),
        ("null", "{}"),
        ("[]", "{}"),
        (
            r#"{"tasks":{"list":{}},"sampling":{"tools":{}},"roots":{"listChanged":true}}"#,
            r#"{"roots":{},"sampling":{"tools":{}}}"#,
        ),
        (
            r#"{"elicitation":{"url":{},"form":{}},"experimental":{"x":{"n":1.0}},"own":[1, 2]}"#,
            r#"{"elicitation":{"form":{},"url":{}},"experimental":{"x":{"n":1.0}},"own":[1, 2]}"#,
        ),
        (
            r#"{"extensions":{"io.modelcontextprotocol/ui":{"b":1,"a":2},"io.modelcontextprotocol/tasks":{}}}"#,
            r#"{"extensions":{"io.modelcontextprotocol/ui":{"a":2,"b":1}}}"#,
        ),
        // Only in their own places do these words mean that.
        (
            r#"{"own":{"tasks":1,"roots":{"listChanged":2}}}"#,
            r#"{"own":{"roots":{"listChanged":2},"tasks":1}}"#,
        ),
    ] {
        assert_eq!(capabilities_to_modern(declared), said);
        assert_eq!(capabilities_to_legacy(declared), said);
    }
}

#[test]
fn a_client_is_asked_only_what_it_declared() {
    let form = r#"{"message":"m","requestedSchema":{}}"#;
    let url = r#"{"mode":"url","url":"u"}"#;
    let tools = r#"{"messages":[],"tools":[]}"#;
    for (declared, method, params, may) in [
        ("{}", "roots/list", "{}", false),
        (r#"{"roots":{}}"#, "roots/list", "{}", true),
        (r#"{"roots":null}"#, "roots/list", "{}", false),
        (r#"{"elicitation":{}}"#, "elicitation/create", form, true),
        (r#"{"elicitation":{}}"#, "elicitation/create", url, false),
        (
            r#"{"elicitation":{"url":{}}}"#,
            "elicitation/create",
            form,
            false,
        ),
        (
            r#"{"elicitation":{"url":{}}}"#,
            "elicitation/create",
            url,
            true,
        ),
        (
            r#"{"elicitation":{"form":{},"url":{}}}"#,
            "elicitation/create",
            form,
            true,
        ),
        (r#"{"sampling":{}}"#, "sampling/createMessage", "{}", true),
        (r#"{"sampling":{}}"#, "sampling/createMessage", tools, false),
        (
            r#"{"sampling":{"tools":{}}}"#,
            "sampling/createMessage",
            tools,
            true,
        ),
        (r#"{"tools/call":{}}"#, "tools/call", "{}", false),
        ("[]", "roots/list", "{}", false),
    ] {
        let method = method.into();
        let found = may_be_asked(declared, &Question { method, params });
        assert_eq!(found, may, "{declared}: {params}");
    }
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn order_and_room_do_not_matter(
        members in proptest::collection::btree_map("[a-z]{1,6}", text(), 0..5)
            .prop_flat_map(|members| {
                let members: Vec<_> = members.into_iter().collect();
                (proptest::strategy::Just(members.clone()), proptest::strategy::Just(members).prop_shuffle())
            }),
    ) {
        let (one, other) = members;
        let write = |members: &[(String, String)], room: &str| {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("{room}\"{key}\"{room}:{room}{value}")).collect();
            format!("{{{}{room}}}", members.join(","))
        };
        let said = capabilities_to_modern(&write(&one, ""));
        prop_assert_eq!(&said, &capabilities_to_modern(&write(&other, " \n")));
        prop_assert_eq!(&said, &capabilities_to_modern(&said));
    }
}
