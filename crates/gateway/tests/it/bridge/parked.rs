//! What a legacy server asks in a call comes to a modern client as `input_required`, and its answers go on with the call.

use serde_json::{Value, json};
use testkit::raw::{Script, feed};

use super::asking::{
    CALL, FORM, asker, call, is_answer, is_call, is_cancel, key, keys, question, request, retry,
    retry_of,
};
use crate::rig::{Rig, legacy, server, toolset};

const ELICIT: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";

#[tokio::test]
async fn two_questions_make_one_round_and_the_answers_reach_the_server_under_its_own_ids() {
    let server = asker(&[&[
        (r#""q\/1""#, ELICIT, FORM),
        (
            "7",
            SAMPLE,
            r#"{"messages":[],"maxTokens":10,"n":1.0,"task":{"ttl":1}}"#,
        ),
    ]])
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "\"first\"", CALL).await;
    assert_eq!(asked["id"], "first");
    let (form, sample) = (keys(&asked, ELICIT), keys(&asked, SAMPLE));
    let questions = &asked["result"]["inputRequests"];
    assert_eq!(questions.as_object().unwrap().len(), 2);
    assert_eq!(questions[&form[0]]["params"]["message"], "m");
    assert_eq!(
        questions[&sample[0]]["params"],
        json!({"messages": [], "maxTokens": 10, "n": 1.0}),
        "what only the legacy era knows is gone"
    );
    let params = retry(
        &asked,
        &[
            (
                &sample[0],
                r#"{"role":"assistant","n":1.0,"resultType":"complete"}"#,
            ),
            (&form[0], r#"{"action":"accept","content":{"é":"\u00e9"}}"#),
        ],
    );
    let answer = call(&rig, "2", &params).await;
    assert_eq!(answer["id"], 2);
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let got = server.wait_for(2, is_answer).await.unwrap();
    let mut texts: Vec<String> = got.iter().map(testkit::raw::Seen::text).collect();
    texts.sort();
    assert_eq!(
        texts,
        [
            r#"{"jsonrpc":"2.0","id":"q\/1","result":{"action":"accept","content":{"é":"\u00e9"}}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{"role":"assistant","n":1.0}}"#,
        ]
    );
    let calls = server.requests_of("tools/call");
    assert_eq!(calls.len(), 1, "the call is not sent again");
    assert!(
        got.iter()
            .all(|seen| seen.header("mcp-session-id") == calls[0].header("mcp-session-id"))
    );
    assert!(!server.requests().iter().any(is_cancel));
    assert!(
        !calls[0].text().contains("modelcontextprotocol"),
        "a legacy server gets no modern words: {}",
        calls[0].text()
    );
}

#[tokio::test]
async fn rounds_follow_each_other_each_with_a_state_of_its_own() {
    let server = asker(&[
        &[("1", ELICIT, FORM)],
        &[("2", "roots/list", "{}"), ("3", ELICIT, FORM)],
        &[("1", SAMPLE, r#"{"messages":[],"maxTokens":1}"#)],
    ])
    .await;
    let rig = Rig::before(&server).await;
    let first = call(&rig, "1", CALL).await;
    let second = call(&rig, "2", &retry(&first, &[(&key(&first), r#"{"n":1}"#)])).await;
    let (form, roots) = (keys(&second, ELICIT), keys(&second, "roots/list"));
    assert_eq!(
        second["result"]["inputRequests"].as_object().unwrap().len(),
        2
    );
    assert_ne!(
        form[0],
        key(&first),
        "a key stands for one question of a call"
    );
    let params = retry(
        &second,
        &[(&form[0], r#"{"n":3}"#), (&roots[0], r#"{"n":2}"#)],
    );
    let third = call(&rig, "3", &params).await;
    let states: std::collections::HashSet<&str> = [&first, &second, &third]
        .map(|asked| asked["result"]["requestState"].as_str().unwrap())
        .into();
    assert_eq!(states.len(), 3);
    let answer = call(&rig, "4", &retry(&third, &[(&key(&third), r#"{"n":4}"#)])).await;
    let got = answer["result"]["structuredContent"]["got"]
        .as_array()
        .unwrap();
    let mut numbers: Vec<i64> = got.iter().map(|got| got["n"].as_i64().unwrap()).collect();
    numbers[1..3].sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_is_not_answered_is_asked_again_alone_and_what_was_not_asked_is_ignored() {
    let server = asker(&[&[("1", ELICIT, FORM), ("2", "roots/list", "{}")]]).await;
    let rig = Rig::before(&server).await;
    let first = call(&rig, "1", CALL).await;
    let (form, roots) = (keys(&first, ELICIT), keys(&first, "roots/list"));
    let half = retry(
        &first,
        &[(&form[0], r#"{"action":"decline"}"#), ("made-up", "{}")],
    );
    let second = call(&rig, "2", &half).await;
    assert_eq!(key(&second), roots[0], "the same question has the same key");
    assert_ne!(
        second["result"]["requestState"],
        first["result"]["requestState"]
    );
    server.wait_for(1, is_answer).await.unwrap();
    // An answer that was given is given: only what is still open can be answered.
    let before = server.requests().len();
    let again = call(&rig, "3", &retry(&second, &[(&form[0], "{}")])).await;
    assert_eq!(key(&again), roots[0]);
    assert_eq!(
        server.requests().len(),
        before,
        "the server hears nothing of it"
    );
    let last = retry(&again, &[(&roots[0], r#"{"roots":[]}"#)]);
    let done = call(&rig, "4", &last).await;
    assert_eq!(
        done["result"]["structuredContent"]["got"],
        json!([{"action": "decline"}, {"roots": []}])
    );
}

#[tokio::test]
async fn an_answer_that_is_no_object_is_asked_again() {
    let server = asker(&[&[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let mut asked = call(&rig, "1", CALL).await;
    for wrong in ["null", "7", "\"yes\"", "[]", "true"] {
        asked = call(&rig, "2", &retry(&asked, &[(&key(&asked), wrong)])).await;
        assert_eq!(keys(&asked, ELICIT).len(), 1, "{wrong}: {asked}");
    }
    assert!(!server.requests().iter().any(is_answer));
    // Answers that are no object at all must not run as a fresh call.
    for wrong in ["[]", "7", "\"x\""] {
        let state = &asked["result"]["requestState"];
        let params = format!(
            r#"{{"name":"echo","arguments":{{"mark":"m"}},"requestState":{state},"inputResponses":{wrong}}}"#
        );
        super::asking::is_refused(&call(&rig, "3", &params).await);
        let params = format!(
            r#"{{"name":"echo","arguments":{{"mark":"m"}},"requestState":{wrong},"inputResponses":{{}}}}"#
        );
        super::asking::is_refused(&call(&rig, "3", &params).await);
    }
    let done = call(
        &rig,
        "4",
        &retry(&asked, &[(&key(&asked), r#"{"action":"accept"}"#)]),
    )
    .await;
    assert_eq!(
        done["result"]["structuredContent"]["got"],
        json!([{"action": "accept"}])
    );
    assert_eq!(server.requests_of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_kind_that_the_client_did_not_declare_is_refused_to_the_server_and_never_shown() {
    let server = asker(&[&[
        ("1", ELICIT, FORM),
        ("2", SAMPLE, "{}"),
        ("3", "roots/list", "{}"),
        ("4", "made/up", "{}"),
    ]])
    .await;
    let rig = Rig::before(&server).await;
    let none = r#"{"io.modelcontextprotocol/clientCapabilities":{}}"#;
    let mut reply = request(&rig, "1", CALL, none).send().await.unwrap();
    let answer = reply.answer().await.unwrap();
    let refused = json!({"error": -32601});
    assert_eq!(
        answer["result"]["structuredContent"]["got"],
        json!([refused, refused, refused, refused])
    );
    let some = r#"{"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}"#;
    let mut reply = request(&rig, "2", CALL, some).send().await.unwrap();
    let asked = reply.answer().await.unwrap();
    assert_eq!(keys(&asked, SAMPLE), [key(&asked)]);
    let params = retry(&asked, &[(&key(&asked), r#"{"role":"user"}"#)]);
    let mut reply = request(&rig, "3", &params, some).send().await.unwrap();
    let answer = reply.answer().await.unwrap();
    let got = answer["result"]["structuredContent"]["got"]
        .as_array()
        .unwrap();
    assert_eq!(got.iter().filter(|got| **got == refused).count(), 3);
    assert!(got.contains(&json!({"role": "user"})));
}

#[tokio::test]
async fn two_calls_that_wait_do_not_mix() {
    let server = asker(&[&[("1", ELICIT, FORM)], &[("1", ELICIT, FORM)]]).await;
    let rig = Rig::before(&server).await;
    let named = |mark: &str| format!(r#""name":"echo","arguments":{{"mark":"{mark}"}}"#);
    let of = |mark: &str| format!("{{{}}}", named(mark));
    let (one, two) = (of("one"), of("two"));
    let (one, two) = tokio::join!(call(&rig, "1", &one), call(&rig, "1", &two));
    let said =
        |asked: &Value| asked["result"]["inputRequests"][key(asked)]["params"]["message"].clone();
    assert_eq!((said(&one), said(&two)), (json!("one"), json!("two")));
    // The state of one with the arguments of the other goes nowhere, and ends neither.
    let crossed = retry_of(&named("one"), &two, &[(&key(&two), "{}")]);
    super::asking::is_refused(&call(&rig, "2", &crossed).await);
    let go_on = |mark: &'static str, asked: &Value| {
        let answer = format!(r#"{{"for":"{mark}"}}"#);
        retry_of(&named(mark), asked, &[(&key(asked), &answer)])
    };
    let (first, second) = (go_on("one", &one), go_on("two", &two));
    let (second, first) = tokio::join!(call(&rig, "3", &second), call(&rig, "3", &first));
    assert_eq!((said(&first), said(&second)), (json!("one"), json!("two")));
    let (first, second) = (go_on("one", &first), go_on("two", &second));
    let (first, second) = tokio::join!(call(&rig, "4", &first), call(&rig, "4", &second));
    for (answer, mark) in [(first, "one"), (second, "two")] {
        assert_eq!(
            answer["result"]["structuredContent"],
            json!({"mark": mark, "got": [{"for": mark}, {"for": mark}]})
        );
    }
}

#[tokio::test]
async fn a_question_that_the_server_withdraws_in_time_is_not_asked() {
    let withdrawn = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"gone","reason":"late"}}"#;
    let (push, events) = feed();
    let server = server(legacy(), move |_| {
        Script::sse()
            .event(question(("\"gone\"", ELICIT, FORM), "gone"))
            .event(question(("2", ELICIT, FORM), "stays"))
            .event(withdrawn)
            .follow(&events)
            .hold()
    })
    .await;
    let rig = Rig::before(&server).await;
    let asked = call(&rig, "1", CALL).await;
    assert_eq!(
        asked["result"]["inputRequests"][key(&asked)]["params"]["message"],
        "stays"
    );
    let params = retry(&asked, &[(&key(&asked), "{}")]);
    let (answer, ()) = tokio::join!(call(&rig, "2", &params), async {
        let got = server.wait_for(1, is_answer).await.unwrap();
        assert_eq!(got[0].json()["id"], 2);
        // Asked and withdrawn at once: the client hears nothing of it.
        push.event(question(("\"gone\"", ELICIT, FORM), "gone"))
            .unwrap();
        push.event(withdrawn).unwrap();
        push.event(server.requests_of("tools/call")[0].result("{}"))
            .unwrap();
    });
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    assert_eq!(
        server
            .requests()
            .iter()
            .filter(|seen| is_answer(seen))
            .count(),
        1
    );
}

#[tokio::test]
async fn with_several_servers_it_is_marked_who_asks() {
    let (one, two) = (
        asker(&[&[("1", ELICIT, FORM)]]).await,
        asker(&[&[("1", ELICIT, FORM)]]).await,
    );
    let yaml = toolset(&[("one", &one.url(), ""), ("two", &two.url(), "prefix: two_")]);
    let rig = Rig::start(&yaml).await;
    let asked = call(&rig, "1", CALL).await;
    assert_eq!(
        asked["result"]["inputRequests"][key(&asked)]["params"]["message"],
        "[one] m"
    );
    let answer = call(&rig, "2", &retry(&asked, &[(&key(&asked), "{}")])).await;
    assert_eq!(answer["result"]["resultType"], "complete");
    assert!(!two.requests().iter().any(is_call));
}
