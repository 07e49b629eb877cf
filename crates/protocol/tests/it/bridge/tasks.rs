//! Tasks of the core and tasks of the extension.

use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use protocol::mcp::bridge::{
    Outcome, TaskOutcome, TaskResult, TaskStatus, declares_tasks, outcome, question_to_modern,
    result_to_modern, task_created_to_legacy, task_created_to_modern, task_notice_to_legacy,
    task_notice_to_modern, task_state_to_legacy, task_state_to_modern,
};

use protocol::mcp::Method;

use crate::json::CASES;

const LEGACY: &str = concat!(
    r#"{"taskId":"t\u0031","status":"working","createdAt":"c","lastUpdatedAt":"u","#,
    r#""ttl":60000.0,"pollInterval":5e3}"#
);
const MODERN: &str = concat!(
    r#"{"taskId":"t\u0031","status":"working","createdAt":"c","lastUpdatedAt":"u","#,
    r#""ttlMs":60000.0,"pollIntervalMs":5e3"#
);

#[test]
fn a_created_task_is_nested_or_flat() {
    let legacy = format!("{{\"task\":{LEGACY}}}");
    let modern = format!("{MODERN},\"resultType\":\"task\"}}");
    assert_eq!(
        task_created_to_modern(&legacy).as_deref(),
        Some(modern.as_str())
    );
    assert_eq!(
        task_created_to_legacy(&modern).as_deref(),
        Some(legacy.as_str())
    );
    assert!(matches!(outcome(&modern), Ok(Outcome::Task(task)) if task.id == "t1"));
    assert_eq!(task_created_to_modern(r#"{"content":[]}"#), None);
    assert_eq!(task_created_to_modern(r#"{"task":3}"#), None);
}

#[test]
fn which_task_a_legacy_message_belongs_to_is_not_said_on() {
    let related = r#""_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"},"k":1.0}"#;
    assert_eq!(
        result_to_modern(Method::ToolsCall, &format!(r#"{{"content":[],{related}}}"#)).as_deref(),
        Some(r#"{"content":[],"_meta":{"k":1.0},"resultType":"complete"}"#)
    );
    assert_eq!(
        question_to_modern("roots/list", &format!("{{{related}}}")).as_deref(),
        Some(r#"{"method":"roots/list","params":{"_meta":{"k":1.0}}}"#)
    );
}

#[test]
fn a_client_declares_tasks_as_an_extension() {
    for (capabilities, declares) in [
        (
            r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#,
            true,
        ),
        (
            r#"{"extensions":{"io.modelcontextprotocol\/tasks":{"x":1}}}"#,
            true,
        ),
        (
            r#"{"extensions":{"io.modelcontextprotocol/tasks":null}}"#,
            false,
        ),
        (r#"{"extensions":{"io.modelcontextprotocol/ui":{}}}"#, false),
        (r#"{"extensions":[]}"#, false),
        (r#"{"tasks":{}}"#, false),
        ("[]", false),
    ] {
        assert_eq!(declares_tasks(capabilities), declares, "{capabilities}");
    }
}

#[test]
fn what_is_said_about_a_created_task_goes_with_it() {
    let legacy = concat!(
        r#"{"_meta":{"k":1.0,"io.modelcontextprotocol/related-task":{"taskId":"t"}},"#,
        r#""task":{"taskId":"t","status":"working"}}"#
    );
    let modern = task_created_to_modern(legacy).unwrap();
    assert_eq!(
        modern,
        r#"{"taskId":"t","status":"working","ttlMs":null,"resultType":"task","_meta":{"k":1.0}}"#
    );
    assert_eq!(
        task_created_to_legacy(&modern).as_deref(),
        Some(r#"{"task":{"taskId":"t","status":"working","ttl":null},"_meta":{"k":1.0}}"#)
    );
    let named = r#"{"taskId":"t","ttlMs":1,"_meta":{"io.modelcontextprotocol/serverInfo":{}}}"#;
    assert_eq!(
        task_created_to_legacy(named).as_deref(),
        Some(r#"{"task":{"taskId":"t","ttl":1}}"#)
    );
}

#[test]
fn a_state_has_its_outcome_in_it_only_in_modern() {
    let done = LEGACY.replace("working", "failed");
    let said = |status: &str, more: &str| {
        format!(
            "{}{more},\"resultType\":\"complete\"}}",
            MODERN.replace("working", status)
        )
    };
    for (outcome, status, more) in [
        (TaskOutcome::None, "failed", ""),
        (
            TaskOutcome::Error(r#"{"code":1}"#),
            "failed",
            r#","error":{"code":1}"#,
        ),
        // Legacy calls a task failed whose tool said isError; the extension calls it completed.
        (
            TaskOutcome::Result(r#"{"n":1.0}"#),
            "completed",
            r#","result":{"n":1.0}"#,
        ),
        (
            TaskOutcome::Questions("{}"),
            "input_required",
            r#","inputRequests":{}"#,
        ),
    ] {
        let modern = task_state_to_modern(&done, &outcome).unwrap();
        assert_eq!(modern, said(status, more));
        let legacy = task_state_to_legacy(&modern).unwrap();
        assert_eq!(legacy, LEGACY.replace("working", status));
        let read = TaskResult::parse(&modern).unwrap();
        assert_eq!(Some(read.status), TaskStatus::parse(status));
    }
    assert_eq!(task_state_to_modern("[]", &TaskOutcome::None), None);
    let related = r#"{"ttl":1,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#;
    assert_eq!(
        task_state_to_modern(related, &TaskOutcome::None).as_deref(),
        Some(r#"{"ttlMs":1,"resultType":"complete"}"#)
    );
}

#[test]
fn notices_say_the_same_as_states() {
    let modern = format!("{MODERN}}}");
    assert_eq!(
        task_notice_to_modern(LEGACY, &TaskOutcome::None).as_deref(),
        Some(modern.as_str())
    );
    let tagged = format!(
        "{MODERN},\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":1}},\"result\":{{}}}}"
    );
    assert_eq!(task_notice_to_legacy(&tagged).as_deref(), Some(LEGACY));
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn a_state_there_and_back_is_the_same(
        more in proptest::collection::btree_map("[a-z]{1,3}", crate::json::text(), 0..4),
        roomy in any::<bool>(),
    ) {
        let more: String = more
            .iter()
            .filter(|(key, _)| key.as_str() != "ttl")
            .map(|(key, value)| if roomy { format!(" ,\n\"{key}\" : {value}") } else { format!(",\"{key}\":{value}") })
            .collect();
        let legacy = format!("{}{more}}}", LEGACY.strip_suffix('}').unwrap());
        let modern = task_state_to_modern(&legacy, &TaskOutcome::Result("{}")).unwrap();
        let back = task_state_to_legacy(&modern).unwrap();
        prop_assert_eq!(back, legacy.replace("working", "completed"));
    }
}
