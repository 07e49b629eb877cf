//! Questions of servers and the answers to them.

use std::borrow::Cow;

use proptest::prelude::{prop_assert_eq, proptest};
use proptest::test_runner::Config;
use protocol::mcp::bridge::{
    Outcome, Question, answer_to_legacy, answer_to_modern, input_required, outcome,
    question_to_legacy, question_to_modern,
};

use super::{object_with, others, segments, value};
use crate::json::CASES;

const ELICIT: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";

fn asked(method: &'static str, params: &'static str) -> Question<'static> {
    Question {
        method: Cow::Borrowed(method),
        params,
    }
}

#[test]
fn a_legacy_question_becomes_an_entry() {
    for (method, params, entry) in [
        ("roots/list", "{}", r#"{"method":"roots/list"}"#),
        (
            "roots/list",
            r#"{"_meta":{"progressToken":1}}"#,
            r#"{"method":"roots/list"}"#,
        ),
        (
            ELICIT,
            r#"{"mode":"url","url":"https://x","elicitationId":"e","message":"m","task":{}}"#,
            r#"{"method":"elicitation/create","params":{"mode":"url","url":"https://x","message":"m"}}"#,
        ),
        (
            SAMPLE,
            r#"{"messages":[],"maxTokens":1.0,"tools":[{"name":"t","execution":{}}, {"name":"u"}]}"#,
            r#"{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1.0,"tools":[{"name":"t"}, {"name":"u"}]}}"#,
        ),
    ] {
        assert_eq!(question_to_modern(method, params).as_deref(), Some(entry));
    }
    assert_eq!(question_to_modern("ping", "{}"), None);
    assert_eq!(question_to_modern(ELICIT, "[]"), None);
}

#[test]
fn only_a_url_elicitation_gets_an_id() {
    let url = asked(ELICIT, r#"{"mode":"url","url":"https://x"}"#);
    assert_eq!(
        question_to_legacy(&url, "e\"1").as_deref(),
        Some(r#"{"mode":"url","url":"https://x","elicitationId":"e\"1"}"#)
    );
    for other in [
        asked(
            ELICIT,
            r#"{"message":"m","requestedSchema":{"type":"object"}}"#,
        ),
        asked(ELICIT, r#"{"mode":"form"}"#),
        asked(SAMPLE, r#"{"mode":"url"}"#),
        asked("roots/list", "{}"),
    ] {
        assert_eq!(
            question_to_legacy(&other, "e").as_deref(),
            Some(other.params)
        );
    }
    assert_eq!(question_to_legacy(&asked("tools/call", "{}"), "e"), None);
}

#[test]
fn answers_pass_with_their_bytes() {
    let answer = r#"{ "action":"accept", "content":{"n":1e5}}"#;
    assert_eq!(answer_to_modern(answer).as_deref(), Some(answer));
    assert_eq!(answer_to_legacy(answer).as_deref(), Some(answer));
    assert_eq!(
        answer_to_legacy(r#"{"resultType":"complete","roots":[]}"#).as_deref(),
        Some(r#"{"roots":[]}"#)
    );
    assert_eq!(answer_to_modern("null"), None);
}

#[test]
fn what_we_ask_is_read_as_asked() {
    let questions = [
        (
            "q\"1".to_owned(),
            question_to_modern(ELICIT, r#"{"message":"m"}"#).unwrap(),
        ),
        (
            "q2".to_owned(),
            question_to_modern("roots/list", "{}").unwrap(),
        ),
    ];
    let result = input_required(&questions, Some("state"));
    let Ok(Outcome::InputRequired(asked)) = outcome(&result) else {
        unreachable!("it asks");
    };
    assert_eq!(asked.state, Some("\"state\""));
    let keys: Vec<_> = asked.requests.iter().map(|(key, _)| key.as_ref()).collect();
    assert_eq!(keys, ["q\"1", "q2"]);
    assert_eq!(
        input_required(&[], Some("s")),
        r#"{"resultType":"input_required","requestState":"s"}"#
    );
}

proptest! {
    #![proptest_config(Config::with_cases(CASES))]

    #[test]
    fn a_question_there_and_back_keeps_its_bytes(
        params in object_with(&["message", "messages", "elicitationId", "task", "requestedSchema"]),
    ) {
        let entry = question_to_modern(ELICIT, &params).unwrap();
        let question = Question::parse(&entry).unwrap();
        prop_assert_eq!(question.method.as_ref(), ELICIT);
        let gone = ["elicitationId", "task", "_meta"];
        prop_assert_eq!(others(question.params, &["_meta"]), others(&params, &gone));
        let back = question_to_legacy(&question, "e").unwrap();
        if value(&params, "mode").is_none() {
            prop_assert_eq!(segments(&back), segments(question.params));
        }
    }
}
