//! One era said in the other changes the members it names, and every other member keeps its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::json::{depth_allowed, elements, members};
use protocol::json_rpc::ErrorObject;
use protocol::mcp::bridge::{self, LegacyError, ModernError, Question, Standing, TaskOutcome};
use protocol::mcp::{Method, Version, meta_key};

const METHODS: [Method; 4] = [
    Method::ToolsCall,
    Method::PromptsGet,
    Method::ResourcesRead,
    Method::ToolsList,
];
const STANDING: Standing<'_> = Standing {
    client_info: r#"{"name":"c"}"#,
    capabilities: "{}",
    log_level: Some("\"info\""),
};
const META: [&str; 4] = [
    meta_key::PROTOCOL_VERSION,
    meta_key::CLIENT_INFO,
    meta_key::CLIENT_CAPABILITIES,
    meta_key::LOG_LEVEL,
];
const TASK: [&str; 10] = [
    "_meta",
    "ttl",
    "ttlMs",
    "pollInterval",
    "pollIntervalMs",
    "resultType",
    "status",
    "result",
    "error",
    "inputRequests",
];

fuzz_target!(|text: &str| {
    if !depth_allowed(text.as_bytes()) {
        return;
    }
    // What is no object is never taken for one, and what is one is never refused.
    let object = members(text).is_ok();
    let taken = [
        requests(text),
        results(text),
        tasks(text),
        bridge::answer_to_modern(text).is_some(),
    ];
    assert_eq!(taken, [object; 4]);
    assert_eq!(
        object,
        bridge::question_to_modern("roots/list", text).is_some()
    );
    questions(text);
    tools(text);
    errors(text);
    let said = bridge::capabilities_to_modern(text);
    assert_eq!(said, bridge::capabilities_to_modern(&said));
    assert!(members(&said).is_ok());
});

/// The members with none of these keys, each from its key's quote to the end of its value.
fn others<'a>(object: &'a str, keys: &[&str]) -> Vec<&'a str> {
    let mut before = object.find('{').expect("an object begins") + 1;
    let mut found = Vec::new();
    for member in members(object).expect("it is an object") {
        let end = member.value.as_ptr() as usize - object.as_ptr() as usize + member.value.len();
        let start = before + object[before..].find('"').expect("a member has a key");
        before = end;
        if !keys.contains(&member.key.as_ref()) {
            found.push(&object[start..end]);
        }
    }
    found
}

/// The last value of a key.
fn value<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let found = members(object).ok()?;
    found
        .iter()
        .rfind(|member| member.key == key)
        .map(|member| member.value)
}

fn same(said: &str, text: &str, keys: &[&str]) {
    assert_eq!(others(said, keys), others(text, keys));
}

fn requests(text: &str) -> bool {
    let answers = [("k".to_owned(), "1".to_owned())];
    let Some(modern) = bridge::params_to_modern(text, &STANDING) else {
        assert!(bridge::params_to_legacy(text).is_none());
        assert!(bridge::brought(text).is_err());
        return false;
    };
    same(
        &modern,
        text,
        &["_meta", "task", "inputResponses", "requestState"],
    );
    let meta = value(&modern, "_meta").expect("it was set");
    if let Some(came) = value(text, "_meta").filter(|came| members(came).is_ok()) {
        same(meta, came, &META);
    }
    let legacy = bridge::params_to_legacy(text).expect("an object");
    same(&legacy, text, &["_meta", "inputResponses", "requestState"]);
    for key in META {
        let left = value(&legacy, "_meta").and_then(|meta| value(meta, key));
        assert!(left.is_none());
    }
    let retry = bridge::with_answers(text, &answers, Some("\"s\"")).expect("an object");
    same(&retry, text, &["inputResponses", "requestState"]);
    let brought = bridge::brought(&retry).expect("it has what we put in");
    assert_eq!(brought.state.as_deref(), Some("s"));
    assert_eq!(brought.answers, [("k".into(), "1")]);
    true
}

fn results(text: &str) -> bool {
    let ours = ["_meta", "resultType", "ttlMs", "cacheScope"];
    let changed = ["structuredContent", "content", "messages"];
    let all: Vec<&str> = ours.into_iter().chain(changed).collect();
    for method in METHODS {
        let Some(modern) = bridge::result_to_modern(method, text) else {
            return false;
        };
        same(&modern, text, &ours);
        assert!(matches!(
            bridge::outcome(&modern),
            Ok(bridge::Outcome::Complete)
        ));
        for version in Version::ALL {
            let legacy = bridge::result_to_legacy(method, version, text).expect("an object");
            same(&legacy, text, &all);
            if version >= Version::V2025_06_18 {
                same(&legacy, text, &[&ours[..], &["structuredContent"]].concat());
            }
            let before = value(text, "content").and_then(|content| elements(content).ok());
            let after = value(&legacy, "content").and_then(|content| elements(content).ok());
            if let (Some(before), Some(after)) = (before, after) {
                assert!(before.len() == after.len() || before.is_empty());
            }
        }
    }
    true
}

fn tasks(text: &str) -> bool {
    let Some(modern) = bridge::task_state_to_modern(text, &TaskOutcome::Result("{}")) else {
        return false;
    };
    same(&modern, text, &TASK);
    let legacy = bridge::task_state_to_legacy(text).expect("an object");
    same(&legacy, text, &TASK);
    let created = bridge::task_created_to_legacy(text).expect("an object");
    let flat = bridge::task_created_to_modern(&created).expect("it is nested");
    same(&flat, text, &TASK);
    true
}

fn questions(text: &str) {
    if let Some(entry) = bridge::question_to_modern("elicitation/create", text) {
        let question = Question::parse(&entry).expect("an entry is a question");
        let gone = ["_meta", "task", "elicitationId", "tools"];
        same(question.params, text, &gone);
        let back = bridge::question_to_legacy(&question, "e").expect("we asked it");
        same(&back, text, &gone);
    }
    if let Ok(question) = Question::parse(text) {
        let _known = bridge::question_to_legacy(&question, "e");
    }
    for version in Version::ALL {
        let said = bridge::sampling_for_version(version, text);
        if members(text).is_ok() {
            same(&said, text, &["messages"]);
        } else {
            assert_eq!(said, text);
        }
    }
}

fn tools(text: &str) {
    let modern = bridge::tool_to_modern(text);
    let legacy = bridge::tool_to_legacy(text);
    if members(text).is_err() {
        assert!(modern == text && legacy == text);
        return;
    }
    same(&modern, text, &["execution"]);
    same(&legacy, text, &["outputSchema"]);
    if let Some(schema) = value(&legacy, "outputSchema") {
        assert!(members(schema).is_ok() && value(schema, "type").is_some());
    }
    assert_eq!(bridge::tool_to_legacy(&legacy), legacy);
}

fn errors(text: &str) {
    let Ok(error) = serde_json::from_str::<ErrorObject<'_>>(text) else {
        return;
    };
    for method in METHODS {
        match bridge::error_to_modern(method, &error) {
            ModernError::Same => {
                assert!(error.code != -32002 && !(-32099..=-32020).contains(&error.code))
            }
            ModernError::Code(code) => assert!([-32602, -32603].contains(&code)),
            ModernError::Questions(questions) => {
                assert!(questions.iter().all(|raw| Question::parse(raw).is_ok()));
            }
        }
        match bridge::error_to_legacy(method, &error) {
            LegacyError::Same => assert!(![-32020, -32021, -32022].contains(&error.code)),
            LegacyError::ToolResult(result) => assert!(members(&result).is_ok()),
            LegacyError::Code(_) | LegacyError::Text { .. } => {}
        }
    }
}
