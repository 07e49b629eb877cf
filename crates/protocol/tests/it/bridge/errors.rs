//! Errors in both directions.

use protocol::json_rpc::ErrorObject;
use protocol::mcp::Method;
use protocol::mcp::bridge::{LegacyError, ModernError, error_to_legacy, error_to_modern};

fn error(raw: &str) -> ErrorObject<'_> {
    serde_json::from_str(raw).unwrap()
}

fn modern(method: Method, raw: &str) -> ModernError {
    error_to_modern(method, &error(raw))
}

fn legacy(method: Method, raw: &str) -> LegacyError {
    error_to_legacy(method, &error(raw))
}

#[test]
fn codes_that_modern_forbids_do_not_pass() {
    let code =
        |method, code: i64| modern(method, &format!("{{\"code\":{code},\"message\":\"m\"}}"));
    for (method, from, to) in [
        (Method::ResourcesRead, -32002, -32602),
        (Method::Complete, -32002, -32602),
        (Method::ToolsCall, -32002, -32603),
        (Method::ToolsCall, -32020, -32603),
        (Method::ToolsCall, -32022, -32603),
        (Method::ToolsCall, -32042, -32603),
        (Method::ToolsList, -32099, -32603),
    ] {
        assert_eq!(code(method, from), ModernError::Code(to), "{from}");
    }
    for same in [
        -32000,
        -32001,
        -32019,
        -32100,
        -32601,
        -32602,
        -32603,
        -32700,
        7,
        i64::MAX,
    ] {
        assert_eq!(code(Method::ToolsCall, same), ModernError::Same, "{same}");
    }
}

#[test]
fn urls_that_must_be_visited_become_questions() {
    let raw = concat!(
        r#"{"code":-32042,"message":"m","data":{"elicitations":["#,
        r#"{"mode":"url","elicitationId":"e","url":"https://x","message":"go"},"#,
        r#"{"url":"https://y"}]}}"#
    );
    let questions = vec![
        r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://x","message":"go"}}"#.to_owned(),
        r#"{"method":"elicitation/create","params":{"url":"https://y","mode":"url"}}"#.to_owned(),
    ];
    assert_eq!(
        modern(Method::ToolsCall, raw),
        ModernError::Questions(questions)
    );
    // Nobody may ask back on these.
    assert_eq!(modern(Method::ToolsList, raw), ModernError::Code(-32603));
    for broken in [
        "null",
        "[]",
        r#"{"elicitations":[]}"#,
        r#"{"elicitations":[{}]}"#,
    ] {
        let raw = format!("{{\"code\":-32042,\"message\":\"m\",\"data\":{broken}}}");
        assert_eq!(modern(Method::ToolsCall, &raw), ModernError::Code(-32603));
    }
}

#[test]
fn a_resource_that_is_not_there_has_a_code_of_its_own_in_legacy() {
    for (message, expected) in [
        ("Resource not found", LegacyError::Code(-32002)),
        ("Unknown resource: x", LegacyError::Code(-32002)),
        ("no such file", LegacyError::Code(-32002)),
        ("uri must be a string", LegacyError::Same),
    ] {
        let raw = format!("{{\"code\":-32602,\"message\":\"{message}\"}}");
        assert_eq!(legacy(Method::ResourcesRead, &raw), expected, "{message}");
        assert_eq!(legacy(Method::ToolsCall, &raw), LegacyError::Same);
    }
}

#[test]
fn a_missing_capability_is_said_in_words() {
    let raw = concat!(
        r#"{"code":-32021,"message":"m","data":{"requiredCapabilities":"#,
        r#"{"elicitation":{"url":{}},"sampling":{}}}}"#
    );
    let message = "the server needs a client that can do this: elicitation.url, sampling";
    assert_eq!(
        legacy(Method::ToolsCall, raw),
        LegacyError::ToolResult(format!(
            "{{\"content\":[{{\"type\":\"text\",\"text\":\"{message}\"}}],\"isError\":true}}"
        ))
    );
    assert_eq!(
        legacy(Method::PromptsGet, raw),
        LegacyError::Text {
            code: -32600,
            message: message.to_owned()
        }
    );
    let bare = legacy(
        Method::PromptsGet,
        r#"{"code":-32021,"message":"m","data":3}"#,
    );
    assert!(matches!(bare, LegacyError::Text { code: -32600, .. }));
}

#[test]
fn what_gateway_and_server_settle_is_no_matter_of_the_client() {
    for code in [-32020, -32022] {
        let raw = format!("{{\"code\":{code},\"message\":\"m\",\"data\":{{\"supported\":[]}}}}");
        let found = legacy(Method::ToolsCall, &raw);
        assert!(
            matches!(found, LegacyError::Text { code: -32603, .. }),
            "{found:?}"
        );
    }
    let raw = r#"{"code":-32042,"message":"m"}"#;
    assert_eq!(legacy(Method::ToolsCall, raw), LegacyError::Code(-32603));
    let raw = r#"{"code":-32603,"message":"m"}"#;
    assert_eq!(legacy(Method::ToolsCall, raw), LegacyError::Same);
}
